//! How a command ends if not by an error.

/// How a command ended, if not by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything asked for is done.
    Done,
    /// Some of it failed and was reported.
    Partly,
    /// By a signal, after saving: the exit code.
    Interrupted(u8),
}
