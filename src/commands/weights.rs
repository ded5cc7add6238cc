//! `emberlens weights`: lists and downloads the published weights of the backbones.

use clap::{Parser, Subcommand};

use super::ui;
use crate::{
    architecture::Architecture,
    base::{io::cache, names, usage::UsageError, words::did_you_mean},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    nn::pretrained::{self, fetch, published},
    report::text_table,
};

/// Arguments of `weights`.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the published weights, where they come from and where they are kept
    List,
    /// Download weights into the cache folder and check them; a partial download is resumed
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
/// Returns an error if the name is unknown, or the download fails or brings another file.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    match &args.what {
        What::List => list(),
        What::Fetch { name, mirror } => {
            let (architecture, published) = published()
                .find(|(architecture, _)| architecture.name() == name)
                .ok_or_else(|| {
                    let names: Vec<_> = published()
                        .map(|(architecture, _)| architecture.name())
                        .collect();
                    let meant = did_you_mean(name, names.iter().copied());
                    UsageError(format!(
                        "there are no weights named `{name}`, expected one of {}{meant}",
                        names.join(", ")
                    ))
                })?;
            let url = match mirror {
                Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), published.file()),
                None => published.url.to_owned(),
            };
            let place = fetch::fetch(architecture, published, &url, &Terminal)?;
            ui::print(&format!("{}\n", place.display()))?;
            Ok(ExitStatus::Done)
        }
    }
}

/// Prints every architecture with what its weights cost and reach, where they can be downloaded,
/// and the files on this machine.
fn list() -> anyhow::Result<ExitStatus> {
    let at_hand = pretrained::at_hand();
    let mut table = text_table::table(&[
        "Name",
        "GFLOP",
        "Top-1 %",
        "MB",
        "Download from",
        "License",
        "Here",
    ]);
    for architecture in Architecture::all().filter(|architecture| !architecture.is_of_recipe()) {
        let entry = architecture.entry();
        let [megabytes, url, license] = match &entry.published {
            Some(published) => [
                published.bytes.end().div_ceil(1_000_000).to_string(),
                published.url.to_owned(),
                published.license.to_owned(),
            ],
            None => [String::new(), "your own file".to_owned(), String::new()],
        };
        let here: Vec<_> = at_hand
            .iter()
            .filter(|at_hand| at_hand.architecture == architecture)
            .map(|at_hand| names::of_path(&at_hand.path))
            .collect();
        let here = if here.is_empty() {
            "no".to_owned()
        } else {
            here.join(", ")
        };
        table.add_row([
            entry.name.to_owned(),
            entry.gflop.to_string(),
            format!("{:.1}", entry.top1),
            megabytes,
            url,
            license,
            here,
        ]);
    }
    text_table::align_right(&mut table, [1, 2, 3]);
    let folder = cache::folder("weights").map_or_else(String::new, |folder| {
        format!(
            "Files are looked for in {} and in EMBERLENS_WEIGHTS.\n",
            names::of_path(&folder)
        )
    });
    ui::print(&format!("{table}\n{folder}"))?;
    Ok(ExitStatus::Done)
}
