//! Progress of long work, reported through traits, so that the same code runs in a terminal, in a
//! test and in another program.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Receives messages and progress.
pub trait Progress: Sync {
    /// Shows a message of one line.
    fn say(&self, line: &str);

    /// Starts counting the items of `task`, such as "Reading images". Counting ends when the
    /// returned value is dropped.
    fn items(&self, task: &str) -> Box<dyn Task>;

    /// Starts counting the bytes of a download.
    fn bytes(&self) -> Box<dyn Task>;
}

/// A count in progress.
pub trait Task: Sync {
    /// Sets the total.
    fn set_total(&self, total: usize);

    /// Sets the number done.
    fn set_done(&self, count: usize);

    /// Adds to the number done.
    fn add(&self, count: usize);
}

/// Passes each message on once, for work on the same images that is done twice.
pub struct EachOnce<'a> {
    inner: &'a dyn Progress,
    said: Mutex<BTreeSet<String>>,
}

impl<'a> EachOnce<'a> {
    /// Passes messages on to `inner`.
    pub fn new(inner: &'a dyn Progress) -> Self {
        Self {
            inner,
            said: Mutex::default(),
        }
    }
}

impl Progress for EachOnce<'_> {
    fn say(&self, line: &str) {
        // A panic in another thread leaves the set usable.
        if self
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(line.to_owned())
        {
            self.inner.say(line);
        }
    }

    fn items(&self, task: &str) -> Box<dyn Task> {
        self.inner.items(task)
    }

    fn bytes(&self) -> Box<dyn Task> {
        self.inner.bytes()
    }
}

/// Ignores all progress.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn say(&self, _line: &str) {}

    fn items(&self, _task: &str) -> Box<dyn Task> {
        Box::new(Self)
    }

    fn bytes(&self) -> Box<dyn Task> {
        Box::new(Self)
    }
}

impl Task for Silent {
    fn set_total(&self, _total: usize) {}

    fn set_done(&self, _count: usize) {}

    fn add(&self, _count: usize) {}
}
