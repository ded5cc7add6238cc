//! Composes `report.html` and the plots of a run and its evaluation; `report` draws them.

mod galleries;
mod subject;
mod words;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow};

pub use subject::Subject;

use super::{Evaluation, Folds, Repeats};
use crate::{
    base::{io::files::write_atomic, progress::Progress},
    data::{listing::Part, table::SplitRow},
    metrics::{ClassReport, ScoredPredictions},
    report::{
        Figure, Gallery, MATRIX_CLASSES, PAGE, Page, Section, Table, class_counts::count_table,
        confusion, curves, images::jpeg, precision_recall, reliability, roc,
    },
};

/// Caption of a gallery.
const MAPS: &str = "Beside each image: the evidence for the predicted class by Grad-CAM, brighter \
                    for more. It shows where the network looks, not why; `emberlens explain` has \
                    other methods and checks.";
/// Maximum width of the augmentation samples in pixels.
const MOSAIC_WIDTH: u32 = 1600;

/// Writes `report.html` and `plots/` into `folder`.
///
/// # Errors
/// Returns an error if a file can't be written or the device fails.
pub fn write(subject: &Subject<'_>, folder: &Path, progress: &dyn Progress) -> anyhow::Result<()> {
    let figures = subject.figures();
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots).with_context(|| format!("can't create {}", plots.display()))?;
    for figure in &figures {
        let png = figure
            .png()
            .map_err(|reason| anyhow!("can't draw {}: {reason}", figure.name))?;
        write_atomic(
            &plots.join(format!("{}.svg", figure.name)),
            figure.svg().as_bytes(),
        )?;
        write_atomic(&plots.join(format!("{}.png", figure.name)), &png)?;
    }
    let [mistakes, hits] = subject.galleries(progress)?;
    let gallery = |title, shots| Gallery {
        title,
        words: format!("{MAPS}{}", subject.whose_maps()),
        shots,
    };
    let (split, from_run) = (subject.split(), |name: &str| {
        subject.run.map(|run| run.join(name))
    });
    let page = Page {
        title: format!(
            "{}: {} images of {}",
            subject.checkpoint().meta.name,
            subject.evaluation.images,
            subject.name_in_words()
        ),
        lead: subject.lead(),
        about: "What was trained",
        facts: subject.facts(),
        data: subject.data_table(&split),
        notes: subject.notes(),
        figures,
        tables: subject.tables(),
        galleries: vec![
            gallery("The worst mistakes", mistakes),
            gallery("Typical hits", hits),
        ],
        mosaic: match from_run("augmentation.png")
            .and_then(|path| image::load_from_memory(&std::fs::read(path).ok()?).ok())
        {
            Some(mosaic) => Some(jpeg(&mosaic.into_rgb8(), MOSAIC_WIDTH)?),
            None => None,
        },
        config: from_run("config.toml")
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default(),
        ..Page::default()
    };
    let path = folder.join(PAGE);
    write_atomic(&path, page.to_html().as_bytes())?;
    progress.say(&format!("Report: {}", path.display()));
    Ok(())
}

impl Subject<'_> {
    fn figures(&self) -> Vec<Figure> {
        let Evaluation {
            classes,
            probabilities,
            set,
            per_class,
            confusion: counts,
            calibration,
            ..
        } = self.evaluation;
        let judged = ScoredPredictions::new(
            set.labels(),
            probabilities.iter().map(Vec::as_slice).collect(),
            classes.len(),
        );
        let areas = |of: fn(&ClassReport) -> f64| {
            classes
                .iter()
                .map(|class| of(&per_class[class]))
                .collect::<Vec<_>>()
        };
        let curves = curves(&self.history(), Some(self.checkpoint().meta.epoch));
        curves
            .into_iter()
            .chain([
                confusion(classes, counts),
                roc(&judged, classes, &areas(|report| report.measures.roc_auc)),
                precision_recall(
                    &judged,
                    classes,
                    &areas(|report| report.measures.average_precision),
                ),
                reliability(calibration),
            ])
            .chain(self.evaluation.slice_figure())
            .collect()
    }

    fn tables(&self) -> Vec<Section> {
        let found = self.evaluation;
        // Up to that number of classes, the labeled matrix shows the mistakes.
        let mistakes = if found.classes.len() > MATRIX_CLASSES {
            found.mistakes()
        } else {
            Table::default()
        };
        let slices = found.slices.iter().map(|slicing| Section {
            title: "Slices",
            words: slicing.lines(),
            table: slicing.table(),
        });
        let sections = vec![
            Section {
                title: "Measures",
                words: found.measure_words(),
                table: found.measures(),
            },
            Section {
                title: "Folds",
                words: Vec::new(),
                table: found.folds.as_ref().map(Folds::table).unwrap_or_default(),
            },
            Section {
                title: "Seeds",
                words: Vec::new(),
                table: found
                    .repeats
                    .as_ref()
                    .map(Repeats::table)
                    .unwrap_or_default(),
            },
            Section {
                title: "Classes",
                words: found
                    .class_words()
                    .into_iter()
                    .map(|words| words + ".")
                    .collect(),
                table: found.class_figures(),
            },
            Section {
                title: "The most frequent mistakes",
                words: Vec::new(),
                table: mistakes,
            },
        ];
        sections.into_iter().chain(slices).collect()
    }

    fn data_table(&self, split: &[SplitRow]) -> Table {
        let parts = [(Part::Train, "Training"), (Part::Validation, "Validation")];
        let parts: Vec<_> = if split.is_empty() {
            Vec::new()
        } else {
            parts.to_vec()
        };
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        split
            .iter()
            .for_each(|row| *counts.entry((&row.split, &row.class)).or_default() += 1);
        let count =
            |part: Part, class: &str| counts.get(&(part.name(), class)).copied().unwrap_or(0);
        let measured = self.evaluation.set.class_counts();
        let count = |(class, measured): (&String, usize)| {
            parts
                .iter()
                .map(|(part, _)| count(*part, class))
                .chain([measured])
                .collect()
        };
        let counts: Vec<Vec<usize>> = self
            .evaluation
            .classes
            .iter()
            .zip(measured)
            .map(count)
            .collect();
        let head = ["Class"]
            .into_iter()
            .chain(parts.iter().map(|(_, words)| *words))
            .chain(["Measured on"])
            .map(str::to_owned);
        count_table(head.collect(), &self.evaluation.classes, &counts)
    }
}
