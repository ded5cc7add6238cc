//! Decisions between steps and epochs, as pure functions and small states: the learning rate, the
//! best epoch, when to stop.

pub mod early_stopping;
pub mod schedule;
