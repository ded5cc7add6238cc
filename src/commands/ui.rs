//! What a person sees: bars and lines on stderr, results on stdout.

use std::{
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    base::names,
    config::DeviceName,
    nn::{
        NnError,
        device::{Compute, open},
    },
    record::EpochRecord,
    report,
    train::Observer,
};

/// Something in the arguments that clap can't see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// All bars of the program, so that lines can go between them.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
}

/// Our own warnings on stderr. Graphics drivers log errors for each way of theirs that isn't there, so the crates below
/// us are not shown: what fails for good comes back as an error value.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("emberlens")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(&format!("{}: {}", if record.level() == log::Level::Error { "error" } else { "warning" }, record.args()));
        }
    }

    fn flush(&self) {}
}

/// Shows warnings from here on.
pub fn start_log() {
    // A second call finds the logger there, which is what it wants.
    let _ = log::set_logger(&Log).map(|()| log::set_max_level(log::LevelFilter::Warn));
}

/// A line on stderr, above any bar. Nothing in it that a terminal would obey. A closed terminal leaves nobody to tell, and the work goes on.
pub fn say(line: &str) {
    let (line, bars) = (names::of_lines(line), bars());
    // `suspend` would end the program where the terminal is gone.
    let _ = if bars.is_hidden() { writeln!(io::stderr(), "{line}") } else { bars.println(line) };
}

/// A result on stdout. Nothing in it that a terminal would obey. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// Stdout can't be written otherwise.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(names::of_lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The error that ends the program.
pub fn print_error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
}

/// Opens the device and says what it is.
///
/// # Errors
/// It isn't there or computes wrongly.
pub fn open_device(name: DeviceName) -> Result<Compute, NnError> {
    let compute = open(name)?;
    match &compute.fallback {
        Some(reason) => say(&format!("warning: no GPU is used: {reason}; computing on {}", compute.about)),
        None => say(&format!("Device {}: {}", compute.name, compute.about)),
    }
    Ok(compute)
}

/// A table for a person.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.iter().map(|name| cell(name)).collect::<Vec<_>>());
    table
}

/// A name in a cell of a table: on one line, and with no bar that would begin another cell.
pub fn cell(name: &str) -> String {
    names::of_text(name).replace('|', "\\|")
}

/// A whole table for a terminal.
pub fn table_text(content: &report::Table) -> String {
    let mut text = table(&content.head.iter().map(String::as_str).collect::<Vec<_>>());
    text.add_rows(content.rows.iter().map(|row| row.iter().map(|name| cell(name)).collect::<Vec<_>>()));
    align_right(&mut text, 1..content.head.len());
    text.to_string()
}

/// Numbers stand on the right.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A bar over pictures that are read.
pub struct Reading(ProgressBar);

impl Reading {
    /// For `count` pictures.
    pub fn new(what: &str) -> Self {
        let style =
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bars().add(ProgressBar::new(0).with_style(style).with_message(what.to_owned())))
    }

    /// How many there are.
    pub fn start(&self, count: usize) {
        self.0.set_length(count as u64);
    }

    /// So many more are read.
    pub fn done(&self, count: usize) {
        self.0.inc(count as u64);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        bars().remove(&self.0);
    }
}

/// A bar over the bytes of a download.
pub struct Bytes(ProgressBar);

impl Bytes {
    /// For so many.
    pub fn new(total: u64) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        Self(bars().add(ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))))
    }

    /// So many are there.
    pub fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        bars().remove(&self.0);
    }
}

/// What the bar says while frozen layers look at pictures.
const FEATURES: &str = "Features";

/// Bars for a training run; off a terminal one line an epoch.
pub struct TrainingView {
    epochs: usize,
    run: ProgressBar,
    epoch: Mutex<Epoch>,
}

struct Epoch {
    bar: ProgressBar,
    start: Instant,
    pictures: usize,
}

impl TrainingView {
    /// For a run that has done `done` of `epochs`.
    pub fn new(done: usize, epochs: usize) -> Self {
        let style = |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style("{prefix:12} {wide_bar} {pos}/{len} {msg}, {eta} left"));
        let epoch = Epoch { bar: bars().add(bar), start: Instant::now(), pictures: 0 };
        let run = ProgressBar::new(epochs as u64).with_style(style("{msg:12} {wide_bar} {pos}/{len} epochs, {elapsed} gone, {eta} left"));
        let run = bars().add(run.with_message("Run").with_position(done as u64));
        // The time goes on between two epochs.
        run.enable_steady_tick(Duration::from_secs(1));
        Self { epochs, run, epoch: Mutex::new(epoch) }
    }

    fn epoch(&self) -> std::sync::MutexGuard<'_, Epoch> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for TrainingView {
    fn epoch_started(&self, epoch: usize, done: usize, total: usize) {
        let mut state = self.epoch();
        (state.start, state.pictures) = (Instant::now(), 0);
        state.bar.set_length(total as u64);
        state.bar.set_position(done as u64);
        state.bar.reset_eta();
        state.bar.set_prefix(format!("Epoch {epoch}/{}", self.epochs));
    }

    fn trained(&self, pictures: usize, loss: f64, accuracy: f64) {
        let mut state = self.epoch();
        state.pictures += pictures;
        state.bar.inc(pictures as u64);
        let rate = state.pictures as f64 / state.start.elapsed().as_secs_f64();
        state.bar.set_message(format!("loss {loss:.4}, accuracy {accuracy:.4}, {rate:.0} images/s"));
    }

    fn computed_features(&self, done: usize, total: usize) {
        let state = self.epoch();
        if state.bar.prefix() != FEATURES {
            state.bar.set_prefix(FEATURES);
            state.bar.set_message("computed once");
            state.bar.reset_eta();
        }
        state.bar.set_length(total as u64);
        state.bar.set_position(done as u64);
    }

    fn validated(&self, _pictures: usize) {
        self.epoch().bar.set_prefix("Validating");
    }

    fn epoch_ended(&self, record: &EpochRecord) {
        self.run.set_position(record.epoch as u64);
        say(&format!(
            "Epoch {}/{} - {:.1}s - loss: {:.4} - accuracy: {:.4} - val_loss: {:.4} - val_accuracy: {:.4} - val_macro_f1: {:.4} - learning_rate: {:.3e}",
            record.epoch,
            self.epochs,
            record.seconds,
            record.train.loss,
            record.train.accuracy,
            record.validation.loss,
            record.validation.accuracy,
            record.validation.macro_f1,
            record.learning_rate,
        ));
    }

    fn say(&self, line: &str) {
        say(line);
    }
}

impl Drop for TrainingView {
    fn drop(&mut self) {
        self.epoch().bar.finish_and_clear();
        self.run.finish_and_clear();
    }
}
