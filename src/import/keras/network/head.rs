//! Keras's layers of a head.

use super::described::activation_name;
use crate::import::{
    arguments::{Bound, Import, count},
    head::Head,
};

/// Adds a layer to the head.
pub(super) fn add<'t>(head: &mut Head, import: &mut Import<'t>, name: &str, bound: &Bound<'t>) {
    match name {
        "Flatten" if !head.is_begun() => head.pool("flatten", bound.place),
        "GlobalAveragePooling2D" => head.pool("average", bound.place),
        "Dense" => {
            let units = bound.value("units").and_then(count);
            let activation = activation_name(import, bound.value("activation"));
            head.dense(units, activation, bound.place);
        }
        "Dropout" => {
            if let Some(rate) = import.number(bound, "rate").filter(|rate| *rate > 0.0) {
                head.dropout(rate, bound.place_of("rate"));
            }
        }
        "BatchNormalization" => head.norm(bound.place),
        "Activation" => head.activate(activation_name(import, bound.value("activation"))),
        "ReLU" | "LeakyReLU" | "ELU" => head.activate(name.to_lowercase()),
        "Flatten" => {}
        name => {
            let what = format!("`{name}` in the head");
            import.none(bound.place, what, "it is left out");
        }
    }
}
