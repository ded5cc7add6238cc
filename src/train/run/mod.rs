//! A run: its initial state, its state in memory, its files, and what a resume may change.

pub(super) mod changes;
pub(super) mod files;
mod job;
pub(super) mod prepare;
pub(super) mod session;
pub(super) mod state;
pub(super) mod tensorboard;

pub use changes::refuse_changes;
pub use prepare::{check_augmented_classes, check_memory};
pub use session::Session;
pub use state::{State, history};
