//! `report.html` of an autoencoder: its curves and figures, and images beside what it gives for
//! them.

use std::{fs, path::Path};

use image::RgbImage;

use super::Reconstructions;
use crate::{
    base::{io::files::write_atomic, names, progress::Task},
    data::batches::view::View,
    evaluation::predictor::Predictor,
    nn::{batch::upload, infer::read},
    record::{history_csv, read_history},
    report::{
        Gallery, PAGE, Page, Section, Shot, curves,
        images::{colored, in_a_row, jpeg, magnified},
    },
    train::history,
};

/// Number of images of each gallery.
const SHOTS: usize = 12;

/// Maximum width of an image with its reconstruction in pixels.
const SHOT_WIDTH: u32 = 660;

/// Caption of the galleries.
const CAPTION: &str = "Each image on the left, and what the autoencoder gives for it on the right.";

/// Writes `report.html` into `folder`. `name` is that of the images, `run` the run that the
/// autoencoder belongs to.
///
/// # Errors
/// Returns an error if the file can't be written or the device fails.
pub fn write_page(
    found: &Reconstructions,
    predictor: &Predictor<'_>,
    (name, run): (&str, Option<&Path>),
    folder: &Path,
) -> anyhow::Result<()> {
    let meta = predictor.meta();
    let records = run.and_then(history).unwrap_or_default();
    let columns = read_history(&history_csv(&records, &meta.classes)).unwrap_or_default();
    let [height, width] = meta.image_size;
    let facts = [
        ("Run", meta.name.clone()),
        ("Trained on", meta.classes.join(", ")),
        (
            "Network",
            format!("autoencoder, blocks of {:?}", meta.design.model.channels()),
        ),
        (
            "Images",
            format!("{height} x {width} pixels (height x width)"),
        ),
        ("Kept", format!("the end of epoch {}", meta.epoch)),
        (
            "Measured on",
            format!("{}, {} images", found.data.source, found.images),
        ),
        (
            "Device",
            format!("{} ({})", predictor.compute.name, predictor.compute.about),
        ),
    ];
    let page = Page {
        title: format!("{}: {} images of {name}", meta.name, found.images),
        lead: found
            .sentences()
            .into_iter()
            .map(|words| words + ".")
            .collect(),
        about: "What was trained",
        facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
        figures: curves(&columns, Some(meta.epoch)).into_iter().collect(),
        tables: vec![Section {
            title: "Classes",
            words: Vec::new(),
            table: found.class_table(),
        }],
        galleries: found.galleries(predictor)?,
        config: run
            .and_then(|run| fs::read_to_string(run.join("config.toml")).ok())
            .unwrap_or_default(),
        ..Page::default()
    };
    let path = folder.join(PAGE);
    write_atomic(&path, page.to_html().as_bytes())?;
    predictor
        .progress
        .say(&format!("Report: {}", path.display()));
    Ok(())
}

impl Reconstructions {
    /// Returns images of classes that training hadn't, and those with the highest, middle and
    /// lowest errors of the others.
    fn galleries(&self, predictor: &Predictor<'_>) -> anyhow::Result<Vec<Gallery>> {
        let mut order: Vec<usize> = (0..self.images).collect();
        order.sort_by(|a, b| self.errors[*b].total_cmp(&self.errors[*a]));
        let (others, known): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|index| self.is_other[*index]);
        // Evenly from the highest error to the lowest.
        let step = others.len().div_ceil(SHOTS).max(1);
        let part = |start: usize| &known[start..(start + SHOTS).min(known.len())];
        let parts = [
            (
                "Classes that training had not",
                others.iter().copied().step_by(step).collect(),
            ),
            ("The highest errors", part(0).to_vec()),
            (
                "Errors about the median",
                part((known.len() / 2).saturating_sub(SHOTS / 2)).to_vec(),
            ),
            (
                "The lowest errors",
                part(known.len().saturating_sub(SHOTS)).to_vec(),
            ),
        ];
        let task = predictor.progress.items("Drawing");
        task.set_total(parts.iter().map(|(_, indices)| indices.len()).sum());
        let gallery = |(title, indices): (&'static str, Vec<usize>)| {
            let shots = indices
                .iter()
                .map(|index| self.shot(predictor, *index, &*task));
            Ok(Gallery {
                title,
                words: CAPTION.to_owned(),
                shots: shots.collect::<anyhow::Result<_>>()?,
            })
        };
        parts.into_iter().map(gallery).collect()
    }

    fn shot(
        &self,
        predictor: &Predictor<'_>,
        index: usize,
        task: &dyn Task,
    ) -> anyhow::Result<Shot> {
        let image = &self.set.images[index];
        let shape = self.set.store.format().shape();
        let plain = colored(&self.set.store.colored(image.slot)?, shape);
        let given = self.reconstructed(predictor, index)?;
        let both = in_a_row(&[magnified(&plain), magnified(&given)]);
        task.add(1);
        Ok(Shot {
            jpeg: jpeg(&both, SHOT_WIDTH)?,
            lines: vec![
                format!(
                    "{} ({:.6})",
                    self.set.classes[image.label], self.errors[index]
                ),
                names::of_os(image.path.file_name().unwrap_or_default()),
            ],
        })
    }

    /// Returns what the autoencoder gives for an image.
    fn reconstructed(&self, predictor: &Predictor<'_>, index: usize) -> anyhow::Result<RgbImage> {
        let meta = predictor.meta();
        let batch = View::plain(&self.set, &meta.normalize).batch(index..index + 1)?;
        let batch = upload(batch, meta.design.input, &predictor.compute.device);
        let values = read(predictor.models[0].forward(batch.images))?;
        let levels = meta.normalize.levels(&values);
        Ok(colored(&levels, self.set.store.format().shape()))
    }
}
