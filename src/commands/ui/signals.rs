//! Stops the program on Ctrl-C and the signals that clusters, containers and closed terminals send.
//! During training, the first signal finishes the step and saves the run; a server answers what has
//! arrived. Before and after, and at Ctrl-C during the save, the program ends at once. The exit
//! status is 128 plus the signal's number, as shells have it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI32, Ordering},
};

use anyhow::Context;

use super::say;
use crate::base::io::files::discard_partial_files;

/// Value for no signal.
const NONE: i32 = 0;

/// State of signal handling, shared with the thread that receives signals.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Signals {
    /// What the first signal leads to, in words, while there is work to finish.
    finishing: Arc<Mutex<Option<&'static str>>>,
    /// Set to stop the work.
    stop: Arc<AtomicBool>,
    /// Number of the first signal during the work.
    first: Arc<AtomicI32>,
}

impl Signals {
    /// Starts to handle signals. Until [`Self::training`] is called, a signal ends the program at
    /// once, with no partial file left.
    ///
    /// # Errors
    /// Returns an error if signals can't be handled on this system.
    pub(in crate::commands) fn watch() -> anyhow::Result<Self> {
        let signals = Self {
            finishing: Arc::default(),
            stop: Arc::default(),
            first: Arc::new(AtomicI32::new(NONE)),
        };
        start(signals.clone()).context("can't watch for signals")?;
        Ok(signals)
    }

    /// Marks the start of training and returns the flag that training checks after each step.
    pub(in crate::commands) fn training(&self) -> &AtomicBool {
        self.working("finishing the step and saving")
    }

    /// Marks the start of work that a signal doesn't cut off, and returns the flag that asks it to
    /// end. `finishing` says what is done until then.
    pub(in crate::commands) fn working(&self, finishing: &'static str) -> &AtomicBool {
        *self.finishing() = Some(finishing);
        &self.stop
    }

    /// Marks the end of the work, after a run is saved.
    pub(in crate::commands) fn over(&self) {
        *self.finishing() = None;
    }

    fn finishing(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.finishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of the signal that stopped the work.
    pub(in crate::commands) fn caught(&self) -> Option<i32> {
        Some(self.first.load(Ordering::SeqCst)).filter(|number| *number != NONE)
    }

    /// Handles a signal. Runs in a thread of its own, where locks and allocations are allowed,
    /// unlike in a signal handler.
    fn take(&self, number: i32) {
        let Some(finishing) = *self.finishing() else {
            say(&format!("Stopped by {}", name(number)));
            end(number);
        };
        // Only the first signal is recorded, for the exit status after the run is saved.
        match self
            .first
            .compare_exchange(NONE, number, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => {
                self.stop.store(true, Ordering::SeqCst);
                say(&format!(
                    "{}: {finishing}; {} stops at once",
                    name(number),
                    if is_ctrl_c(number) {
                        "a second one"
                    } else {
                        "Ctrl-C"
                    }
                ));
            }
            Err(_) if is_ctrl_c(number) => end(number),
            // Clusters send one signal after the other, and SIGXCPU every second: none of them
            // means that the run is not to be saved.
            Err(_) => {}
        }
    }
}

/// Ends the program because of a signal, without leaving partial files.
fn end(number: i32) -> ! {
    discard_partial_files();
    std::process::exit(exit_code(number).into());
}

/// Returns the exit status for a signal: 130 for Ctrl-C, 143 for SIGTERM.
pub(in crate::commands) fn exit_code(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

#[cfg(unix)]
mod system {
    use std::io;

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU},
        iterator::Signals as Arriving,
        low_level::signal_name,
    };

    use super::Signals;

    /// Starts the thread that receives signals.
    pub(in crate::commands) fn start(signals: Signals) -> io::Result<()> {
        let watched = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU];
        let mut arriving = Arriving::new(
            watched
                .into_iter()
                .filter(|number| *number != SIGHUP || !is_hangup_ignored()),
        )?;
        let watch = move || arriving.forever().for_each(|number| signals.take(number));
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(watch)
            .map(|_| ())
    }

    /// Whether SIGHUP was ignored at the start, as `nohup` does for programs that outlive their
    /// terminal. Handling the signal would undo that.
    fn is_hangup_ignored() -> bool {
        // Other systems than Linux offer no simple way to read this.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
    }

    /// Whether a signal is a person's at the terminal.
    pub(in crate::commands) fn is_ctrl_c(number: i32) -> bool {
        number == SIGINT
    }

    /// Returns the name of a signal for messages.
    pub(in crate::commands) fn name(number: i32) -> String {
        if number == SIGINT {
            "Ctrl-C".to_owned()
        } else {
            signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use super::Signals;

    const CTRL_C: i32 = 2;

    /// Starts to handle Ctrl-C.
    pub(in crate::commands) fn start(signals: Signals) -> io::Result<()> {
        ctrlc::set_handler(move || signals.take(CTRL_C)).map_err(io::Error::other)
    }

    /// Whether a signal is a person's at the terminal.
    pub(in crate::commands) fn is_ctrl_c(number: i32) -> bool {
        number == CTRL_C
    }

    /// Returns the name of the signal for messages.
    pub(in crate::commands) fn name(_number: i32) -> String {
        "Ctrl-C".to_owned()
    }
}

pub(in crate::commands) use system::name;
use system::{is_ctrl_c, start};
