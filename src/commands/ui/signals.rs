//! Ctrl-C and what clusters, containers and closed terminals send instead: while a run is trained, the first finishes the step and saves; before and
//! after, and the second, end the program at once. Its exit code is 128 and the signal's number.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI32, Ordering},
};

use anyhow::Context;

use super::say;
use crate::base::files::discard_partial_files;

/// Not a signal.
const NONE: i32 = 0;

/// What the program does when it is told to stop.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Signals {
    /// Is there a training that can be saved?
    is_training: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    first: Arc<AtomicI32>,
}

impl Signals {
    /// Watches from here on. Until [`Self::training`] a signal ends the program at once, with nothing half-written.
    ///
    /// # Errors
    /// The system doesn't let signals be watched.
    pub(in crate::commands) fn watch() -> anyhow::Result<Self> {
        let signals = Self { is_training: Arc::default(), stop: Arc::default(), first: Arc::new(AtomicI32::new(NONE)) };
        start(signals.clone()).context("can't watch for signals")?;
        Ok(signals)
    }

    /// A training begins: what it is to look at between two steps.
    pub(in crate::commands) fn training(&self) -> &AtomicBool {
        self.is_training.store(true, Ordering::SeqCst);
        &self.stop
    }

    /// The training is over and saved.
    pub(in crate::commands) fn over(&self) {
        self.is_training.store(false, Ordering::SeqCst);
    }

    /// The number of the signal that stopped the training.
    pub(in crate::commands) fn caught(&self) -> Option<i32> {
        Some(self.first.load(Ordering::SeqCst)).filter(|number| *number != NONE)
    }

    /// What happens at a signal. Not in a handler, but in a thread of its own.
    fn take(&self, number: i32) {
        if !self.is_training.load(Ordering::SeqCst) {
            say(&format!("Stopped by {}", name(number)));
            end(number);
        }
        match self.first.compare_exchange(NONE, number, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                self.stop.store(true, Ordering::SeqCst);
                say(&format!("{}: finishing the step and saving; a second one stops at once", name(number)));
            }
            // The system sends this one every second.
            Err(first) if first == number && repeats(number) => {}
            Err(_) => end(number),
        }
    }
}

fn end(number: i32) -> ! {
    discard_partial_files();
    std::process::exit(exit_code(number).into());
}

/// As shells count: 130 for Ctrl-C, 143 for SIGTERM.
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

    pub(in crate::commands) fn start(signals: Signals) -> io::Result<()> {
        let watched = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU];
        let mut arriving = Arriving::new(watched.into_iter().filter(|number| *number != SIGHUP || !is_hangup_ignored()))?;
        let watch = move || arriving.forever().for_each(|number| signals.take(number));
        std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map(|_| ())
    }

    /// `nohup` starts programs that go on when their terminal is closed.
    fn is_hangup_ignored() -> bool {
        // Only Linux says so without more ado.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
    }

    pub(in crate::commands) fn repeats(number: i32) -> bool {
        number == SIGXCPU
    }

    /// The name of a signal, for a person.
    pub(in crate::commands) fn name(number: i32) -> String {
        if number == SIGINT { "Ctrl-C".to_owned() } else { signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned) }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use super::Signals;

    const CTRL_C: i32 = 2;

    pub(in crate::commands) fn start(signals: Signals) -> io::Result<()> {
        ctrlc::set_handler(move || signals.take(CTRL_C)).map_err(io::Error::other)
    }

    pub(in crate::commands) fn repeats(_number: i32) -> bool {
        false
    }

    /// The name of a signal, for a person.
    pub(in crate::commands) fn name(_number: i32) -> String {
        "Ctrl-C".to_owned()
    }
}

pub(in crate::commands) use system::name;
use system::{repeats, start};
