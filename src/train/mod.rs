//! The training loop: turns a configuration, data and initial weights into checkpoints and a record
//! of each epoch. Prints nothing, but reports progress to an [`Observer`]; chooses no device.

mod clock;
mod epoch;
mod error;
mod find_rate;
mod fit;
mod inputs;
mod measured;
mod observer;
mod outlook;
pub mod rules;
mod run;
mod step;
mod views;
mod work;

pub use clock::Outcome;
pub use error::TrainError;
pub use find_rate::find_rate;
pub use fit::fit;
pub use observer::Observer;
pub use run::{Session, State, check_augmented_classes, check_memory, history, refuse_changes};
pub use step::{Learner, StepInput, Stepper};
pub use views::{Datasets, augmenters, levels_view, unlabeled_view};
pub use work::Work;
