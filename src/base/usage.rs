//! The error of somebody who asked for what can't be done.

/// Something in the arguments that their syntax doesn't show; the program exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
