//! `training.html` in the run folder: curves, time left and the last messages of a run that is
//! being trained. A browser reloads it by itself; there is no server.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::HumanDuration;

use crate::{
    base::{io::files::write_atomic, names},
    commands::ui::{self, TrainingView, epoch_line, say},
    config::Metric,
    record::{EpochRecord, history_csv, read_history},
    report::{Page, curves},
    train::{Observer, Session, rules::early_stopping::Best},
};

/// Name of the page's file.
const PAGE: &str = "training.html";
/// Seconds after which a browser loads the page again.
const REFRESH_SECS: u32 = 5;
/// Shortest time between two pages: epochs of milliseconds would wait for the disk.
const APART: Duration = Duration::from_secs(1);
/// Number of messages on the page.
const MESSAGES: usize = 25;

/// Shows a run in the terminal and on its page.
pub(super) struct LiveView {
    terminal: TrainingView,
    path: PathBuf,
    classes: Arc<Vec<String>>,
    monitor: Metric,
    title: String,
    epochs: usize,
    shown: Mutex<Shown>,
}

/// What changes while the run is trained.
struct Shown {
    records: Vec<EpochRecord>,
    best: Best,
    messages: VecDeque<String>,
    /// When the page was written last; `None` to write none after one failed.
    written: Option<Instant>,
}

impl LiveView {
    /// Creates the view of a run that has begun, and its page.
    pub(super) fn new(session: &Session, terminal: TrainingView) -> Self {
        let view = Self {
            terminal,
            path: session.folder().join(PAGE),
            classes: Arc::clone(&session.datasets.train.classes),
            monitor: session.config.train.checkpoint.monitor.clone(),
            title: session.config.name.clone(),
            epochs: session.config.train.epochs,
            shown: Mutex::new(Shown {
                records: session.state.history.clone(),
                best: session.state.best.clone(),
                messages: VecDeque::new(),
                // Rank 0 writes the page for all.
                written: (!ui::is_silent()).then(Instant::now),
            }),
        };
        view.write(&mut view.shown(), None);
        view
    }

    /// Writes the page a last time, with how the run ended, in place of the time left. Text between
    /// backticks is shown as code.
    pub(super) fn end(&self, words: &str) {
        self.write(&mut self.shown(), Some(words));
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, message: &str) {
        let mut shown = self.shown();
        shown.messages.push_back(message.to_owned());
        if shown.messages.len() > MESSAGES {
            shown.messages.pop_front();
        }
    }

    /// Writes the page; one that can't be written is reported and given up, because a run is worth
    /// more than its page.
    fn write(&self, shown: &mut Shown, end: Option<&str>) {
        if shown.written.is_none() {
            return;
        }
        let page = self.page(shown, end).to_html();
        shown.written = match write_atomic(&self.path, page.as_bytes()) {
            Ok(()) => Some(Instant::now()),
            Err(error) => {
                say(&format!("warning: {error}; the run goes on without {PAGE}"));
                None
            }
        };
    }

    fn page(&self, shown: &Shown, end: Option<&str>) -> Page {
        let Shown {
            records,
            best,
            messages,
            ..
        } = shown;
        let left = self.terminal.left();
        let left = left.map_or_else(
            || "the first epoch tells how long it takes".to_owned(),
            |left| format!("about {} left", HumanDuration(left)),
        );
        let now = time::OffsetDateTime::now_utc();
        let mut facts = vec![
            ("Epochs", format!("{} of {}", records.len(), self.epochs)),
            (
                "Written",
                format!(
                    "{} {:02}:{:02}:{:02} UTC",
                    now.date(),
                    now.hour(),
                    now.minute(),
                    now.second()
                ),
            ),
        ];
        if let Some((value, epoch)) = best.found {
            let words = format!("{epoch}, {} {value:.4}", self.monitor);
            facts.insert(1, ("Best epoch", words));
        }
        if let Some(folder) = self.path.parent() {
            facts.push(("Run folder", names::of_path(folder)));
        }
        let history = read_history(&history_csv(records, &self.classes)).unwrap_or_default();
        Page {
            title: format!(
                "{}: {} of {} epochs",
                self.title,
                records.len(),
                self.epochs
            ),
            refresh_secs: end.is_none().then_some(REFRESH_SECS),
            lead: vec![end.map_or_else(|| format!("Training, {left}."), str::to_owned)],
            about: "The run",
            facts: facts
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            figures: curves(&history, best.found.map(|(_, epoch)| epoch))
                .into_iter()
                .collect(),
            messages: messages.iter().cloned().collect(),
            ..Page::default()
        }
    }
}

impl Observer for LiveView {
    fn epoch_started(&self, epoch: usize, done: usize, total: usize) {
        self.terminal.epoch_started(epoch, done, total);
    }

    fn trained(&self, images: usize, loss: f64, accuracy: f64) {
        self.terminal.trained(images, loss, accuracy);
    }

    fn computed_features(&self, done: usize, total: usize) {
        self.terminal.computed_features(done, total);
    }

    fn validated(&self, images: usize) {
        self.terminal.validated(images);
    }

    fn epoch_ended(&self, record: &EpochRecord) {
        self.terminal.epoch_ended(record);
        self.add(&epoch_line(record, self.epochs));
        let mut shown = self.shown();
        let value = record.value(&self.monitor, &self.classes);
        shown.best.update(&self.monitor, record.epoch, value);
        shown.records.push(record.clone());
        if shown.written.is_some_and(|last| last.elapsed() >= APART) {
            self.write(&mut shown, None);
        }
    }

    fn say(&self, line: &str) {
        self.terminal.say(line);
        self.add(line);
    }
}
