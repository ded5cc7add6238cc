//! `emberlens weights`: the published weights of the backbones, listed and downloaded.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};

use super::ui::{self, Bytes, UsageError, say};
use crate::{
    base::download::{Expected, download, is_whole},
    checkpoint::Checkpoint,
    cli::Ending,
    config::{Architecture, Weights},
    nn::pretrained::{PUBLISHED, Published, published},
};

/// Arguments of `weights`.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What there is, where it comes from and where it is kept
    List,
    /// Download weights into the cache folder and check them; a download that was cut off goes on
    Fetch {
        /// A name of the list
        name: String,
        /// A folder on another server that holds the file under the publisher's name
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// An unknown name; a download that fails or brings something else.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    match &args.what {
        What::List => list(),
        What::Fetch { name, mirror } => {
            let published = PUBLISHED.iter().find(|published| published.name() == name).ok_or_else(|| {
                let names: Vec<_> = PUBLISHED.iter().map(Published::name).collect();
                UsageError(format!("there are no weights named `{name}`, expected one of {}", names.join(", ")))
            })?;
            let url = match mirror {
                Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), published.file()),
                None => published.url.to_owned(),
            };
            let place = fetch(published, &url)?;
            ui::print(&format!("{}\n", place.display()))?;
            Ok(Ending::Done)
        }
    }
}

fn list() -> anyhow::Result<Ending> {
    let mut table = ui::table(&["Name", "MB", "From", "Trained by, on", "Here"]);
    for published in &PUBLISHED {
        let place = place(published)?;
        let is_here = place.metadata().is_ok_and(|found| found.len() == published.bytes);
        let here = if is_here { place.display().to_string() } else { "no".to_owned() };
        let megabytes = published.bytes.div_ceil(1 << 20).to_string();
        table.add_row([published.name().to_owned(), megabytes, published.url.to_owned(), published.about.to_owned(), here]);
    }
    ui::align_right(&mut table, [1]);
    ui::print(&format!("{table}\n"))?;
    Ok(Ending::Done)
}

fn place(published: &Published) -> anyhow::Result<PathBuf> {
    published.place().context("the system names no cache folder for this user; set HOME or XDG_CACHE_HOME")
}

/// Has the published weights of a network at hand.
///
/// # Errors
/// They can't be downloaded; with what to do by hand.
pub(super) fn ensure(architecture: Architecture) -> anyhow::Result<()> {
    let Some(published) = published(architecture) else { return Ok(()) };
    if place(published)?.metadata().is_ok_and(|found| found.len() == published.bytes) {
        return Ok(());
    }
    fetch(published, published.url).map(|_| ())
}

/// The same for the layers that a checkpoint doesn't hold itself.
///
/// # Errors
/// As [`ensure`].
pub(super) fn ensure_for(checkpoint: &Checkpoint) -> anyhow::Result<()> {
    match &checkpoint.meta.frozen {
        Some(frozen) if checkpoint.backbone.is_none() && frozen.weights == Weights::Imagenet => {
            ensure(checkpoint.meta.design.model.architecture)
        }
        _ => Ok(()),
    }
}

fn fetch(published: &Published, url: &str) -> anyhow::Result<PathBuf> {
    let place = place(published)?;
    let expected = Expected { bytes: published.bytes, sha256: published.sha256 };
    let by_hand = |place: &Path| {
        format!(
            "no weights of {}; without a network, put the file {} ({} bytes, SHA-256 {}) from {} at {}, or name another file with model.weights",
            published.name(),
            published.file(),
            published.bytes,
            published.sha256,
            published.url,
            place.display()
        )
    };
    if place.exists() {
        if is_whole(&place, expected)? {
            return Ok(place);
        }
        let message = format!("the file there is not the published one; move it away: {}", place.display());
        return Err(UsageError(message).into());
    }
    say(&format!("Downloading {url}"));
    let bar = Bytes::new(published.bytes);
    download(url, expected, &place, &|at| bar.at(at)).with_context(|| by_hand(&place))?;
    Ok(place)
}
