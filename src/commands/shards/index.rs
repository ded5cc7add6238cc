//! `emberlens index`: finds the images in shards and their classes, and writes them as a list.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::refuse_empty;
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    commands::{
        common::{exit_status::ExitStatus, folders},
        ui::{self, say},
    },
    data::{
        listing::{self, Exclude, Listing},
        pack,
        shards::in_shard,
    },
    report::class_counts::count_words,
};

/// Arguments of `index`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A tar file, a folder of tar files, or a pattern such as 'shards/train-{000000..000009}.tar'
    source: PathBuf,
    /// Write the images as a CSV, which data.train reads, each with its place in the shard
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command. The index is kept in the cache folder for training.
///
/// # Errors
/// Returns an error if the source isn't shards, if one can't be read, or if the file can't be
/// written.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    if let Some(out) = &args.out {
        folders::refuse_inside(out, &folders::of_folder(&args.source, &[]), "--out")?;
    }
    let listing = listing::list(&args.source, &Exclude::default())?;
    if let Some(other) = listing
        .entries
        .iter()
        .find(|image| in_shard(&image.path).is_none())
    {
        let other = names::of_path(&other.path);
        return Err(UsageError(format!(
            "found an image that isn't in a tar file, expected shards: {other}; `emberlens shard` \
             packs images"
        ))
        .into());
    }
    listing
        .words(&args.source)
        .iter()
        .for_each(|words| say(words));
    refuse_empty(&listing, &args.source)?;
    if let Some(out) = &args.out {
        if out.exists() {
            let out = names::of_path(out);
            return Err(UsageError(format!(
                "there is a file of that name; choose another --out: {out}"
            ))
            .into());
        }
        let folder = folders::resolve(out);
        let folder = folder.parent().unwrap_or(Path::new(""));
        write_atomic(out, &pack::list(&listing.entries, folder)?)?;
    }
    let mut counts = vec![0; listing.classes.len()];
    for image in &listing.entries {
        counts[listing
            .classes
            .binary_search(&image.class)
            .unwrap_or_default()] += 1;
    }
    ui::print(&format!(
        "{}\n{}\n",
        Listing::found(listing.entries.len(), listing.classes.len()),
        count_words(&listing.classes, &counts)
    ))?;
    Ok(ExitStatus::Done)
}
