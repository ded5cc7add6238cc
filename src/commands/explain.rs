//! `emberlens explain`: pictures in, maps of where the network looks out, each with what can be said against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Parser;
use image::RgbImage;
use serde::Serialize;

use super::{
    data_folders,
    evaluate::no_number,
    predict::{find, read_unlabelled},
    ui::{self, Reading, UsageError, say},
    weights,
};
use crate::{
    base::{files::write_atomic, names},
    checkpoint,
    cli::Ending,
    config::DeviceName,
    data::{
        dataset::{PictureSet, View},
        normalize::Normalizer,
    },
    explain::{Border, Curves, Explainer, Map, Method, border, colored, magnified, overlay, side_by_side, spearman},
    metrics::argmax,
};

/// Pictures read at a time, so that memory stays bounded.
const CHUNK: usize = 256;

/// Pictures explained at a time.
const BATCH: usize = 16;

/// Arguments of `explain`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch), or one checkpoint in it
    #[arg(long, value_name = "RUN")]
    checkpoint: PathBuf,
    /// Pictures, or folders with pictures at any depth
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Explain this class, instead of the one that is predicted
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// How evidence is found
    #[arg(long, value_enum, default_value = "grad-cam")]
    method: Method,
    /// The layer group whose output is looked at, counted from 0, instead of the last with four rows and columns
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Deletion and insertion: does the prediction follow the map? 84 looks at each picture
    #[arg(long)]
    curves: bool,
    /// Draw the network's layers anew, from the head down, and compare: maps that stay the same show nothing that was learned
    #[arg(long)]
    sanity: bool,
    /// Where maps, overlays and explanations.jsonl go, instead of RUN/explanations
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
}

/// One picture's explanation: a line on stdout and of `explanations.jsonl`.
#[derive(Debug, Serialize)]
struct Explanation {
    path: String,
    /// The class that is predicted, and its probability.
    label: String,
    probability: f64,
    /// The class that is explained, and its probability.
    class: String,
    class_probability: f64,
    method: &'static str,
    layer: String,
    /// Does anything speak for the class?
    evidence: bool,
    words: String,
    /// Where most does, `[x, y]` in pixels of the network's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    border: Option<Border>,
    #[serde(skip_serializing_if = "Option::is_none")]
    curves: Option<Curves>,
    /// The picture beside itself under the map.
    overlay: String,
    /// The map alone, grey.
    map: String,
}

/// Runs the command. A picture that can't be read is reported and the others go on.
///
/// # Errors
/// A checkpoint, class or layer that can't be used; a folder that has something in it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let path = checkpoint::resolve(&args.checkpoint, "best")?;
    let checkpoint = checkpoint::load(&path)?;
    let meta = &checkpoint.meta;
    let class = args.class.as_ref().map(|name| class_index(name, &meta.classes)).transpose()?;
    if let Some(out) = &args.out {
        let folders = args.paths.iter().filter(|path| path.is_dir()).cloned();
        data_folders::refuse_inside(out, &folders.chain(data_folders::of_run(path.parent())).collect::<Vec<_>>(), "--out")?;
    }
    let out = free_folder(args.out.as_deref(), path.parent().unwrap_or(Path::new(".")))?;
    let (paths, mut num_failed) = find(&args.paths);
    let compute = ui::open_device(args.device)?;
    weights::ensure_for(&checkpoint)?;
    let explainer = Explainer::new(&checkpoint, &compute.device, args.method, args.layer)?;
    say(&format!("{} of {}", args.method.name(), explainer.layer()));
    std::fs::create_dir_all(&out).with_context(|| format!("can't create {}", names::of_path(&out)))?;
    let mut work = Work::new(&explainer, args, class, &out);
    for chunk in paths.chunks(CHUNK) {
        let set = read_unlabelled(chunk, meta, &mut num_failed)?;
        if !set.pictures.is_empty() {
            work.explain(&set, &meta.normalize)?;
        }
    }
    work.finish()?;
    if num_failed == 0 {
        return Ok(Ending::Done);
    }
    say(&format!("{num_failed} of {} paths gave no result", paths.len().max(num_failed)));
    Ok(Ending::Partly)
}

fn class_index(name: &str, classes: &[String]) -> Result<usize, UsageError> {
    let message = || UsageError(format!("found the unknown class {name}, expected one of {}", classes.join(", ")));
    classes.iter().position(|class| class == name).ok_or_else(message)
}

/// The folder to write into: what the user says, or the first of `explanations`, `explanations-2`, ... that isn't there.
fn free_folder(wanted: Option<&Path>, run: &Path) -> anyhow::Result<PathBuf> {
    Ok(match wanted {
        Some(folder) if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) => {
            return Err(UsageError(format!("the folder isn't empty; choose another --out: {}", names::of_path(folder))).into());
        }
        Some(folder) => folder.to_owned(),
        None => {
            let folder = |count: usize| run.join(if count == 1 { "explanations".to_owned() } else { format!("explanations-{count}") });
            (1..).map(folder).find(|folder| !folder.exists()).expect("there are more numbers than folders")
        }
    })
}

/// Sums over the pictures that a class was explained for.
struct ClassMean {
    map: Vec<f32>,
    picture: Vec<f32>,
    count: usize,
}

struct Work<'a> {
    explainer: &'a Explainer,
    args: &'a Args,
    class: Option<usize>,
    out: &'a Path,
    lines: String,
    count: usize,
    without_evidence: usize,
    means: BTreeMap<String, ClassMean>,
    shape: [usize; 3],
    /// Of each picture that has them.
    curves: Vec<Curves>,
    /// For the sanity test: networks with more and more layers drawn anew, and the likeness of their maps, picture by picture.
    random: Vec<(String, Explainer, Vec<f64>)>,
}

impl<'a> Work<'a> {
    fn new(explainer: &'a Explainer, args: &'a Args, class: Option<usize>, out: &'a Path) -> Self {
        let mut random = Vec::new();
        if args.sanity {
            let stage = |groups: usize| match groups {
                0 => "head".to_owned(),
                groups => format!("and backbone.blocks.{}", explainer.num_groups() - groups),
            };
            random = (0..=explainer.num_groups()).map(|groups| (stage(groups), explainer.randomized(groups, 0), Vec::new())).collect();
        }
        let (lines, means) = (String::new(), BTreeMap::new());
        let curves = Vec::new();
        Self { explainer, args, class, out, lines, count: 0, without_evidence: 0, means, shape: [0; 3], curves, random }
    }

    fn explain(&mut self, set: &std::sync::Arc<PictureSet>, normalizer: &Normalizer) -> anyhow::Result<()> {
        let view = View::plain(set, normalizer);
        self.shape = set.store.format().shape();
        let bar = Reading::new("Explaining");
        bar.start(set.pictures.len());
        for start in (0..set.pictures.len()).step_by(BATCH) {
            let indices = start..(start + BATCH).min(set.pictures.len());
            let batch = view.batch(indices.clone())?;
            let probabilities = self.explainer.probabilities(&batch.images)?;
            let label = |row: &Vec<f64>| argmax(&row.iter().map(|value| *value as f32).collect::<Vec<_>>());
            let labels: Vec<usize> = probabilities.iter().map(label).collect();
            if let Some(bad) = probabilities.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
                return Err(no_number(&set.pictures[start + bad].path));
            }
            let classes: Vec<usize> = labels.iter().map(|label| self.class.unwrap_or(*label)).collect();
            let maps = self.explainer.explain(&batch.images, &classes)?;
            for (_, explainer, likeness) in &mut self.random {
                let random = explainer.explain(&batch.images, &classes)?;
                likeness.extend(maps.iter().zip(&random).map(|(map, random)| spearman(&map.scaled(), &random.scaled()).abs()));
            }
            let size = batch.images.len() / indices.len();
            for ((index, image), map) in indices.zip(batch.images.chunks_exact(size)).zip(&maps) {
                let (label, class) = (labels[index - start], classes[index - start]);
                let curves = match self.args.curves && map.has_evidence() {
                    true => Some(self.explainer.curves(image, class, map, self.count)?),
                    false => None,
                };
                self.curves.extend(curves.clone());
                let probabilities = &probabilities[index - start];
                let found = Found { label, class, probabilities, map, curves };
                self.write(set, index, found)?;
                bar.done(1);
            }
        }
        Ok(())
    }

    fn write(&mut self, set: &PictureSet, index: usize, found: Found<'_>) -> anyhow::Result<()> {
        let Found { label, class, probabilities, map, curves } = found;
        let size = [self.shape[0], self.shape[1]];
        let (path, classes) = (&set.pictures[index].path, &set.classes);
        let bytes = set.store.colored(set.pictures[index].slot)?;
        let (picture, shown) = (colored(&bytes, self.shape), map.at_size(size));
        self.count += 1;
        let stem = names::for_file(&names::of_os(path.file_stem().unwrap_or_default()));
        let name = |what: &str| self.out.join(format!("{:04}-{stem}.{what}.png", self.count));
        let (overlay_path, map_path) = (name("overlay"), name("map"));
        write_png(&side_by_side(&magnified(&picture), &magnified(&overlay(&picture, &shown))), &overlay_path)?;
        let levels: Vec<u8> = shown.iter().map(|value| (value * 255.0).round() as u8).collect();
        write_png(&colored(&levels, [size[0], size[1], 1]), &map_path)?;
        let has_evidence = map.has_evidence() && !map.is_flat();
        if has_evidence {
            let mean = self.means.entry(classes[class].clone()).or_insert_with(|| ClassMean {
                map: vec![0.0; shown.len()],
                picture: vec![0.0; bytes.len()],
                count: 0,
            });
            mean.map.iter_mut().zip(&shown).for_each(|(sum, value)| *sum += value);
            mean.picture.iter_mut().zip(bytes.iter()).for_each(|(sum, level)| *sum += f32::from(*level));
            mean.count += 1;
        } else {
            self.without_evidence += 1;
        }
        let border = border(&shown, size);
        let explanation = Explanation {
            path: names::of_path(path),
            label: classes[label].clone(),
            probability: probabilities[label],
            class: classes[class].clone(),
            class_probability: probabilities[class],
            method: self.args.method.name(),
            layer: self.explainer.layer(),
            evidence: map.has_evidence(),
            words: words(map, &classes[class], border, curves.as_ref()),
            peak: has_evidence.then(|| map.peak(size)),
            border: has_evidence.then_some(border),
            curves,
            overlay: names::of_path(&overlay_path),
            map: names::of_path(&map_path),
        };
        let line = serde_json::to_string(&explanation)? + "\n";
        ui::print(&line)?;
        self.lines.push_str(&line);
        Ok(())
    }

    /// Class means, the sanity test, and what was found in all.
    fn finish(&self) -> anyhow::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        write_atomic(&self.out.join("explanations.jsonl"), self.lines.as_bytes())?;
        let mut names = BTreeSet::new();
        for (class, mean) in self.means.iter().filter(|(_, mean)| mean.count > 1) {
            let level = |sum: &f32| (sum / mean.count as f32).round() as u8;
            let picture = colored(&mean.picture.iter().map(level).collect::<Vec<_>>(), self.shape);
            let map: Vec<f32> = mean.map.iter().map(|sum| sum / mean.count as f32).collect();
            let Border { share, area } = border(&map, [self.shape[0], self.shape[1]]);
            let name = format!("mean-{}", names::for_file(class));
            // Long names that begin alike, or differ in what file names can't have, are told apart by a number.
            let mut numbered = (1..).map(|count| if count == 1 { name.clone() } else { format!("{name}-{count}") });
            let name = numbered.find(|name| names.insert(name.clone())).expect("there are more numbers than classes");
            let path = self.out.join(format!("{name}.png"));
            write_png(&side_by_side(&magnified(&picture), &magnified(&overlay(&picture, &map))), &path)?;
            say(&format!(
                "{class}: mean of {} pictures, {:.0} % of the attention on the border, which is {:.0} % of the picture: {}",
                mean.count,
                share * 100.0,
                area * 100.0,
                names::of_path(&path)
            ));
        }
        if self.without_evidence > 0 {
            say(&format!("{} of {} pictures have no evidence that can be placed; see \"words\"", self.without_evidence, self.count));
        }
        if !self.curves.is_empty() {
            say(&self.curve_words());
        }
        if !self.random.is_empty() {
            let text = sanity(&self.random);
            write_atomic(&self.out.join("sanity.txt"), text.as_bytes())?;
            say(&text);
        }
        say(&format!("Explanations: {}", names::of_path(self.out)));
        Ok(())
    }
}

impl Work<'_> {
    /// The curves of all pictures together.
    fn curve_words(&self) -> String {
        let mean = |of: &dyn Fn(&Curves) -> f64| self.curves.iter().map(of).sum::<f64>() / self.curves.len() as f64;
        format!(
            "Mean probability while the best places go {:.3} (the map shuffled: {:.3}; lower is better), while they come {:.3} (shuffled: {:.3}; \
             higher is better)",
            mean(&|curves| curves.deletion.area),
            mean(&|curves| curves.deletion_shuffled),
            mean(&|curves| curves.insertion.area),
            mean(&|curves| curves.insertion_shuffled)
        )
    }
}

/// What was found about one picture.
struct Found<'a> {
    label: usize,
    class: usize,
    probabilities: &'a [f64],
    map: &'a Map,
    curves: Option<Curves>,
}

fn words(map: &Map, class: &str, border: Border, curves: Option<&Curves>) -> String {
    if !map.has_evidence() {
        return format!("no positive evidence for {class}: nothing that this layer sees raises its score");
    }
    if map.is_flat() {
        return format!("the evidence for {class} is the same everywhere: this layer can't say where");
    }
    let mut words = format!(
        "{:.0} % of the evidence for {class} is on the border, which is {:.0} % of the picture",
        border.share * 100.0,
        border.area * 100.0
    );
    if let Some(curves) = curves {
        let follows = |is_better: bool| if is_better { "follows" } else { "does not follow" };
        words.push_str(&format!(
            "; the prediction {} the map when its best places go, and {} it when they come",
            follows(curves.deletion.area < curves.deletion_shuffled),
            follows(curves.insertion.area > curves.insertion_shuffled)
        ));
    }
    words
}

/// Likeness below which maps of a network with random layers count as others.
const UNLIKE: f64 = 0.5;

fn sanity(random: &[(String, Explainer, Vec<f64>)]) -> String {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut table = ui::table(&["Drawn anew", "Likeness of the maps (Spearman)"]);
    for (stage, _, likeness) in random {
        table.add_row([stage.clone(), format!("{:.3}", mean(likeness))]);
    }
    ui::align_right(&mut table, [1]);
    let last = random.last().map_or(f64::NAN, |(.., likeness)| mean(likeness));
    let verdict = if last < UNLIKE {
        "The maps depend on what the network learned."
    } else {
        "With all weights random the maps are much the same: they show the pictures, not what the network learned. Don't rely on them."
    };
    format!("{table}\n{verdict}\n")
}

fn write_png(picture: &RgbImage, path: &Path) -> anyhow::Result<()> {
    let mut png = Vec::new();
    picture.write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)?;
    Ok(write_atomic(path, &png)?)
}
