//! Composes `report.html` and the plots of a run and its evaluation; `report` draws them.

use image::RgbImage;
use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow};

use super::Evaluation;
use crate::{
    base::{
        io::files::write_atomic,
        names,
        progress::{Progress, Task},
        words::listed,
    },
    checkpoint::Checkpoint,
    config::Weights,
    data::{
        batches::view::View,
        listing::Part,
        table::{SplitRow, read_split},
    },
    explain::{Explainer, Map, Method, SURE, overlay},
    metrics::{Estimate, ScoredPredictions, argmax},
    nn::device::Compute,
    record::{history_csv, read_history},
    report::{
        Figure, Gallery, MATRIX_CLASSES, PAGE, Page, Section, Shot, Table,
        class_counts::count_table,
        confusion, curves,
        images::{colored, in_a_row, jpeg, magnified},
        precision_recall, reliability, roc,
    },
    train::history,
};

/// Caption of a gallery.
const MAPS: &str = "Beside each image: what speaks for the predicted class by Grad-CAM, the \
                    brighter the more. It shows where the network looks, not why; `emberlens \
                    explain` has other methods and checks.";
/// Maximum number of mistakes shown.
const MISTAKES: usize = 24;
/// Number of correct predictions shown of each class.
const HITS: usize = 2;
/// Maximum number of correct predictions shown of all classes together.
const ALL_HITS: usize = 24;
/// Maximum number of skipped files named.
const NAMED: usize = 20;
/// Maximum width of an image with its maps in pixels, so that the size of the page doesn't depend
/// on the network's input.
const SHOT_WIDTH: u32 = 660;
/// Maximum width of the augmentation samples in pixels.
const MOSAIC_WIDTH: u32 = 1600;

/// Subject of a report.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The evaluation.
    pub evaluation: &'a Evaluation,
    /// The images: `test`, `val`, or the name of a folder.
    pub name: &'a str,
    /// The network.
    pub checkpoint: &'a Checkpoint,
    /// Its run, if it is known.
    pub run: Option<&'a Path>,
    /// The device.
    pub compute: &'a Compute,
}

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
        words: MAPS.to_owned(),
        shots,
    };
    let (split, from_run) = (subject.split(), |name: &str| {
        subject.run.map(|run| run.join(name))
    });
    let page = Page {
        title: format!(
            "{}: {} images of {}",
            subject.checkpoint.meta.name,
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
    };
    let path = folder.join(PAGE);
    write_atomic(&path, page.to_html().as_bytes())?;
    progress.say(&format!("Report: {}", path.display()));
    Ok(())
}

impl Subject<'_> {
    fn name_in_words(&self) -> &str {
        match self.name {
            "val" => "the validation split",
            "test" => "the test split",
            name => name,
        }
    }

    /// Returns the columns of the run's history, from its last checkpoint.
    fn history(&self) -> BTreeMap<String, Vec<f64>> {
        let records = self.run.and_then(history).unwrap_or_default();
        read_history(&history_csv(&records, &self.checkpoint.meta.classes)).unwrap_or_default()
    }

    fn split(&self) -> Vec<SplitRow> {
        self.run
            .and_then(|run| read_split(&run.join("split.csv")).ok())
            .unwrap_or_default()
    }

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
        let areas = |of: fn(&crate::metrics::ClassReport) -> f64| {
            classes
                .iter()
                .map(|class| of(&per_class[class]))
                .collect::<Vec<_>>()
        };
        let curves = curves(&self.history(), Some(self.checkpoint.meta.epoch));
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
        vec![
            Section {
                title: "Measures",
                words: found.measure_words(),
                table: found.measures(),
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
        ]
    }

    /// Returns the summary at the top of the page: accuracy, and what limits its meaning.
    fn lead(&self) -> Vec<String> {
        let Evaluation {
            images,
            metrics,
            unseen,
            classes,
            per_class,
            calibration,
            decisions,
            ..
        } = self.evaluation;
        let shown = |Estimate { value, low, high }: Estimate| {
            format!("{value:.3} (95 %: {low:.3} to {high:.3})")
        };
        let accuracy = |metrics: &BTreeMap<String, Estimate>| {
            metrics
                .get("accuracy")
                .map(|estimate| shown(*estimate))
                .unwrap_or_default()
        };
        let mut lead = vec![format!(
            "Accuracy {} on {images} images of {}.",
            accuracy(metrics),
            self.name_in_words()
        )];
        if let Some(unseen) = unseen.as_ref().filter(|unseen| unseen.count < *images) {
            let copies = images - unseen.count;
            lead.push(match unseen.count {
                0 => format!(
                    "All {copies} are copies of images that the training knew: nothing is known \
                     about new ones."
                ),
                count => format!(
                    "{copies} of them are copies of images that the training knew. On the {count} \
                     that are not, the accuracy is {}: this is what to expect of new images.",
                    accuracy(&unseen.metrics)
                ),
            });
        }
        if self.name == "val" {
            lead.push(
                "The best epoch was chosen by these images, so the figures flatter; a test split \
                 tells more."
                    .to_owned(),
            );
        }
        // Accuracy on unbalanced classes misleads without that of the trivial predictor.
        let most = classes
            .iter()
            .max_by_key(|class| per_class[*class].measures.support);
        if let Some(class) = most {
            let share = per_class[class].measures.support as f64 / *images as f64;
            lead.push(format!(
                "Always saying {class} would be right for {share:.3}."
            ));
        }
        let worst = classes
            .iter()
            .filter(|class| per_class[*class].measures.support > 0);
        if let Some(class) = worst.min_by(|a, b| {
            per_class[*a]
                .measures
                .recall
                .total_cmp(&per_class[*b].measures.recall)
        }) {
            let report = &per_class[class];
            lead.push(format!(
                "Found least often: {class}, {} of its {} images.",
                shown(report.intervals.recall),
                report.measures.support
            ));
        }
        let error = calibration.expected_calibration_error;
        lead.push(match self.checkpoint.meta.temperature {
            1.0 => format!(
                "Its probabilities are off by {error:.3} on average; `emberlens calibrate` may \
                 mend that."
            ),
            _ => format!(
                "Its probabilities, calibrated on validation images, are off by {error:.3} on \
                 average here."
            ),
        });
        lead.extend(decisions.words());
        lead.push(
            "Measured on these images only: nothing is known about images from other devices, \
             places or people."
                .to_owned(),
        );
        lead
    }

    fn facts(&self) -> Vec<(String, String)> {
        let (meta, history) = (&self.checkpoint.meta, self.history());
        let mut facts = vec![
            ("Run", meta.name.clone()),
            ("Classes", self.class_names()),
            (
                "Network",
                format!("{}{}", meta.design.model.architecture.name(), self.origin()),
            ),
            (
                "Images",
                format!(
                    "{} x {} pixels (height x width), {}",
                    meta.image_size[0],
                    meta.image_size[1],
                    if meta.design.input[0] == 1 {
                        "grey"
                    } else {
                        "colour"
                    }
                ),
            ),
        ];
        let epochs = history.get("epoch").map_or(0, Vec::len);
        if epochs > 0 {
            let seconds: f64 = history.get("seconds").map_or(0.0, |seconds| {
                seconds.iter().filter(|value| value.is_finite()).sum()
            });
            facts.push((
                "Training",
                format!("{epochs} epochs in {}", duration(seconds)),
            ));
        }
        facts.push(("Kept", format!("the end of epoch {}", meta.epoch)));
        if meta.temperature != 1.0 {
            facts.push((
                "Temperature",
                format!("{:.4}, fitted on validation images", meta.temperature),
            ));
        }
        facts.push((
            "Measured on",
            format!(
                "{}, {} images",
                self.name_in_words(),
                self.evaluation.images
            ),
        ));
        facts.push((
            "Device",
            format!("{} ({})", self.compute.name, self.compute.about),
        ));
        facts.push((
            "Program",
            format!(
                "emberlens {} (the network is of {})",
                env!("CARGO_PKG_VERSION"),
                meta.emberlens
            ),
        ));
        facts.push((
            "Written",
            time::OffsetDateTime::now_utc().date().to_string(),
        ));
        facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn class_names(&self) -> String {
        let classes = &self.checkpoint.meta.classes;
        if classes.len() > MATRIX_CLASSES {
            listed(classes)
        } else {
            classes.join(", ")
        }
    }

    /// Describes where the network's initial weights came from.
    fn origin(&self) -> String {
        let meta = &self.checkpoint.meta;
        let frozen = meta.frozen.as_ref().map_or(String::new(), |frozen| {
            format!(", {} of its layer groups never trained", frozen.groups)
        });
        match meta.design.model.weights() {
            Weights::None => ", from scratch".to_owned(),
            Weights::Imagenet => format!(", from ImageNet's weights{frozen}"),
            Weights::Path(path) => format!(", from the weights of {path}{frozen}"),
        }
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

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        // Skipped and damaged test images are listed under measuring.
        let is_known = |row: &csv::StringRecord| row.get(2) != Some(Part::Test.name());
        let of_run = |list: &str| -> Vec<[String; 2]> {
            let reader = self
                .run
                .and_then(|run| csv::Reader::from_path(run.join(list)).ok());
            let rows = reader
                .into_iter()
                .flat_map(|reader| reader.into_records().flatten())
                .filter(is_known);
            rows.map(|row| [0, 1].map(|index| row.get(index).unwrap_or_default().to_owned()))
                .collect()
        };
        let skipped = self
            .evaluation
            .skipped
            .iter()
            .map(|file| [file.path.clone(), file.reason.clone()])
            .collect();
        let damaged = self
            .evaluation
            .damaged
            .iter()
            .map(|file| [file.path.clone(), file.reason.clone()])
            .collect();
        let (known, measured) = ("training and validation", "measuring");
        for (files, list, what) in [
            (
                of_run("skipped.csv"),
                "skipped.csv",
                format!("couldn't be read for {known} and were left out"),
            ),
            (
                skipped,
                "skipped.csv",
                format!("couldn't be read for {measured} and were left out"),
            ),
            (
                of_run("damaged.csv"),
                "damaged.csv",
                format!("for {known} are damaged and were used as far as they go"),
            ),
            (
                damaged,
                "damaged.csv",
                format!("for {measured} are damaged and were used as far as they go"),
            ),
        ] {
            if files.is_empty() {
                continue;
            }
            notes.push(format!("{} files {what}:", files.len()));
            notes.extend(
                files
                    .iter()
                    .take(NAMED)
                    .map(|[path, reason]| format!("{path}: {reason}")),
            );
            if files.len() > NAMED {
                notes.push(format!(
                    "... and {} more, listed in {list}",
                    files.len() - NAMED
                ));
            }
        }
        notes
    }

    /// Returns the worst mistakes and typical correct predictions, each beside its Grad-CAM.
    fn galleries(&self, progress: &dyn Progress) -> anyhow::Result<[Vec<Shot>; 2]> {
        let Evaluation {
            set,
            probabilities,
            classes,
            ..
        } = self.evaluation;
        let truth = |index: usize| probabilities[index][set.images[index].label];
        let is_right = |index: &usize| argmax(&probabilities[*index]) == set.images[*index].label;
        let mut order: Vec<usize> = (0..set.images.len()).collect();
        // By the probability of the true class: the worst mistakes come first.
        order.sort_by(|a, b| truth(*a).total_cmp(&truth(*b)));
        let mistakes: Vec<usize> = order
            .iter()
            .copied()
            .filter(|index| !is_right(index))
            .take(MISTAKES)
            .collect();
        let mut right: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
        order
            .iter()
            .filter(|index| is_right(index))
            .for_each(|index| right[set.images[*index].label].push(*index));
        // Around the median: the surest predictions look alike, the least sure are close to
        // mistakes.
        let of_class = |hits: Vec<usize>| {
            let start = (hits.len() / 2).saturating_sub(HITS / 2);
            hits.into_iter().skip(start).take(HITS).collect::<Vec<_>>()
        };
        let hits: Vec<usize> = right
            .into_iter()
            .flat_map(of_class)
            .take(ALL_HITS)
            .collect();
        let explainer =
            Explainer::new(self.checkpoint, &self.compute.device, Method::GradCam, None)?;
        let task = progress.items("Explaining");
        task.set_total(mistakes.len() + hits.len());
        let shots = |indices: &[usize]| {
            indices
                .iter()
                .map(|index| self.shot(&explainer, *index, &*task))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        Ok([shots(&mistakes)?, shots(&hits)?])
    }

    fn shot(&self, explainer: &Explainer, index: usize, task: &dyn Task) -> anyhow::Result<Shot> {
        let Evaluation {
            set,
            probabilities,
            classes,
            copies,
            ..
        } = self.evaluation;
        let (image, row) = (&set.images[index], &probabilities[index]);
        let predicted = argmax(row);
        let batch = View::plain(set, &self.checkpoint.meta.normalize).batch(index..index + 1)?;
        let map = explainer
            .explain(&batch.images, &[predicted])?
            .swap_remove(0);
        let shape = set.store.format().shape();
        let plain = colored(&set.store.colored(image.slot)?, shape);
        // A map without evidence for a class that the network is sure of would leave the reader
        // with nothing, so another method's map is shown beside it.
        let next = match !map.places_evidence() && f64::from(row[predicted]) >= SURE {
            true => explainer.next_evidence(&batch.images, predicted)?,
            false => None,
        };
        let shown = |map: &Map| magnified(&overlay(&plain, &map.at_size([shape[0], shape[1]])));
        let sides: Vec<RgbImage> = [magnified(&plain), shown(&map)]
            .into_iter()
            .chain(next.iter().map(|(_, map)| shown(map)))
            .collect();
        let jpeg = jpeg(&in_a_row(&sides), SHOT_WIDTH)?;
        let mut lines = match predicted == image.label {
            true => vec![format!("{} ({:.3})", classes[predicted], row[predicted])],
            false => vec![
                format!("taken for {} ({:.3})", classes[predicted], row[predicted]),
                format!("is {} ({:.3})", classes[image.label], row[image.label]),
            ],
        };
        lines.push(names::of_os(image.path.file_name().unwrap_or_default()));
        if copies.get(index).is_some_and(|is_copy| *is_copy) {
            lines.push("a copy of an image that the training knew".to_owned());
        }
        if !map.places_evidence() {
            let words = if map.has_evidence() {
                "the evidence is the same everywhere"
            } else {
                "no positive evidence at this layer"
            };
            let beside =
                next.map(|(explainer, _)| format!("; on the right: {}", explainer.method().name()));
            lines.push(format!("{words}{}", beside.unwrap_or_default()));
        }
        task.add(1);
        Ok(Shot { jpeg, lines })
    }
}

/// Formats a duration: `3 h 5 min`, `2 min 4 s`, `7.2 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
