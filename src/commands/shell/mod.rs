//! What shells and `man` are told of the command line.

pub mod completions;
pub mod man;
