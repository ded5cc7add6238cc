//! `emberlens runs`: compares runs by what their files tell, a line each.

use std::path::PathBuf;

use clap::Parser;
use serde_json::json;

use super::{
    common::folders,
    ui::{self, say},
};
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError, words::counted},
    commands::common::exit_status::ExitStatus,
    evaluation::runs,
    report::{Page, Section, text_table::table_text},
};

/// Arguments of `runs`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder with run folders in it, at most three levels deep
    #[arg(value_name = "DIR", default_value = "checkpoints")]
    dir: PathBuf,
    /// Also write the table as a page
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Sort by a metric of metrics.json or, at each best epoch, of history.csv, the best first;
    /// without it, by name
    #[arg(long, value_name = "METRIC")]
    sort: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if there is no run or no such metric, or if the page already exists or lies
/// among a run's images.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let mut found = runs::find(&args.dir)?;
    if let Some(metric) = &args.sort {
        runs::sort(&mut found, metric)?;
    }
    let table = runs::table(&found, args.sort.as_deref());
    if let Some(path) = &args.html {
        if path.exists() {
            return Err(UsageError(format!(
                "the file already exists; choose another --html: {}",
                names::of_path(path)
            ))
            .into());
        }
        for run in &found {
            folders::refuse_inside(path, &folders::of_run(Some(&run.path)), "--html")?;
        }
        let folder = names::of_path(&args.dir);
        let page = Page {
            title: format!("{} in {folder}", counted(found.len(), "run")),
            about: "Where they are",
            facts: vec![("Folder".to_owned(), folder)],
            tables: vec![Section {
                title: "Runs",
                words: vec![ABOUT.to_owned()],
                table: table.clone(),
            }],
            ..Page::default()
        };
        write_atomic(path, page.to_html().as_bytes())?;
        say(&format!("Page: {}", names::of_path(path)));
    }
    ui::print(&if args.json {
        serde_json::to_string_pretty(&json!({ "runs": found }))? + "\n"
    } else {
        table_text(&table) + "\n"
    })?;
    Ok(ExitStatus::Done)
}

/// What the columns are.
const ABOUT: &str = "Accuracy with its 95 % interval, on the test images or, without any, on the \
                     validation images, and on those of them without a copy in the training \
                     images (unseen); val_accuracy at the best epoch. Of the options, those in \
                     which the runs differ.";
