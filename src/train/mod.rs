//! The training loop: epochs of steps, validation, best and last checkpoints, and when to stop.

mod changes;
mod clock;
pub mod early_stopping;
mod epoch;
mod error;
mod fit;
mod inputs;
mod learner;
mod observer;
mod outlook;
mod prepare;
mod run_files;
pub mod schedule;
mod session;
mod state;
mod step;
mod tensorboard;
mod views;

pub use clock::Outcome;
pub use error::TrainError;
pub use fit::fit;
pub use learner::Learner;
pub use observer::Observer;
pub use prepare::{check_augmented_classes, check_memory};
pub use session::Session;
pub use state::{State, history};
pub use step::{StepInput, Stepper};
pub use views::{Datasets, augmenters, levels_view, unlabelled_view};
