//! The files of an evaluation: where they go, what they hold, and what is read of them again.

pub(super) mod document;
pub mod place;
pub mod predictions;
