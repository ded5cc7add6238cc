//! The exit status of commands that don't end with an error.

/// How a command ended, if not with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was done.
    Done,
    /// Some of it failed and was reported.
    Partly,
    /// A signal stopped the command after it saved its work; the exit status.
    Interrupted(u8),
}
