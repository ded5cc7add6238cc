//! `emberlens bench`: seconds per training step, and images per second through the pipeline. The
//! figures depend on the machine and its load: compare them within one run, as ratios.

mod pipeline;
mod step;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde::Serialize;

use super::ui;
use crate::{
    commands::common::exit_status::ExitStatus,
    config::{self, DeviceName},
    report::text_table,
};

/// Arguments of `bench`.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure the seconds per training step on synthetic images, and of the same network in Burn
    /// alone, without our kernels
    Step(Common),
    /// Measure the images per second from disk and from the cache, augmented, and how long steps
    /// wait for them
    Pipeline(Common),
}

#[derive(Debug, Parser)]
struct Common {
    /// The recipe
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change one value of the recipe
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// auto, gpu, gpu:N, cpu or ndarray, instead of the recipe's
    #[arg(long, value_name = "D")]
    device: Option<DeviceName>,
    /// Number of steps to measure, after two to warm up
    #[arg(
        long,
        value_name = "N",
        default_value = "5",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    steps: u16,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the configuration, data or device can't be used.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let common = match &args.what {
        What::Step(common) | What::Pipeline(common) => common,
    };
    let mut overrides = common.overrides.clone();
    overrides.extend(common.device.map(|device| format!("device={device}")));
    let config = config::load(&common.config, &overrides)?;
    match &args.what {
        What::Step(common) => {
            let result = step::measure(&config, common.steps)?;
            show(&result, common.json, &result.rows())
        }
        What::Pipeline(common) => {
            let result = pipeline::measure(config, common.steps)?;
            show(&result, common.json, &result.rows())
        }
    }
}

/// Prints a result as JSON or as a table.
fn show(
    result: &impl Serialize,
    json: bool,
    rows: &[(String, String)],
) -> anyhow::Result<ExitStatus> {
    if json {
        ui::print(&(serde_json::to_string_pretty(result)? + "\n"))?;
    } else {
        let mut table = text_table::table(&["", ""]);
        rows.iter()
            .for_each(|(name, value)| _ = table.add_row([name, value]));
        text_table::align_right(&mut table, [1]);
        ui::print(&format!("{table}\n"))?;
    }
    Ok(ExitStatus::Done)
}
