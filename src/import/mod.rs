//! Turns what other programs have into what this one has: a notebook or script for Keras or
//! PyTorch into a recipe and what is to be said about it, a saved model into a checkpoint. Nothing
//! of it is run.

mod arguments;
mod error;
mod findings;
mod folders;
mod head;
mod keras;
mod list;
pub mod model;
mod recipe;
mod torch;

use std::path::PathBuf;

use notebook_reader::{Notebook, Options, trace};

pub use error::ImportError;
pub use findings::{Finding, Kind, Mistake};

use self::{arguments::Import, findings::Findings, recipe::Recipe};

/// A file of Python code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Jupyter notebook (`.ipynb`).
    Notebook,
    /// A script (`.py`).
    Script,
}

/// What is known of a file beside its content.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its format.
    pub format: Format,
    /// Its name, for the recipe's head.
    pub file: String,
    /// The name of the recipe.
    pub name: String,
    /// Where its images are on this machine.
    pub data: Option<PathBuf>,
}

/// A recipe from a notebook.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The recipe as TOML, which the reader of recipes accepts.
    pub recipe: String,
    /// What is to be said about the notebook and the recipe, the worst first.
    pub findings: Vec<Finding>,
}

/// Epochs for which a function of `LearningRateScheduler` is computed.
const SAMPLED_EPOCHS: usize = 64;

/// Reads a notebook or script, and returns the recipe that trains the same.
///
/// # Errors
/// Returns an error if the file is no notebook or script, or if nothing is trained in it.
pub fn read(bytes: &[u8], setup: &Setup) -> Result<Imported, ImportError> {
    let notebook = match setup.format {
        Format::Notebook => Notebook::from_ipynb(bytes)?,
        Format::Script => Notebook::from_py(bytes)?,
    };
    let options = Options {
        answers: &[("image_data_format", "channels_last")],
        sampled: &[("LearningRateScheduler", SAMPLED_EPOCHS)],
        called: &["forward"],
        transparent: &["tqdm"],
        returning: torch::RETURNING,
    };
    let trace = trace(&notebook, &options);
    let mut import = Import {
        trace: &trace,
        recipe: Recipe::new(&setup.name, &setup.file),
        findings: Findings::default(),
        data: setup.data.clone(),
    };
    for skipped in &trace.skipped {
        let what = format!("code that is passed over ({})", skipped.reason);
        import.unclear(skipped.place, what, "nothing of it is in the recipe");
    }
    if torch::is_trained(&trace) {
        torch::import(&mut import)?;
    } else {
        keras::import(&mut import)?;
    }
    let Import {
        recipe,
        mut findings,
        ..
    } = import;
    let recipe = recipe.checked(&mut findings)?;
    Ok(Imported {
        recipe,
        findings: findings.sorted(),
    })
}
