//! `emberlens devices`: lists the devices, each with the result of its self-test, and says what a
//! machine without a usable GPU lacks.

use clap::Parser;
use serde_json::json;

use super::ui;
use crate::{
    base::names,
    commands::common::exit_status::ExitStatus,
    nn::device::{check_all, lacking},
    report::text_table,
};

/// Arguments of `devices`.
#[derive(Debug, Parser)]
pub struct Args {
    /// Print one JSON document on stdout instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if stdout can't be written.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let devices = check_all();
    let lacking = lacking(&devices);
    if args.json {
        let devices: Vec<_> = devices
            .iter()
            .map(|device| {
                let (is_usable, detail) = match &device.result {
                    Ok(detail) => (true, detail),
                    Err(detail) => (false, detail),
                };
                json!({
                    "name": device.name,
                    "about": device.about,
                    "usable": is_usable,
                    "detail": detail,
                })
            })
            .collect();
        let mpi = match mpi_engine::library_found() {
            Ok(Some(found)) => json!({ "path": found.path, "version": found.version }),
            _ => serde_json::Value::Null,
        };
        let document = json!({ "devices": devices, "lacking": lacking, "mpi": mpi });
        ui::print(&(serde_json::to_string_pretty(&document)? + "\n"))?;
        return Ok(ExitStatus::Done);
    }
    let mut table = text_table::table(&[
        "--device",
        "What",
        "Usable",
        "Self-test: one step of a small network, compared with the CPU",
    ]);
    for device in devices {
        let (usable, detail) = match device.result {
            Ok(detail) => ("yes", detail),
            Err(detail) => ("no", detail),
        };
        table.add_row([device.name, device.about, usable.to_owned(), detail]);
    }
    let lacking = lacking.map_or_else(String::new, |words| format!("\n{words}.\n"));
    ui::print(&format!("{table}\n{lacking}\n{}\n", of_mpi()))?;
    Ok(ExitStatus::Done)
}

/// Says which library joins the ranks of a job, if there is one.
fn of_mpi() -> String {
    match mpi_engine::library_found() {
        Ok(Some(found)) => format!(
            "Ranks of a job are joined by {}: {}",
            found.version,
            names::of_path(&found.path)
        ),
        Ok(None) => "No MPI library was found; `train --ranks` needs one, such as that of \
                     `pip install mpich`"
            .to_owned(),
        Err(error) => format!("No MPI library can be used: {error}"),
    }
}
