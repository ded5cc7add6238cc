//! `emberlens weights`: lists and downloads the published weights of the backbones.

use clap::{Parser, Subcommand};

use super::ui;
use crate::{
    base::usage::UsageError,
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    nn::pretrained::{fetch, published},
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
/// Returns an error if the name is unknown, or the download fails or brings another file.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    match &args.what {
        What::List => list(),
        What::Fetch { name, mirror } => {
            let (architecture, published) = published().find(|(architecture, _)| architecture.name() == name).ok_or_else(|| {
                let names: Vec<_> = published().map(|(architecture, _)| architecture.name()).collect();
                UsageError(format!("there are no weights named `{name}`, expected one of {}", names.join(", ")))
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

/// Prints the published weights, and where those in the cache are.
fn list() -> anyhow::Result<ExitStatus> {
    let mut table = text_table::table(&["Name", "MB", "From", "Trained by, on", "Here"]);
    for (architecture, published) in published() {
        let place = fetch::place(published)?;
        // The length alone: a digest of half a gigabyte for each line would take seconds.
        let is_here = place.metadata().is_ok_and(|found| found.len() == published.bytes);
        let here = if is_here { place.display().to_string() } else { "no".to_owned() };
        let megabytes = published.bytes.div_ceil(1 << 20).to_string();
        table.add_row([architecture.name().to_owned(), megabytes, published.url.to_owned(), published.about.to_owned(), here]);
    }
    text_table::align_right(&mut table, [1]);
    ui::print(&format!("{table}\n"))?;
    Ok(ExitStatus::Done)
}
