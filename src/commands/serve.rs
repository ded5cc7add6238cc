//! `emberlens serve`: classifies images over HTTP.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Parser;

use super::common::exit_status::ExitStatus;
use crate::config::DeviceName;

/// Arguments of `serve`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A run folder (its best epoch; of several folds, the mean of their probabilities), or one
    /// checkpoint in it
    run: PathBuf,
    /// Port to listen at; 0 takes one that is free
    #[arg(long, value_name = "N", default_value = "8077")]
    port: u16,
    /// Address to listen at. Beyond this machine there is neither encryption nor a login: a proxy
    /// in front has to add them
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Name by which the server is reached, besides localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// auto, gpu, gpu:N, cpu or ndarray
    #[arg(long, value_name = "D", default_value = "auto")]
    device: DeviceName,
    /// Most megabytes (MiB) of a request; sixteen such requests are held at a time
    #[arg(long, value_name = "MB", default_value = "16",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_body: u16,
    /// Most images under way: being read, waiting, or in the network
    #[arg(long, value_name = "N", default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..))]
    max_images: u16,
    /// Most connections; more wait until one ends
    #[arg(long, value_name = "N", default_value = "256",
        value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: u16,
    /// Time for the header of a request
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    header_timeout: Duration,
    /// Time for the body of a request, and for the client to take the answer
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    body_timeout: Duration,
}

/// Reads a time in seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let found = text.parse::<f64>().ok().filter(|value| *value > 0.0);
    found
        .and_then(|value| Duration::try_from_secs_f64(value).ok())
        .filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| "expected seconds above 0 and up to 3600, such as 20 or 0.5".to_owned())
}

/// Runs the command until a signal ends it.
///
/// # Errors
/// Returns an error if a process still trains the run, the checkpoint can't be used, or the port is
/// taken.
#[cfg(feature = "serve")]
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    use super::ui::{self, Terminal, say, signals, signals::Signals};
    use crate::{
        base::names,
        checkpoint::Networks,
        evaluation::{classified::Rules, predictor::Predictor},
        serve::{Limits, Server},
    };

    let signals = Signals::watch()?;
    let networks = Networks::find(&args.run)?;
    // A better epoch may follow.
    let lock = networks.hold()?;
    let checkpoints = networks.load_classifiers()?;
    let compute = ui::open_device(args.device)?;
    let predictor = Predictor {
        keep: Rules::of(&checkpoints[0].meta).detail(),
        ..Predictor::of_all(&checkpoints, &compute, &Terminal)?
    };
    // All of it is in memory.
    drop(lock);
    let limits = Limits {
        body: usize::from(args.max_body) << 20,
        images: args.max_images.into(),
        connections: args.max_connections.into(),
        header: args.header_timeout,
        body_time: args.body_timeout,
    };
    let address = (args.host, args.port).into();
    let server = Server::bind(address, args.allow_host.clone(), limits)?;
    let stop = signals.working("answering what has arrived");
    if !args.host.is_loopback() {
        say(&format!(
            "warning: whoever reaches {} can use the server; it has neither encryption nor a login",
            args.host
        ));
    }
    let what = match &networks.paths[..] {
        [one] => names::of_path(one),
        several => format!(
            "the mean of {} networks of {}",
            several.len(),
            names::of_path(&networks.folder)
        ),
    };
    say(&format!(
        "Serving {what} at http://{}; Ctrl-C stops",
        server.address()?
    ));
    server.run(&predictor, stop)?;
    signals.over();
    let number = signals.caught().unwrap_or_default();
    say(&format!("Stopped by {}", signals::name(number)));
    Ok(ExitStatus::Interrupted(signals::exit_code(number)))
}

/// Returns the error that this build has no server.
///
/// # Errors
/// Always returns an error.
#[cfg(not(feature = "serve"))]
pub fn run(_args: &Args) -> anyhow::Result<ExitStatus> {
    Err(crate::base::usage::UsageError(
        "this program was built without the feature serve; build it with --features serve"
            .to_owned(),
    )
    .into())
}
