//! Terminal output: progress bars and messages on stderr, results on stdout.

pub(super) mod signals;
mod training;

use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
pub use training::{TrainingView, epoch_line};

use crate::{
    base::{
        names,
        progress::{Progress, Task},
    },
    config::DeviceName,
    nn::{
        NnError,
        device::{Compute, open},
    },
};

/// Which of several ranks this process is, and where.
#[derive(Debug)]
struct Speaker {
    rank: usize,
    host: String,
}

static SPEAKER: OnceLock<Speaker> = OnceLock::new();

/// Makes this process one of several ranks. Rank 0 speaks for all; of the others, only the error
/// that ends the program is shown.
pub fn speak_for(rank: usize, host: &str) {
    let host = host.to_owned();
    // A process joins one job.
    let _ = SPEAKER.set(Speaker { rank, host });
}

/// Whether this process is one of several ranks.
pub fn is_in_job() -> bool {
    SPEAKER.get().is_some()
}

/// Whether another rank speaks for this process.
pub fn is_silent() -> bool {
    SPEAKER.get().is_some_and(|speaker| speaker.rank > 0)
}

/// Returns the container of all progress bars, so that messages appear above them.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| {
        MultiProgress::with_draw_target(if is_silent() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        })
    })
}

/// Shows warnings of this crate on stderr. Those of other crates are dropped: graphics drivers log
/// errors for every API that they lack, and real failures are returned as errors.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("emberlens")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(&format!(
                "{}: {}",
                if record.level() == log::Level::Error {
                    "error"
                } else {
                    "warning"
                },
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}

/// Shows warnings from here on.
pub fn start_log() {
    // A second call fails because the logger is set, which is harmless.
    let _ = log::set_logger(&Log).map(|()| log::set_max_level(log::LevelFilter::Warn));
}

/// Writes a message to stderr above any progress bar, with control characters escaped. Failures are
/// ignored, because a closed terminal must not end the work.
pub fn say(line: &str) {
    if !is_silent() {
        show(line);
    }
}

fn show(line: &str) {
    let (line, bars) = (names::of_lines(line), bars());
    // `MultiProgress::suspend` would panic if the terminal is gone.
    let _ = if bars.is_hidden() {
        writeln!(io::stderr(), "{line}")
    } else {
        bars.println(line)
    };
}

/// Asks a yes-or-no question and returns whether the answer is yes. An empty line is a no, and so
/// is the lack of a terminal.
pub fn is_agreed(question: &str) -> bool {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{} [y/N] ", names::of_lines(question))
        .and_then(|()| io::stdin().read_line(&mut answer));
    asked.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Writes a result to stdout, with control characters escaped. A closed pipe (`| head`) is no
/// error.
///
/// # Errors
/// Returns an error if stdout can't be written for another reason.
pub fn print(text: &str) -> anyhow::Result<()> {
    if is_silent() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    match out
        .write_all(names::of_lines(text).as_bytes())
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Time that a rank leaves rank 0 to report an error that all have.
const ERROR_PRECEDENCE: Duration = Duration::from_secs(3);

/// Shows the error that ends the program; of a rank but 0, with its number and host.
pub fn print_error(error: &anyhow::Error) {
    let whose = match SPEAKER.get() {
        Some(Speaker { rank, host }) if *rank > 0 => {
            std::thread::sleep(ERROR_PRECEDENCE);
            format!("rank {rank} on host {host}: ")
        }
        _ => String::new(),
    };
    show(&format!("error: {whose}{error:#}"));
}

/// Opens a device and reports which one it is.
///
/// # Errors
/// Returns an error if the device isn't there or fails its self-test.
pub fn open_device(name: DeviceName) -> Result<Compute, NnError> {
    let compute = open(name)?;
    match &compute.fallback {
        Some(reason) => say(&format!(
            "warning: no GPU is used: {reason}; computing on {}",
            compute.about
        )),
        None => say(&format!("Device {}: {}", compute.name, compute.about)),
    }
    Ok(compute)
}

/// Reports progress to the terminal, on stderr.
#[derive(Clone, Copy, Debug)]
pub struct Terminal;

impl Progress for Terminal {
    fn say(&self, line: &str) {
        say(line);
    }

    fn items(&self, task: &str) -> Box<dyn Task> {
        let bar = Bar::new("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
        bar.0.set_message(task.to_owned());
        Box::new(bar)
    }

    fn bytes(&self) -> Box<dyn Task> {
        Box::new(Bar::new(
            "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ))
    }
}

/// A progress bar that is removed when the value is dropped.
struct Bar(ProgressBar);

impl Bar {
    fn new(template: &str) -> Self {
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bars().add(ProgressBar::new(0).with_style(style)))
    }
}

impl Task for Bar {
    fn set_total(&self, total: usize) {
        self.0.set_length(total as u64);
    }

    fn set_done(&self, count: usize) {
        self.0.set_position(count as u64);
    }

    fn add(&self, count: usize) {
        self.0.inc(count as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        bars().remove(&self.0);
    }
}
