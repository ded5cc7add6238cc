//! `emberlens bench`: seconds per training step, images per second through the pipeline,
//! milliseconds of forward passes, and what ranks cost. The figures depend on the machine and its
//! load: compare them within one run, as ratios.

mod forward;
mod pipeline;
mod ranks;
mod step;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde::Serialize;

use super::ui;
use crate::{
    architecture::Architecture,
    commands::common::{exit_status::ExitStatus, job},
    config::{self, Config, DeviceName},
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
    /// Measure what the exchange of gradients among ranks costs, and the scaling that follows; in a
    /// job of MPI, or started by --ranks
    Ranks(Job),
    /// Measure the milliseconds of the forward pass of backbones, as frozen features are computed,
    /// on synthetic images with random weights
    Forward(Networks),
}

#[derive(Debug, Parser)]
struct Networks {
    /// Architectures, as in `model.architecture`
    #[arg(value_name = "ARCHITECTURE", required = true, value_parser = architecture)]
    names: Vec<Architecture>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// Number of images in a batch
    #[arg(
        long,
        value_name = "N",
        default_value = "32",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    batch_size: u16,
    /// Height and width of the images
    #[arg(
        long,
        value_name = "N",
        default_value = "224",
        value_parser = clap::value_parser!(u16).range(32..=4096)
    )]
    image_size: u16,
    /// Number of batches to measure, after one to warm up
    #[arg(
        long,
        value_name = "N",
        default_value = "5",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    rounds: u16,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// Parses an architecture that has a network of its own.
fn architecture(name: &str) -> Result<Architecture, String> {
    let found = Architecture::find(name).filter(|found| !found.is_of_recipe());
    found.ok_or_else(|| {
        let names: Vec<_> = Architecture::all()
            .filter(|known| !known.is_of_recipe())
            .map(Architecture::name)
            .collect();
        format!("found {name:?}, expected one of {}", names.join(", "))
    })
}

#[derive(Debug, Parser)]
struct Job {
    #[command(flatten)]
    common: Common,
    /// Start so many processes by MPI's mpiexec
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
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
    match &args.what {
        What::Step(common) => {
            let result = step::measure(&common.config()?, common.steps)?;
            show(&result, common.json, &result.rows())
        }
        What::Pipeline(common) => {
            let result = pipeline::measure(common.config()?, common.steps)?;
            show(&result, common.json, &result.rows())
        }
        What::Ranks(Job { common, ranks }) => {
            let ranks = job::join(ranks.map(usize::from))?;
            let result = ranks::measure(&common.config()?, common.steps, &ranks)?;
            let status = show(&result, common.json, &result.rows())?;
            job::end(ranks, status)
        }
        What::Forward(networks) => {
            let result = forward::measure(&forward::Settings {
                networks: networks.names.clone(),
                device: networks.device,
                batch_size: networks.batch_size.into(),
                image_size: networks.image_size.into(),
                rounds: networks.rounds,
            })?;
            show(&result, networks.json, &result.rows())
        }
    }
}

impl Common {
    /// Loads the recipe with the changes of the command line.
    fn config(&self) -> anyhow::Result<Config> {
        let mut overrides = self.overrides.clone();
        overrides.extend(self.device.map(|device| format!("device={device}")));
        Ok(config::load(&self.config, &overrides)?)
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
