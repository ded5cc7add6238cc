//! `emberlens predict`: classifies images and reports the class of each with its probability.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::ui::{self, say};
use crate::{
    base::{
        names::{self, of_text},
        usage::UsageError,
    },
    checkpoint::{Checkpoint, Meta, Networks},
    commands::{
        common::{
            exit_status::ExitStatus,
            inputs::{find, read_unlabeled},
        },
        ui::Terminal,
    },
    config::DeviceName,
    evaluation::{
        classified::{Classified, Probabilities, Rules},
        predictor::Predictor,
    },
    metrics::most,
    report::text_table,
};

/// Number of images read and classified at a time, so that memory stays bounded and results come
/// early.
const CHUNK: usize = 512;

/// Arguments of `predict`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch; of several folds, the mean of their probabilities), or one
    /// checkpoint in it
    #[arg(long, value_name = "RUN")]
    checkpoint: PathBuf,
    /// Images, or folders with images at any depth
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Format of the results
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Number of classes to show per image, the most probable first (table and csv)
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    top_k: u16,
    /// Report "unlike the training images" instead of a class at the rate of false alarms that
    /// `calibrate --novelty RATE` has fitted, and "refer" unless exactly one class is possible at
    /// the coverage that `calibrate --coverage SHARE` has fitted
    #[arg(long)]
    abstain: bool,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Jsonl,
}

/// The result for one image.
#[derive(Debug, Serialize)]
struct Prediction {
    path: String,
    #[serde(flatten)]
    found: Classified,
    /// The most probable classes, as many as are shown.
    #[serde(skip)]
    ranked: Vec<usize>,
}

/// Runs the command. An image that can't be read is reported, and the others are classified.
///
/// # Errors
/// Returns an error if the checkpoint can't be used.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let checkpoints = Networks::find(&args.checkpoint)?.load()?;
    let meta = &checkpoints[0].meta;
    if meta.is_autoencoder() {
        return reconstruct(args, &checkpoints[0]);
    }
    let (paths, mut num_failed) = find(&args.paths);
    let compute = ui::open_device(args.device)?;
    let rules = Rules::of(meta);
    if args.abstain && !rules.can_abstain() {
        let run = names::of_path(&args.checkpoint);
        let message = match checkpoints.len() {
            1 => format!(
                "--abstain needs fitted prediction sets or novelty; first: emberlens calibrate \
                 {run} --coverage 0.9 --novelty 0.05"
            ),
            _ => format!(
                "--abstain needs fitted prediction sets; first: emberlens calibrate {run} \
                 --coverage 0.9"
            ),
        };
        return Err(UsageError(message).into());
    }
    let top_k = usize::from(args.top_k).min(meta.classes.len());
    if args.format == Format::Csv {
        ui::print(&csv_line(csv_head(top_k, meta))?)?;
    }
    let predictor = Predictor {
        keep: rules.detail(),
        ..Predictor::of_all(&checkpoints, &compute, &Terminal)?
    };
    for chunk in paths.chunks(CHUNK) {
        let mut predictions = classify(chunk, (&predictor, &rules), top_k, &mut num_failed)?;
        if args.abstain {
            predictions
                .iter_mut()
                .for_each(|prediction| prediction.found.abstain());
        }
        ui::print(&written(&predictions, args.format, meta)?)?;
    }
    Ok(status(num_failed, paths.len()))
}

/// Returns the exit status, and reports how many of the paths gave no result.
fn status(num_failed: usize, num_paths: usize) -> ExitStatus {
    if num_failed == 0 {
        return ExitStatus::Done;
    }
    say(&format!(
        "{num_failed} of {} paths gave no result",
        num_paths.max(num_failed)
    ));
    ExitStatus::Partly
}

/// The result of an autoencoder for one image.
#[derive(Debug, Serialize)]
struct Reconstructed {
    path: String,
    /// Mean squared error.
    error: f32,
    /// Whether the image is unlike the training images, if that was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    unlike: Option<bool>,
}

/// Reports the error of each image by an autoencoder, and whether it is unlike the training images.
fn reconstruct(args: &Args, checkpoint: &Checkpoint) -> anyhow::Result<ExitStatus> {
    if args.abstain || args.top_k > 1 {
        let run = names::of_path(&args.checkpoint);
        return Err(UsageError(format!(
            "--abstain and --top-k need a network that knows classes; leave them out for an \
             autoencoder: {run}"
        ))
        .into());
    }
    let (paths, mut num_failed) = find(&args.paths);
    let compute = ui::open_device(args.device)?;
    let predictor = Predictor::new(checkpoint, &compute, &Terminal)?;
    let threshold = &checkpoint.meta.reconstruction;
    if args.format == Format::Csv {
        let unlike = threshold.as_ref().map(|_| "unlike".to_owned());
        let head = ["path", "error"].map(str::to_owned);
        ui::print(&csv_line(head.into_iter().chain(unlike))?)?;
    }
    for chunk in paths.chunks(CHUNK) {
        let set = read_unlabeled(chunk, &checkpoint.meta, &mut num_failed)?;
        if set.images.is_empty() {
            continue;
        }
        let errors = predictor.predict(&set)?.losses;
        let images = set.images.iter().zip(errors);
        let found = images.map(|(image, error)| Reconstructed {
            path: names::of_path(&image.path),
            error,
            unlike: threshold.as_ref().map(|of| of.is_unlike(error)),
        });
        ui::print(&reconstructed(&found.collect::<Vec<_>>(), args.format)?)?;
    }
    Ok(status(num_failed, paths.len()))
}

fn reconstructed(found: &[Reconstructed], format: Format) -> anyhow::Result<String> {
    let cells = |image: &Reconstructed| {
        let path = of_text(&image.path);
        let unlike = image.unlike.map(|unlike| unlike.to_string());
        [path, image.error.to_string()].into_iter().chain(unlike)
    };
    match format {
        Format::Jsonl => found
            .iter()
            .map(|image| Ok(serde_json::to_string(image)? + "\n"))
            .collect(),
        Format::Csv => found.iter().map(|image| csv_line(cells(image))).collect(),
        Format::Table => {
            let mut table = text_table::table(&["Image", "Error", "Unlike the training images"]);
            for image in found {
                table.add_row([
                    text_table::cell(&image.path),
                    format!("{:.6}", image.error),
                    match image.unlike {
                        Some(true) => "yes",
                        Some(false) => "no",
                        None => "not fitted",
                    }
                    .to_owned(),
                ]);
            }
            text_table::align_right(&mut table, [1]);
            Ok(format!("{table}\n"))
        }
    }
}

fn classify(
    paths: &[PathBuf],
    (predictor, rules): (&Predictor<'_>, &Rules),
    top_k: usize,
    num_failed: &mut usize,
) -> anyhow::Result<Vec<Prediction>> {
    let set = read_unlabeled(paths, predictor.meta(), num_failed)?;
    if set.images.is_empty() {
        return Ok(Vec::new());
    }
    let found = rules.classify_all(predictor.predict(&set)?);
    let predictions = set
        .images
        .iter()
        .zip(found)
        .map(|(image, found)| Prediction {
            path: names::of_path(&image.path),
            ranked: most(&found.probabilities.row, top_k),
            found,
        });
    Ok(predictions.collect())
}

impl Prediction {
    /// Returns the table's remarks on the image besides its classes.
    fn remarks(&self) -> [Option<String>; 3] {
        let set = |set: &Vec<String>| {
            if set.is_empty() {
                "none fits".to_owned()
            } else {
                of_text(&set.join(" or "))
            }
        };
        [
            self.found
                .flagged
                .map(|flagged| if flagged { "yes" } else { "no" }.to_owned()),
            self.found.set.as_ref().map(set),
            self.found
                .novelty_p_value
                .map(|value| format!("{value:.4}")),
        ]
    }

    /// Returns class and probability of those that are shown after the first.
    fn others(&self) -> impl Iterator<Item = (String, f32)> {
        let Probabilities { classes, row } = &self.found.probabilities;
        self.ranked
            .iter()
            .skip(1)
            .map(|class| (of_text(&classes[*class]), row[*class]))
    }
}

/// Returns the titles of the columns of [`Prediction::remarks`] that the checkpoint has.
fn remark_columns(meta: &Meta) -> Vec<String> {
    let flagged = meta
        .threshold
        .as_ref()
        .map(|fitted| format!("flagged_{}", of_text(&fitted.class)));
    flagged
        .into_iter()
        .chain(meta.coverage.as_ref().map(|_| "set".to_owned()))
        .chain(meta.novelty.as_ref().map(|_| "novelty_p_value".to_owned()))
        .collect()
}

fn written(predictions: &[Prediction], format: Format, meta: &Meta) -> anyhow::Result<String> {
    match format {
        Format::Jsonl => predictions
            .iter()
            .map(|prediction| Ok(serde_json::to_string(prediction)? + "\n"))
            .collect(),
        Format::Csv => predictions
            .iter()
            .map(|prediction| {
                let first = (
                    of_text(&prediction.found.label),
                    prediction.found.probability,
                );
                let ranked = std::iter::once(first).chain(prediction.others());
                let ranked =
                    ranked.flat_map(|(label, probability)| [label, probability.to_string()]);
                let path = of_text(&prediction.path);
                csv_line(
                    std::iter::once(path)
                        .chain(ranked)
                        .chain(prediction.remarks().into_iter().flatten()),
                )
            })
            .collect(),
        Format::Table if predictions.is_empty() => Ok(String::new()),
        Format::Table => {
            let remarks = remark_columns(meta);
            let head: Vec<&str> = ["Image", "Class", "Probability"]
                .into_iter()
                .chain(remarks.iter().map(String::as_str))
                .collect();
            let mut table = text_table::table(&head);
            for prediction in predictions {
                let first = [
                    text_table::cell(&prediction.path),
                    text_table::cell(&prediction.found.label),
                    format!("{:.4}", prediction.found.probability),
                ];
                table.add_row(
                    first.into_iter().chain(
                        prediction
                            .remarks()
                            .into_iter()
                            .flatten()
                            .map(|remark| text_table::cell(&remark)),
                    ),
                );
                for (label, probability) in prediction.others() {
                    table.add_row([
                        String::new(),
                        text_table::cell(&label),
                        format!("{probability:.4}"),
                    ]);
                }
            }
            text_table::align_right(&mut table, [2]);
            Ok(format!("{table}\n"))
        }
    }
}

fn csv_head(top_k: usize, meta: &Meta) -> Vec<String> {
    let columns = (1..=top_k).flat_map(|rank| match rank {
        1 => ["label".to_owned(), "probability".to_owned()],
        rank => [format!("label_{rank}"), format!("probability_{rank}")],
    });
    std::iter::once("path".to_owned())
        .chain(columns)
        .chain(remark_columns(meta))
        .collect()
}

fn csv_line(fields: impl IntoIterator<Item = String>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}
