//! The error for arguments that are well-formed but impossible.

/// An error in the arguments that their syntax doesn't show. The program exits with status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
