//! Progress of long work, reported through traits, so that the same code runs in a terminal, in a
//! test and in another program.

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
