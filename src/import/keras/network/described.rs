//! What other parts of a recipe need to know of the network.

use notebook_reader::{Place, Value};

use crate::import::{arguments::Import, head::Output, keras::applications::Application};

/// What other parts of the recipe need to know of the network.
#[derive(Debug, Default)]
pub(in crate::import::keras) struct Network {
    /// The pretrained network, if there is one, and where it is made.
    pub(in crate::import::keras) base: Option<Base>,
    /// Width and activation of the last layer.
    pub(in crate::import::keras) output: Option<Output>,
    /// Factor of L2 regularization, and where.
    pub(in crate::import::keras) decay: Option<(f64, Place)>,
}

/// A network of `keras.applications`.
#[derive(Debug)]
pub(in crate::import::keras) struct Base {
    pub(in crate::import::keras) application: &'static Application,
    /// The number of the call that makes it.
    pub(in crate::import::keras) number: usize,
    /// Its name in Keras.
    pub(in crate::import::keras) name: String,
    pub(in crate::import::keras) place: Place,
    /// Whether it has weights of ImageNet.
    pub(in crate::import::keras) is_pretrained: bool,
}

/// Returns the name of an activation, which may be a function or a layer; empty for none.
pub(super) fn activation_name(import: &Import<'_>, value: Option<&Value>) -> String {
    match value {
        None | Some(Value::None) => String::new(),
        Some(Value::Str(name)) => name.to_lowercase(),
        Some(Value::Name(name)) => name.rsplit('.').next().unwrap_or_default().to_lowercase(),
        Some(value) => match import.trace.call(value).map(|call| &*call.name) {
            Some("LeakyReLU") => "leaky_relu".to_owned(),
            Some(name) => name.to_lowercase(),
            None => import.trace.describe(value),
        },
    }
}
