//! Decisions between steps and epochs, as pure functions and small states: the learning rate, the
//! best epoch, when to stop; and the search for a learning rate.

pub mod early_stopping;
pub mod rate_finder;
pub mod schedule;
