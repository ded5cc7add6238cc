//! Explains the images of a set: maps, what they show in words, and the files and lines with both.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use image::RgbImage;

use super::{
    Curves, Explainer, Map, SURE, border,
    class_means::ClassMeans,
    explanation::{Explanation, Next, curve_words, row, words},
    overlay,
    sanity::Sanity,
};
use crate::{
    base::{
        io::{
            files::write_atomic,
            raw_file::{Raw, RawFile},
        },
        names::{self, for_file},
        progress::Progress,
    },
    data::batches::dataset::ImageSet,
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

/// The files of one image.
struct Files<'a> {
    folder: &'a Path,
    /// Tells images of the same name apart.
    number: usize,
    stem: String,
    /// Height and width of a map.
    size: [usize; 2],
}

impl Files<'_> {
    fn path(&self, what: &str) -> PathBuf {
        let Self { number, stem, .. } = self;
        self.folder.join(format!("{number:04}-{stem}.{what}.png"))
    }

    /// Writes a map alone, in gray, and returns its path.
    fn write_map(&self, evidence: &[f32], what: &str) -> anyhow::Result<PathBuf> {
        let levels: Vec<u8> = evidence
            .iter()
            .map(|value| (value * 255.0).round() as u8)
            .collect();
        let [height, width] = self.size;
        let path = self.path(what);
        write_png(&colored(&levels, [height, width, 1]), &path)?;
        Ok(path)
    }

    /// Writes the map of another method, and returns what is said of it with the map over `image`.
    fn write_next(
        &self,
        image: &RgbImage,
        explainer: &Explainer,
        map: &Map,
    ) -> anyhow::Result<(Next, RgbImage)> {
        let (method, evidence) = (explainer.method().name(), map.at_size(self.size));
        let path = self.write_map(&evidence, &format!("map-{method}"))?;
        let next = Next {
            method,
            layer: explainer.layer(),
            peak: map.peak(self.size),
            border: border(&evidence, self.size),
            map: names::of_path(&path),
        };
        Ok((next, magnified(&overlay(image, &evidence))))
    }
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
    pub fn explain(&mut self, set: &Arc<ImageSet>) -> anyhow::Result<()> {
        self.shape = set.store.format().shape();
        let task = self.progress.items("Explaining");
        task.set_total(set.images.len());
        for start in (0..set.images.len()).step_by(BATCH) {
            let indices = start..(start + BATCH).min(set.images.len());
            let images = self.explainer.inputs(set, indices.clone())?;
            let probabilities = self.explainer.probabilities(&images)?;
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
            let maps = self.explainer.explain(&images, &classes)?;
            if let Some(sanity) = &mut self.sanity {
                sanity.add(&images, &classes, &maps)?;
            }
            for (index, map) in indices.zip(&maps) {
                let image = images.image(index - start);
                let (label, class, probabilities) = (
                    labels[index - start],
                    classes[index - start],
                    &probabilities[index - start],
                );
                let next = if !map.places_evidence() && probabilities[class] >= SURE {
                    self.explainer.next_evidence(&image, class)?
                } else {
                    None
                };
                let curves = if self.wanted.curves && map.has_evidence() {
                    Some(self.explainer.curves(&image, class, map, self.rows.len())?)
                } else {
                    None
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
        let files = Files {
            folder: self.out,
            number: self.rows.len() + 1,
            stem: for_file(&path.file_stem().unwrap_or_default().to_string_lossy()),
            size,
        };
        let mut sides = vec![magnified(&image), magnified(&overlay(&image, &evidence))];
        let map_file = files.write_map(&evidence, "map")?;
        let next = match next {
            Some((explainer, map)) => {
                let (next, side) = files.write_next(&image, &explainer, &map)?;
                sides.push(side);
                Some(next)
            }
            None => None,
        };
        let overlay_file = files.path("overlay");
        write_png(&in_a_row(&sides), &overlay_file)?;
        let has_evidence = map.places_evidence();
        if has_evidence {
            // A map without evidence is zero everywhere and would only scale the mean down.
            self.means.add(&classes[class], &evidence, &bytes);
        } else {
            self.without_evidence += 1;
        }
        let border = border(&evidence, size);
        let limits = (border, next.as_ref(), curves.as_ref());
        let explanation = Explanation {
            path: names::of_path(path),
            label: classes[label].clone(),
            probability: probabilities[label],
            class: classes[class].clone(),
            class_probability: probabilities[class],
            method: self.explainer.method().name(),
            layer: self.explainer.layer(),
            evidence: map.has_evidence(),
            words: words(map, &classes[class], probabilities[class], limits),
            peak: has_evidence.then(|| map.peak(size)),
            border: has_evidence.then_some(border),
            next,
            curves,
            overlay: names::of_path(&overlay_file),
            map: names::of_path(&map_file),
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
                "{} of {of} images have no evidence that can be localized; see \"words\" in \
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
