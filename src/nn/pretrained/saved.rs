//! A whole model as Keras saved it, in a `.keras` archive or an HDF5 file: the description of its
//! layers, and its weights.

use std::{collections::BTreeMap, fs, path::Path};

use hdf5_reader::Hdf5File;
use serde_json::Value;

use super::{
    archive,
    files::{self, Entry},
};

/// Name of the description in a `.keras` archive, and as an attribute of an HDF5 file.
const MEMBER: &str = "config.json";
const ATTRIBUTE: &str = "model_config";

/// Maximum length of a description in bytes; that of a large network has half a megabyte.
const MOST_CONFIG_BYTES: u64 = 32 << 20;

/// A saved model.
pub struct Saved {
    /// The description, as Keras's `model.get_config()` with its class around it.
    pub config: Value,
    tensors: BTreeMap<String, Entry>,
    length: u64,
}

impl Saved {
    /// Opens the file at `path`. Runs nothing that is in it.
    ///
    /// # Errors
    /// Returns a message if the file can't be read, is damaged, or holds weights alone.
    pub fn open(path: &Path) -> Result<Self, String> {
        let tensors = files::open(path)?;
        let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
        let text = description(path)?.ok_or(
            "found weights alone, expected a whole model, as model.save(\"x.keras\") writes it; \
             weights alone are read by model.weights in a recipe",
        )?;
        let config = serde_json::from_str(&text)
            .map_err(|error| format!("the description of its layers can't be read: {error}"))?;
        Ok(Self {
            config,
            tensors,
            length,
        })
    }

    /// Returns the names of the tensors, with `/` between groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads the tensor called `name`.
    ///
    /// # Errors
    /// Returns a message if there is no such tensor, it has another shape, or a value isn't finite.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| format!("{name} is missing"))?;
        if entry.shape != shape {
            return Err(format!(
                "{name} has the shape {:?}, expected {shape:?}",
                entry.shape
            ));
        }
        let values = entry.read().map_err(|error| format!("{name}: {error}"))?;
        match values.iter().find(|value| !value.is_finite()) {
            Some(bad) => Err(format!("{name} holds {bad}")),
            None => Ok(values),
        }
    }
}

/// Returns the description in a file that was found to be a valid file of weights, if it has one.
fn description(path: &Path) -> Result<Option<String>, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("the description of its layers can't be read: {error}")
    };
    if let Some(member) = archive::unpacked(path, MEMBER).map_err(|error| failed(&error))? {
        let length = fs::metadata(member.path()).map_err(|error| failed(&error))?;
        if length.len() > MOST_CONFIG_BYTES {
            return Err(failed(&format!("it has {} bytes", length.len())));
        }
        let text = fs::read_to_string(member.path()).map_err(|error| failed(&error))?;
        return Ok(Some(text));
    }
    let Ok(file) = Hdf5File::open(path) else {
        return Ok(None);
    };
    let root = file.root_group().map_err(|error| failed(&error))?;
    match root.attribute(ATTRIBUTE) {
        Ok(attribute) => attribute
            .read_string()
            .map(Some)
            .map_err(|error| failed(&error)),
        Err(_) => Ok(None),
    }
}
