//! `emberlens import`: a notebook or script for Keras or PyTorch becomes a recipe, and what is
//! wrong with it is named.

use std::{io::Read, path::Path};

use anyhow::Context;
use serde_json::json;

use super::Args;
use crate::{
    base::{io::files::write_atomic, names, usage::UsageError},
    commands::{
        common::{exit_status::ExitStatus, folders},
        ui,
    },
    config,
    import::{self, Finding, Format, ImportError, Imported, Kind, Setup},
};

/// Longest file that is read, in bytes.
const MOST_BYTES: u64 = 257 << 20;

/// Runs the command for the notebook or script `source`.
///
/// # Errors
/// Returns an error if nothing is trained in the file, or if the recipe already exists.
pub(super) fn run(args: &Args, format: Format) -> anyhow::Result<ExitStatus> {
    let source = names::of_path(&args.source);
    if let Some(data) = args.data.as_ref().filter(|data| !data.is_dir()) {
        let data = names::of_path(data);
        return Err(UsageError(format!("--data {data}: found no folder there")).into());
    }
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        return Err(UsageError(format!(
            "{} already exists and is left as it is; choose another --out",
            names::of_path(out)
        ))
        .into());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(&args.source)
        .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        .with_context(|| format!("can't read the file: {source}"))?;
    let setup = Setup {
        format,
        file: names::of_os(args.source.file_name().unwrap_or_default()),
        name: name_of(&args.source),
        data: args.data.clone(),
    };
    let imported = import::read(&bytes, &setup).map_err(|error| match error {
        ImportError::Recipe(_) => anyhow::Error::new(error),
        error => UsageError(format!("{error}: {source}")).into(),
    })?;
    if let Some(out) = &args.out {
        let config = config::parse(&imported.recipe, out, &[])?;
        folders::refuse_inside(out, &folders::of_data(&config.data), "--out")?;
        write_atomic(out, imported.recipe.as_bytes())?;
    }
    print(args, &imported)?;
    Ok(ExitStatus::Done)
}

/// Returns the file's name without its ending, in a form that a run folder can have.
fn name_of(path: &Path) -> String {
    let stem = names::of_os(path.file_stem().unwrap_or_default());
    let name = names::for_file(stem.trim_start_matches('.'));
    if name.is_empty() {
        "notebook".to_owned()
    } else {
        name
    }
}

fn print(args: &Args, imported: &Imported) -> anyhow::Result<()> {
    let Imported { recipe, findings } = imported;
    if args.json {
        let findings: Vec<_> = findings.iter().map(as_json).collect();
        let whole = json!({ "recipe": recipe, "findings": findings });
        ui::print(&format!("{}\n", serde_json::to_string_pretty(&whole)?))?;
        return Ok(());
    }
    let words = words(findings);
    match &args.out {
        Some(out) => {
            let out = names::of_path(out);
            ui::print(&format!(
                "{words}{out}\nTrain with: emberlens train --config {out}\n"
            ))?;
        }
        // What is printed can be saved as a recipe.
        None => {
            ui::say(words.trim_end());
            ui::print(recipe)?;
        }
    }
    Ok(())
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let mut value = json!({
        "kind": finding.kind.name(),
        "what": finding.what,
        "here": finding.here,
    });
    if let Kind::Mistake(mistake) = finding.kind {
        value["mistake"] = json!(mistake);
    }
    if let Some(place) = finding.place {
        if place.cell > 0 {
            value["cell"] = json!(place.cell);
        }
        value["line"] = json!(place.line);
    }
    value
}

/// Describes the findings by kind, the worst first.
fn words(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut last = None;
    for finding in findings {
        let title = finding.kind.title();
        if last != Some(title) {
            let count = findings
                .iter()
                .filter(|other| other.kind.title() == title)
                .count();
            text.push_str(&format!("{title} ({count}):\n"));
            last = Some(title);
        }
        let place = finding
            .place
            .map_or(String::new(), |place| format!("{place}: "));
        text.push_str(&format!(
            "  {place}{}\n    here: {}\n",
            finding.what, finding.here
        ));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
