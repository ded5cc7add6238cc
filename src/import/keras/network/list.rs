//! Keras's layers of a list.

use notebook_reader::Value;

use super::described::activation_name;
use crate::import::{
    arguments::{Bound, Import, number, sides},
    list::{Conv, List},
};

/// Adds a layer to the list.
pub(super) fn add<'t>(list: &mut List, import: &mut Import<'t>, name: &str, bound: &Bound<'t>) {
    match name {
        "Conv2D" => conv(list, import, "conv", bound),
        "SeparableConv2D" => conv(list, import, "separable_conv", bound),
        "MaxPooling2D" => pool(list, import, "max_pool", bound),
        "AveragePooling2D" => pool(list, import, "average_pool", bound),
        "Dropout" => {
            if let Some(rate) = import.number(bound, "rate").filter(|rate| *rate > 0.0) {
                list.dropout(rate, bound.place_of("rate"));
            }
        }
        "BatchNormalization" => {
            let epsilon = bound.value("epsilon").and_then(number).unwrap_or(1e-3);
            let momentum = bound.value("momentum").and_then(number).unwrap_or(0.99);
            list.normalize(import, (epsilon, momentum), bound.place);
        }
        "Activation" => {
            let name = activation_name(import, bound.value("activation"));
            activate(list, import, &name, bound);
        }
        "ReLU" => {
            let is_six = bound.value("max_value").and_then(number) == Some(6.0);
            activate(list, import, if is_six { "relu6" } else { "relu" }, bound);
        }
        "LeakyReLU" => activate(list, import, "leaky_relu", bound),
        "ELU" => activate(list, import, "elu", bound),
        _ => {}
    }
}

fn conv<'t>(list: &mut List, import: &mut Import<'t>, key: &'static str, bound: &Bound<'t>) {
    let Some(filters) = import.count(bound, "filters") else {
        return;
    };
    let conv = Conv {
        key,
        filters,
        kernel: side(import, bound, "kernel_size", 3),
        stride: side(import, bound, "strides", 1),
        is_valid: import
            .text(bound, "padding")
            .is_none_or(|padding| padding.eq_ignore_ascii_case("valid")),
    };
    list.conv(import, &conv, bound.place);
    let name = activation_name(import, bound.value("activation"));
    if !name.is_empty() {
        activate(list, import, &name, bound);
    }
}

fn pool(list: &mut List, import: &mut Import<'_>, key: &str, bound: &Bound<'_>) {
    let window = side(import, bound, "pool_size", 2);
    let stride = side(import, bound, "strides", window);
    let is_same = matches!(bound.value("padding"), Some(Value::Str(name)) if &**name == "same");
    list.pool(key, [window, stride], is_same, bound.place);
}

fn activate(list: &mut List, import: &mut Import<'_>, name: &str, bound: &Bound<'_>) {
    list.activate(import, name, bound.place);
    if name == "leaky_relu" {
        let here = "a slope of 0.01, where Keras's default is 0.3";
        import.differs(bound.place, "leaky ReLU", here);
    }
}

/// Returns the side of a square kernel, window or stride.
fn side(import: &mut Import<'_>, bound: &Bound<'_>, name: &str, default: usize) -> usize {
    if !bound.has(name) {
        return default;
    }
    let Some([height, width]) = bound
        .value(name)
        .and_then(|value| sides(import.trace, value))
    else {
        // Reports that it is unknown.
        import.sides(bound, name);
        return default;
    };
    if height != width {
        let what = format!("`{name}` of {height} x {width}");
        import.none(bound.place_of(name), what, "a square of the larger side");
    }
    height.max(width)
}
