//! Why there is no recipe.

use notebook_reader::ReadError;
use thiserror::Error;

use crate::config::ConfigError;

/// The reason why there is no recipe.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file is no notebook or script.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing is trained.
    #[error(
        "found no network that is trained ({0}), expected Keras's `model.fit(...)` on images, or a \
         loop with PyTorch's `loss.backward()`"
    )]
    NothingTrained(String),
    /// The recipe isn't accepted, which is a fault of the program.
    #[error("the recipe would not be valid; please report this: {0}")]
    Recipe(#[from] ConfigError),
}
