//! `emberlens predict`: files and folders in, a class with its probability a picture out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Parser, ValueEnum};
use serde::Serialize;
use walkdir::WalkDir;

use super::{
    evaluate::{Setup, data_settings, infer},
    ui::{self, Reading, say},
};
use crate::{
    checkpoint::{self, Checkpoint},
    cli::Ending,
    config::DeviceName,
    data::{
        listing::{Entry, passed_over},
        load_listed,
    },
    nn::device::Compute,
};

/// Pictures read and classified at a time, so that memory stays bounded and results come early.
const CHUNK: usize = 512;

/// Arguments of `predict`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch), or one checkpoint in it
    #[arg(long, value_name = "RUN")]
    checkpoint: PathBuf,
    /// Pictures, or folders with pictures at any depth
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How the results are written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Classes to show a picture, the most probable first (table and csv)
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    top_k: u16,
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

/// One picture's result.
#[derive(Debug, Serialize)]
struct Prediction {
    path: String,
    label: String,
    probability: f32,
    probabilities: BTreeMap<String, f32>,
    /// Most probable first.
    #[serde(skip)]
    ranked: Vec<(String, f32)>,
}

/// Runs the command. A picture that can't be read is reported and the others go on.
///
/// # Errors
/// A checkpoint that can't be used.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let checkpoint = checkpoint::load(&checkpoint::resolve(&args.checkpoint, "best")?)?;
    let (paths, mut num_failed) = find(&args.paths);
    let compute = ui::open_device(args.device)?;
    let top_k = usize::from(args.top_k).min(checkpoint.meta.classes.len());
    if args.format == Format::Csv {
        ui::print(&csv_line(csv_head(top_k))?)?;
    }
    for chunk in paths.chunks(CHUNK) {
        let predictions = classify(chunk, &checkpoint, &compute, &mut num_failed)?;
        ui::print(&written(&predictions, args.format, top_k)?)?;
    }
    if num_failed == 0 {
        return Ok(Ending::Done);
    }
    say(&format!("{num_failed} of {} paths gave no result", paths.len().max(num_failed)));
    Ok(Ending::Partly)
}

/// The pictures behind the arguments, and how many arguments led nowhere. A file that is named is taken whatever its ending.
fn find(arguments: &[PathBuf]) -> (Vec<PathBuf>, usize) {
    let (mut found, mut num_failed) = (Vec::new(), 0);
    let mut fail = |path: &Path, reason: &str| {
        say(&format!("error: {reason}: {}", path.display()));
        num_failed += 1;
    };
    for argument in arguments {
        if !argument.is_dir() {
            match argument.exists() {
                true => found.push(argument.clone()),
                false => fail(argument, "no such file or folder"),
            }
            continue;
        }
        let before = found.len();
        let mut walk = WalkDir::new(argument).follow_links(true).sort_by_file_name().min_depth(1).into_iter();
        while let Some(entry) = walk.next() {
            match entry {
                Err(error) => fail(argument, &error.to_string()),
                Ok(entry) if passed_over(&entry).is_some() => {
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_file() => found.push(entry.into_path()),
                Ok(_) => {}
            }
        }
        if found.len() == before {
            fail(argument, "no picture in this folder");
        }
    }
    (found, num_failed)
}

fn classify(paths: &[PathBuf], checkpoint: &Checkpoint, compute: &Compute, num_failed: &mut usize) -> anyhow::Result<Vec<Prediction>> {
    let meta = &checkpoint.meta;
    let classes = Arc::new(meta.classes.clone());
    // The class of a picture isn't known: any will do, since nothing looks at it.
    let entry = |path: &PathBuf| Entry { path: path.clone(), class: classes[0].clone(), group: None, weight: 1.0, split: None };
    let entries: Vec<_> = paths.iter().map(entry).collect();
    let data = data_settings(meta);
    let (set, skipped) = {
        let bar = Reading::new("Reading pictures");
        bar.start(entries.len());
        load_listed(&entries, &classes, &data, &|count| bar.done(count))?
    };
    for bad in &skipped {
        say(&format!("error: {}: {}", bad.reason, bad.path));
    }
    *num_failed += skipped.len();
    if set.pictures.is_empty() {
        return Ok(Vec::new());
    }
    let found = infer(checkpoint, &set, &Setup { run: None, data: &data, compute, batch_size: 32, tta: None })?;
    let predictions = set.pictures.iter().zip(found.probabilities).map(|(picture, probabilities)| {
        let mut ranked: Vec<_> = classes.iter().cloned().zip(probabilities).collect();
        let by_class = ranked.iter().cloned().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        Prediction {
            path: picture.path.display().to_string(),
            label: ranked[0].0.clone(),
            probability: ranked[0].1,
            probabilities: by_class,
            ranked,
        }
    });
    Ok(predictions.collect())
}

fn written(predictions: &[Prediction], format: Format, top_k: usize) -> anyhow::Result<String> {
    match format {
        Format::Jsonl => predictions.iter().map(|prediction| Ok(serde_json::to_string(prediction)? + "\n")).collect(),
        Format::Csv => predictions
            .iter()
            .map(|prediction| {
                let ranked = prediction.ranked[..top_k].iter().flat_map(|(label, probability)| [label.clone(), probability.to_string()]);
                csv_line(std::iter::once(prediction.path.clone()).chain(ranked))
            })
            .collect(),
        Format::Table if predictions.is_empty() => Ok(String::new()),
        Format::Table => {
            let mut table = ui::table(&["Picture", "Class", "Probability"]);
            for prediction in predictions {
                for (rank, (label, probability)) in prediction.ranked[..top_k].iter().enumerate() {
                    let path = if rank == 0 { prediction.path.as_str() } else { "" };
                    table.add_row([path, label, &format!("{probability:.4}")]);
                }
            }
            ui::align_right(&mut table, [2]);
            Ok(format!("{table}\n"))
        }
    }
}

fn csv_head(top_k: usize) -> Vec<String> {
    let columns = (1..=top_k).flat_map(|rank| match rank {
        1 => ["label".to_owned(), "probability".to_owned()],
        rank => [format!("label_{rank}"), format!("probability_{rank}")],
    });
    std::iter::once("path".to_owned()).chain(columns).collect()
}

fn csv_line(fields: impl IntoIterator<Item = String>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}
