//! `emberlens shard`: packs images into tar files in shuffled order.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::refuse_empty;
use crate::{
    base::{io::files::with_path, names, progress::Progress, usage::UsageError, words::counted},
    commands::{
        common::{exit_status::ExitStatus, folders},
        ui::{self, Terminal, say},
    },
    data::{
        listing::{self, Entry, Exclude, Listing, Part},
        pack::{self, LIST, Packing},
    },
};

/// Arguments of `shard`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of class folders, a CSV of images, or shards to be packed anew
    source: PathBuf,
    /// The folder to write into: new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of images in a shard
    #[arg(long, value_name = "N", default_value = "1000", value_parser = at_least_one)]
    size: usize,
    /// Seed of the order
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number of 1 or more".to_owned())
}

/// Runs the command. A list that assigns its images to parts has a folder for each part.
///
/// # Errors
/// Returns an error if the images can't be listed or read, or if the folder isn't empty or can't be
/// written.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    folders::refuse_used(&args.out)?;
    folders::refuse_inside(&args.out, &folders::of_folder(&args.source, &[]), "--out")?;
    let listing = listing::list(&args.source, &Exclude::default())?;
    listing
        .words(&args.source)
        .iter()
        .for_each(|words| say(words));
    refuse_empty(&listing, &args.source)?;
    if let Some(file) = listing.unreadable.first() {
        let (reason, path) = (&file.reason, names::of_path(&file.path));
        return Err(UsageError(format!(
            "found {} that can't be opened, expected none; remove them or take them out of the \
             list; the first: {path}: {reason}",
            counted(listing.unreadable.len(), "file")
        ))
        .into());
    }
    let is_parted = listing.entries.iter().any(|entry| entry.split.is_some());
    if !is_parted {
        let all: Vec<&Entry> = listing.entries.iter().collect();
        return pack_part(args, &listing, &all, &args.out, "train");
    }
    std::fs::create_dir_all(&args.out)
        .map_err(|error| with_path(&error, "can't create the folder", &args.out))?;
    for (part, key) in [
        (Part::Train, "train"),
        (Part::Validation, "validation"),
        (Part::Test, "test"),
    ] {
        let is_in = |entry: &&Entry| entry.split.unwrap_or(Part::Train) == part;
        let entries: Vec<_> = listing.entries.iter().filter(is_in).collect();
        if !entries.is_empty() {
            pack_part(args, &listing, &entries, &args.out.join(part.name()), key)?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Packs images into a folder and says what to set in a recipe, where `key` stands for them.
fn pack_part(
    args: &Args,
    listing: &Listing,
    entries: &[&Entry],
    out: &Path,
    key: &str,
) -> anyhow::Result<ExitStatus> {
    let task = Terminal.items("Packing images");
    task.set_total(entries.len());
    let packing = Packing {
        size: args.size,
        seed: args.seed,
    };
    let done = |count| task.add(count);
    let places = (args.source.as_path(), out);
    let num_shards = pack::pack(entries, &listing.classes, places, packing, &done)?;
    drop(task);
    // Tar files have no place for what else a list says.
    let has_more = |entry: &&Entry| entry.group.is_some() || entry.weight != 1.0;
    let source = if entries.iter().any(has_more) {
        out.join(LIST)
    } else {
        out.to_owned()
    };
    ui::print(&format!(
        "Wrote {} to {}: {}\nTrain on them with --set data.{key}={}\n",
        counted(entries.len(), "image"),
        counted(num_shards, "shard"),
        names::of_path(out),
        names::of_path(&source)
    ))?;
    Ok(ExitStatus::Done)
}
