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
    #[error("found no Keras network that is trained ({0}), expected `model.fit(...)` on images")]
    NothingTrained(String),
    /// The recipe isn't accepted, which is a fault of the program.
    #[error("the recipe would not be valid; please report this: {0}")]
    Recipe(#[from] ConfigError),
}
