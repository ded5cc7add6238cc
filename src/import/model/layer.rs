//! A layer in the description that Keras writes of a model, and what it says.

use std::fmt::Display;

use serde_json::Value;

use crate::base::names::of_text;

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KerasLayer {
    /// Keras's class, such as `Conv2D`.
    pub(super) class: String,
    /// Name in the model.
    pub(super) name: String,
    /// Its arguments.
    pub(super) config: Value,
    /// The number that it is called with besides its input, as an operator is.
    pub(super) operand: Option<f64>,
    /// Name of its group in a `.keras` file, such as `layers/conv2d_1`.
    pub(super) group: String,
    /// Name of the outermost model's layer that it is in, which is a group of an HDF5 file.
    pub(super) outer: String,
}

impl KerasLayer {
    /// Returns an error about the layer.
    pub(super) fn fault(&self, problem: impl Display) -> String {
        format!(
            "layer {} ({}): {problem}",
            of_text(&self.name),
            of_text(&self.class)
        )
    }

    /// Returns the error that a value of an argument isn't supported.
    pub(super) fn unsupported(&self, key: &str, expected: &str) -> String {
        self.fault(format!(
            "found {key} = {}, expected {expected}",
            self.config[key]
        ))
    }

    /// Returns a whole number of 1 or more.
    ///
    /// # Errors
    /// Returns a message if the argument is something else.
    pub(super) fn count(&self, key: &str) -> Result<usize, String> {
        let found = self.config[key].as_u64().filter(|count| *count > 0);
        found
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| self.unsupported(key, "a whole number above 0"))
    }

    /// Returns the side of a square, which Keras writes as one number or two.
    ///
    /// # Errors
    /// Returns a message if the sides differ.
    pub(super) fn side(&self, key: &str) -> Result<usize, String> {
        let value = &self.config[key];
        let side = match value.as_array().map(Vec::as_slice) {
            Some([height, width]) if height == width => height.as_u64(),
            Some(_) => None,
            None => value.as_u64(),
        };
        side.and_then(|side| usize::try_from(side).ok())
            .filter(|side| *side > 0)
            .ok_or_else(|| self.unsupported(key, "equal sides of 1 or more"))
    }

    /// Returns a number, or `default` where there is none.
    pub(super) fn number(&self, key: &str, default: f64) -> f64 {
        self.config[key].as_f64().unwrap_or(default)
    }

    /// Returns a yes or no, or `default` where there is none.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.config[key].as_bool().unwrap_or(default)
    }

    /// Returns a text, or `default` where there is none.
    pub(super) fn text(&self, key: &str, default: &'static str) -> &str {
        self.config[key].as_str().unwrap_or(default)
    }

    /// Refuses any value but those that change nothing.
    ///
    /// # Errors
    /// Returns a message with the value.
    pub(super) fn only(&self, key: &str, allowed: &[Value]) -> Result<(), String> {
        let found = &self.config[key];
        if found.is_null() || allowed.contains(found) {
            return Ok(());
        }
        let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
        Err(self.unsupported(key, &allowed.join(" or ")))
    }

    /// Returns the name of the activation that the layer has as an argument or is.
    ///
    /// # Errors
    /// Returns a message for a function of the user's own.
    pub(super) fn activation(&self) -> Result<&str, String> {
        match &self.config["activation"] {
            Value::Null => Ok("linear"),
            Value::String(name) => Ok(name),
            // Keras 3 writes a layer that serves as one in full.
            Value::Object(object) => match object.get("config") {
                Some(Value::String(name)) => Ok(name),
                _ => Err(self.unsupported("activation", "the name of one of Keras's")),
            },
            _ => Err(self.unsupported("activation", "the name of one of Keras's")),
        }
    }
}
