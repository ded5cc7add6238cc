//! `emberlens explain`: writes maps of where the network finds evidence in images, each with checks
//! of how far it can be trusted.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Parser, ValueEnum};

use super::{
    common::{
        folders,
        inputs::{find, read_unlabeled},
    },
    ui::{self, say},
};
use crate::{
    base::{
        io::raw_file::RawFile,
        names::{self, of_text},
        usage::UsageError,
        words::listed,
    },
    checkpoint::{Checkpoint, Networks},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    config::DeviceName,
    explain::{
        Explainer, Method,
        explanations::{Print, Wanted, Work},
    },
    nn::device::Compute,
};

/// Number of images read at a time, so that memory stays bounded.
const CHUNK: usize = 256;

/// Number of rows of the table that accompanies JSON lines.
const ROWS: usize = 20;

/// Arguments of `explain`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch; of several folds, the mean of their maps), or one checkpoint
    /// in it
    #[arg(long, value_name = "RUN")]
    checkpoint: PathBuf,
    /// Images, or folders with images at any depth
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Explain this class, instead of the predicted one
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Method that computes the maps
    #[arg(long, value_enum, default_value = "grad-cam")]
    method: Method,
    /// Layer group whose output is used, counted from 0, instead of the last one with at least four
    /// rows and columns
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Measure by deletion and insertion whether the prediction follows the map; takes 84 forward
    /// passes per image
    #[arg(long)]
    curves: bool,
    /// Compare with maps of the network after its layers are randomized one by one, from the head
    /// down: maps that stay the same show nothing that was learned
    #[arg(long)]
    sanity: bool,
    /// Write the maps as numbers, in the order of explanations.jsonl: a NumPy array of images x
    /// rows x columns, or a CSV; at the layer's resolution and unscaled, with evidence against the
    /// class below zero
    #[arg(long, value_name = "FILE.npy|csv")]
    raw: Option<RawFile>,
    /// Format of the results, instead of a table on a terminal and JSON lines otherwise
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where to write maps, overlays and explanations.jsonl, instead of RUN/explanations
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Jsonl,
}

/// Runs the command. An image that can't be read is reported, and the others are explained.
///
/// # Errors
/// Returns an error if the checkpoint, class or layer can't be used, or if the output folder isn't
/// empty.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    args.raw.as_ref().map_or(Ok(()), RawFile::check)?;
    let networks = Networks::find(&args.checkpoint)?;
    let checkpoints = networks.load_classifiers()?;
    let meta = &checkpoints[0].meta;
    let class = args
        .class
        .as_ref()
        .map(|name| class_index(name, &meta.classes))
        .transpose()?;
    let folders = args.paths.iter().filter(|path| path.is_dir()).cloned();
    let folders: Vec<PathBuf> = folders.chain(folders::of_run(networks.run())).collect();
    let raw = args.raw.as_ref().map(RawFile::path);
    for (path, option) in [(args.out.as_deref(), "--out"), (raw, "--raw")] {
        if let Some(path) = path {
            folders::refuse_inside(path, &folders, option)?;
        }
    }
    let out = free_folder(args.out.as_deref(), &networks.folder)?;
    let (paths, mut num_failed) = find(&args.paths);
    let compute = ui::open_device(args.device)?;
    let explainer = prepare(args, &checkpoints, &compute)?;
    std::fs::create_dir_all(&out)
        .with_context(|| format!("can't create {}", names::of_path(&out)))?;
    let has_table = args.format.map_or_else(
        || std::io::stdout().is_terminal(),
        |format| format == Format::Table,
    );
    let wanted = Wanted {
        class,
        curves: args.curves,
        sanity: args.sanity,
        print: (!has_table).then_some(ui::print as Print),
        raw: args.raw.clone(),
    };
    let mut work = Work::new(&explainer, wanted, &out, &Terminal);
    for chunk in paths.chunks(CHUNK) {
        let set = read_unlabeled(chunk, meta, &mut num_failed)?;
        if !set.images.is_empty() {
            work.explain(&set)?;
        }
    }
    match (has_table, args.format) {
        (true, _) => ui::print(&work.table(usize::MAX))?,
        // A person sees what goes by.
        (false, None) => work.table(ROWS).lines().for_each(say),
        (false, Some(_)) => {}
    }
    work.finish()?;
    if num_failed == 0 {
        return Ok(ExitStatus::Done);
    }
    say(&format!(
        "{num_failed} of {} paths gave no result",
        paths.len().max(num_failed)
    ));
    Ok(ExitStatus::Partly)
}

/// Prepares the networks, and says what is computed.
fn prepare(
    args: &Args,
    checkpoints: &[Checkpoint],
    compute: &Compute,
) -> anyhow::Result<Explainer> {
    for checkpoint in checkpoints {
        checkpoint.fetch_backbone(&Terminal)?;
    }
    let explainer = Explainer::new(checkpoints, &compute.device, args.method, args.layer)?;
    let mean = match checkpoints.len() {
        1 => String::new(),
        count => format!(", the mean of {count} networks"),
    };
    say(&format!(
        "{} of {}{mean}",
        args.method.name(),
        explainer.layer()
    ));
    Ok(explainer)
}

fn class_index(name: &str, classes: &[String]) -> Result<usize, UsageError> {
    let message = || {
        UsageError(format!(
            "found the unknown class {}, expected one of {}",
            of_text(name),
            listed(classes)
        ))
    };
    classes
        .iter()
        .position(|class| class == name)
        .ok_or_else(message)
}

/// Returns the folder to write into: the one that the user names, or the first of `explanations`,
/// `explanations-2`, ... that doesn't exist.
///
/// # Errors
/// Returns an error if the user's folder isn't empty.
fn free_folder(wanted: Option<&Path>, run: &Path) -> anyhow::Result<PathBuf> {
    Ok(match wanted {
        Some(folder)
            if folder
                .read_dir()
                .is_ok_and(|mut entries| entries.next().is_some()) =>
        {
            return Err(UsageError(format!(
                "the folder isn't empty; choose another --out: {}",
                names::of_path(folder)
            ))
            .into());
        }
        Some(folder) => folder.to_owned(),
        None => names::numbered("explanations")
            .map(|name| run.join(name))
            .find(|folder| !folder.exists())
            .expect("there is no last name"),
    })
}
