//! A PyTorch notebook: the loop that trains a network last, on what, and how.

mod calls;
mod chain;
mod described;
mod freezing;
mod habits;
mod loaders;
mod loss;
mod network;
mod optimizer;
mod plain;
mod top;
mod training;
mod transforms;

use notebook_reader::Trace;

pub(super) use self::calls::RETURNING;

use super::{arguments::Import, error::ImportError};

/// Returns whether a loop of PyTorch trains something.
pub(super) fn is_trained(trace: &Trace) -> bool {
    trace.calls().any(|call| &*call.name == "backward")
}

/// Adds the recipe's keys, and what is to be said of the notebook.
pub(super) fn import(import: &mut Import<'_>) -> Result<(), ImportError> {
    let run = training::find(import)?;
    let images = loaders::import(import, &run);
    let network = network::import(import, &run);
    transforms::import(import, &images, &network);
    freezing::import(import, &run, &network);
    loss::import(import, &run, &network);
    optimizer::import(import, &run);
    habits::import(import, &run, &images, &network);
    Ok(())
}
