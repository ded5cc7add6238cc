//! What long work tells whoever waits for it, so that the same code runs under a terminal, in a test and in another program.

/// Is told how far work has come.
pub trait Progress: Sync {
    /// Shows a line.
    fn say(&self, line: &str);

    /// Starts to count the items of `task`, as "Reading pictures"; counting ends when the returned value is dropped.
    fn items(&self, task: &str) -> Box<dyn Task>;

    /// Starts to count the bytes of a download.
    fn bytes(&self) -> Box<dyn Task>;
}

/// A count under way.
pub trait Task: Sync {
    /// Sets how many there are.
    fn set_total(&self, total: usize);

    /// Sets how many are done.
    fn set_done(&self, count: usize);

    /// Adds to those that are done.
    fn add(&self, count: usize);
}

/// Tells nobody anything.
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
