//! Explains the images of a set: maps, what they show in words, and the files and lines with both.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use super::{
    Border, Curves, Explainer, Map, SURE, border, class_means::ClassMeans, overlay, sanity::Sanity,
};
use crate::{
    base::{
        io::{
            files::write_atomic,
            raw_file::{Raw, RawFile},
        },
        names::{self, for_file, of_text},
        progress::Progress,
    },
    data::batches::{dataset::ImageSet, normalize::Normalizer, view::View},
    metrics::argmax,
    nn::infer::NotANumber,
    report::{
        self,
        images::{colored, in_a_row, magnified, write_png},
        text_table::table_text,
    },
};

/// Number of images per batch.
const BATCH: usize = 16;

/// Explanation of one image: a line on stdout and of `explanations.jsonl`.
#[derive(Debug, Serialize)]
struct Explanation {
    path: String,
    /// The predicted class, and its probability.
    label: String,
    probability: f64,
    /// The explained class, and its probability.
    class: String,
    class_probability: f64,
    method: &'static str,
    layer: String,
    /// Whether anything is evidence for the class.
    evidence: bool,
    words: String,
    /// Location of the most evidence, `[x, y]` in pixels of the network's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    border: Option<Border>,
    /// Map of another method, if this one finds no evidence for a class that the network is sure
    /// of.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
    #[serde(skip_serializing_if = "Option::is_none")]
    curves: Option<Curves>,
    /// File with the image, the map over it, and the next method's map over it.
    overlay: String,
    /// File with the map alone, in gray.
    map: String,
}

/// Result of the first other method that finds evidence.
#[derive(Debug, Serialize)]
struct Next {
    method: &'static str,
    layer: String,
    peak: [usize; 2],
    border: Border,
    map: String,
}

/// Writes a line of results.
pub type Print = fn(&str) -> anyhow::Result<()>;

/// What to compute besides maps.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Class to explain instead of the predicted one.
    pub class: Option<usize>,
    /// Whether to compute deletion and insertion curves.
    pub curves: bool,
    /// Whether to compare with random networks.
    pub sanity: bool,
    /// Receives a JSON line for each image.
    pub print: Option<Print>,
    /// File for the values of the maps.
    pub raw: Option<RawFile>,
}

/// Explanations in progress.
pub struct Work<'a> {
    explainer: &'a Explainer,
    wanted: Wanted,
    out: &'a Path,
    progress: &'a dyn Progress,
    lines: String,
    rows: Vec<Vec<String>>,
    without_evidence: usize,
    means: ClassMeans,
    shape: [usize; 3],
    raw: Raw,
    /// Curves of the images that have some.
    curves: Vec<Curves>,
    sanity: Option<Sanity>,
}

/// Results for one image.
struct Found<'a> {
    label: usize,
    class: usize,
    probabilities: &'a [f64],
    map: &'a Map,
    next: Option<(Explainer, Map)>,
    curves: Option<Curves>,
}

impl<'a> Work<'a> {
    /// Creates an explanation without images.
    pub fn new(
        explainer: &'a Explainer,
        wanted: Wanted,
        out: &'a Path,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            sanity: wanted.sanity.then(|| Sanity::new(explainer)),
            explainer,
            wanted,
            out,
            progress,
            lines: String::new(),
            rows: Vec::new(),
            without_evidence: 0,
            means: ClassMeans::default(),
            shape: [0; 3],
            raw: Raw {
                shape: Vec::new(),
                values: Vec::new(),
                images: Vec::new(),
            },
            curves: Vec::new(),
        }
    }

    /// Explains the images of a set and writes the results.
    ///
    /// # Errors
    /// Returns an error if an image can't be read again, a probability is not finite, the device
    /// fails or a file can't be written.
    pub fn explain(&mut self, set: &Arc<ImageSet>, normalizer: &Normalizer) -> anyhow::Result<()> {
        let view = View::plain(set, normalizer);
        self.shape = set.store.format().shape();
        let task = self.progress.items("Explaining");
        task.set_total(set.images.len());
        for start in (0..set.images.len()).step_by(BATCH) {
            let indices = start..(start + BATCH).min(set.images.len());
            let batch = view.batch(indices.clone())?;
            let probabilities = self.explainer.probabilities(&batch.images)?;
            let label =
                |row: &Vec<f64>| argmax(&row.iter().map(|value| *value as f32).collect::<Vec<_>>());
            let labels: Vec<usize> = probabilities.iter().map(label).collect();
            if let Some(bad) = probabilities
                .iter()
                .position(|row| row.iter().any(|value| !value.is_finite()))
            {
                return Err(NotANumber(set.images[start + bad].path.clone()).into());
            }
            let classes: Vec<usize> = labels
                .iter()
                .map(|label| self.wanted.class.unwrap_or(*label))
                .collect();
            let maps = self.explainer.explain(&batch.images, &classes)?;
            if let Some(sanity) = &mut self.sanity {
                sanity.add(&batch.images, &classes, &maps)?;
            }
            let size = batch.images.len() / indices.len();
            for ((index, image), map) in indices.zip(batch.images.chunks_exact(size)).zip(&maps) {
                let (label, class, probabilities) = (
                    labels[index - start],
                    classes[index - start],
                    &probabilities[index - start],
                );
                let next = match !map.places_evidence() && probabilities[class] >= SURE {
                    true => self.explainer.next_evidence(image, class)?,
                    false => None,
                };
                let curves = match self.wanted.curves && map.has_evidence() {
                    true => Some(self.explainer.curves(image, class, map, self.rows.len())?),
                    false => None,
                };
                self.curves.extend(curves.clone());
                self.write(
                    set,
                    index,
                    Found {
                        label,
                        class,
                        probabilities,
                        map,
                        next,
                        curves,
                    },
                )?;
                task.add(1);
            }
        }
        Ok(())
    }

    /// Writes the files of one image and keeps its result.
    fn write(&mut self, set: &ImageSet, index: usize, found: Found<'_>) -> anyhow::Result<()> {
        let Found {
            label,
            class,
            probabilities,
            map,
            next,
            curves,
        } = found;
        let size = [self.shape[0], self.shape[1]];
        let (path, classes) = (&set.images[index].path, &set.classes);
        let bytes = set.store.colored(set.images[index].slot)?;
        let (image, evidence) = (colored(&bytes, self.shape), map.at_size(size));
        let number = self.rows.len() + 1;
        let stem = for_file(&path.file_stem().unwrap_or_default().to_string_lossy());
        // The number tells images of the same name apart.
        let name = |what: &str| self.out.join(format!("{number:04}-{stem}.{what}.png"));
        let mut sides = vec![magnified(&image), magnified(&overlay(&image, &evidence))];
        let grey = |values: &[f32]| {
            let levels: Vec<u8> = values
                .iter()
                .map(|value| (value * 255.0).round() as u8)
                .collect();
            colored(&levels, [size[0], size[1], 1])
        };
        write_png(&grey(&evidence), &name("map"))?;
        let next = match next {
            Some((explainer, map)) => {
                let (evidence, path) = (
                    map.at_size(size),
                    name(&format!("map-{}", explainer.method().name())),
                );
                write_png(&grey(&evidence), &path)?;
                sides.push(magnified(&overlay(&image, &evidence)));
                let (method, layer) = (explainer.method().name(), explainer.layer());
                Some(Next {
                    method,
                    layer,
                    peak: map.peak(size),
                    border: border(&evidence, size),
                    map: names::of_path(&path),
                })
            }
            None => None,
        };
        write_png(&in_a_row(&sides), &name("overlay"))?;
        let has_evidence = map.places_evidence();
        if has_evidence {
            // A map without evidence is zero everywhere and would only scale the mean down.
            self.means.add(&classes[class], &evidence, &bytes);
        } else {
            self.without_evidence += 1;
        }
        let border = border(&evidence, size);
        let explanation = Explanation {
            path: names::of_path(path),
            label: classes[label].clone(),
            probability: probabilities[label],
            class: classes[class].clone(),
            class_probability: probabilities[class],
            method: self.explainer.method().name(),
            layer: self.explainer.layer(),
            evidence: map.has_evidence(),
            words: words(
                map,
                &classes[class],
                probabilities[class],
                (border, next.as_ref(), curves.as_ref()),
            ),
            peak: has_evidence.then(|| map.peak(size)),
            border: has_evidence.then_some(border),
            next,
            curves,
            overlay: names::of_path(&name("overlay")),
            map: names::of_path(&name("map")),
        };
        self.keep(&explanation, map)
    }

    /// Keeps the row and the line of an image and, if wanted, the values of its map.
    fn keep(&mut self, explanation: &Explanation, map: &Map) -> anyhow::Result<()> {
        if self.wanted.raw.is_some() {
            self.raw.shape = map.size.to_vec();
            self.raw.values.extend_from_slice(&map.values);
            self.raw
                .images
                .push([explanation.path.clone(), explanation.class.clone()]);
        }
        self.rows.push(row(explanation));
        let line = serde_json::to_string(explanation)? + "\n";
        if let Some(print) = self.wanted.print {
            print(&line)?;
        }
        self.lines.push_str(&line);
        Ok(())
    }

    /// Returns a table of the first `most` images.
    pub fn table(&self, most: usize) -> String {
        let head = [
            "Image",
            "Class",
            "Probability",
            "Method",
            "Most at x, y",
            "On the border",
        ]
        .map(str::to_owned)
        .to_vec();
        let table = report::Table {
            head,
            rows: self.rows.iter().take(most).cloned().collect(),
        };
        let more = self.rows.len().saturating_sub(most);
        let more = if more == 0 {
            String::new()
        } else {
            format!("... and {more} more in explanations.jsonl\n")
        };
        if self.rows.is_empty() {
            String::new()
        } else {
            format!("{}\n{more}", table_text(&table))
        }
    }

    /// Writes the class means, the randomization test, the values of the maps and all lines, and
    /// reports totals.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub fn finish(&self) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        write_atomic(&self.out.join("explanations.jsonl"), self.lines.as_bytes())?;
        if let Some(file) = &self.wanted.raw {
            let [rows, columns] = [self.raw.shape[0], self.raw.shape[1]];
            file.write(
                &self.raw,
                (0..rows)
                    .flat_map(|row| (0..columns).map(move |column| format!("r{row}c{column}"))),
            )?;
        }
        self.means.write(self.out, self.shape, self.progress)?;
        if self.without_evidence > 0 {
            let of = self.rows.len();
            self.progress.say(&format!(
                "{} of {of} images have no evidence that can be placed; see \"words\" in \
                 explanations.jsonl",
                self.without_evidence
            ));
        }
        if !self.curves.is_empty() {
            self.progress.say(&curve_words(&self.curves));
        }
        if let Some(sanity) = &self.sanity {
            let text = sanity.text();
            write_atomic(&self.out.join("sanity.txt"), text.as_bytes())?;
            self.progress.say(&text);
        }
        self.progress
            .say(&format!("Explanations: {}", names::of_path(self.out)));
        Ok(())
    }
}

/// Returns an image's row of the table.
fn row(found: &Explanation) -> Vec<String> {
    let place = |peak: [usize; 2], border: &Border| {
        [
            format!("{}, {}", peak[0], peak[1]),
            format!(
                "{:.0} % (it is {:.0} %)",
                border.share * 100.0,
                border.area * 100.0
            ),
        ]
    };
    let (method, [peak, border]) = match (found.peak, &found.border, &found.next) {
        (Some(peak), Some(border), _) => (found.method.to_owned(), place(peak, border)),
        (.., Some(next)) => (
            format!("{} (no evidence by {})", next.method, found.method),
            place(next.peak, &next.border),
        ),
        _ => (
            found.method.to_owned(),
            ["no evidence", "-"].map(str::to_owned),
        ),
    };
    let class = match found.class == found.label {
        true => found.class.clone(),
        false => format!("{} (predicted: {})", found.class, found.label),
    };
    vec![
        found.path.clone(),
        class,
        format!("{:.4}", found.class_probability),
        method,
        peak,
        border,
    ]
}

/// Describes the mean curves of all images.
fn curve_words(curves: &[Curves]) -> String {
    let mean =
        |of: &dyn Fn(&Curves) -> f64| curves.iter().map(of).sum::<f64>() / curves.len() as f64;
    format!(
        "Mean probability while the best places go {:.3} (the map shuffled: {:.3}; lower is \
         better), while they come {:.3} (shuffled: {:.3}; higher is better)",
        mean(&|curves| curves.deletion.area),
        mean(&|curves| curves.deletion_shuffled),
        mean(&|curves| curves.insertion.area),
        mean(&|curves| curves.insertion_shuffled)
    )
}

/// Describes what a map shows, and what limits it.
fn words(
    map: &Map,
    class: &str,
    probability: f64,
    (border, next, curves): (Border, Option<&Next>, Option<&Curves>),
) -> String {
    let class = of_text(class);
    let beside = match next {
        Some(Next { method, layer, .. }) => {
            format!("; {method} of {layer} finds some and is shown beside it")
        }
        None if probability >= SURE && !map.places_evidence() => {
            "; no other method finds any".to_owned()
        }
        None => String::new(),
    };
    if !map.has_evidence() {
        return format!(
            "no positive evidence for {class}: nothing that this layer sees raises its \
             score{beside}"
        );
    }
    if map.is_flat() {
        return format!(
            "the evidence for {class} is the same everywhere: this layer can't say where{beside}"
        );
    }
    let mut words = format!(
        "{:.0} % of the evidence for {class} is on the border, which is {:.0} % of the image",
        border.share * 100.0,
        border.area * 100.0
    );
    if let Some(curves) = curves {
        let follows = |is_better: bool| {
            if is_better {
                "follows"
            } else {
                "does not follow"
            }
        };
        words.push_str(&format!(
            "; the prediction {} the map when its best places go, and {} it when they come",
            follows(curves.deletion.area < curves.deletion_shuffled),
            follows(curves.insertion.area > curves.insertion_shuffled)
        ));
    }
    words
}
