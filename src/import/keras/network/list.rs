//! `[[model.layers]]`: convolutions with their norms and activations, pools and dropouts.

use notebook_reader::{Place, Value};
use toml::{Table, Value as Toml};

use super::described::activation_name;
use crate::import::{
    arguments::{Bound, Import, number, sides},
    keras::runs::Run,
    recipe::Line,
};

/// A convolution that may still get a norm and an activation, or another entry of the list.
pub(super) struct Entry {
    table: Table,
    place: Place,
    note: String,
    /// Whether an activation follows the convolution already.
    is_active: bool,
}

/// The list under construction.
#[derive(Default)]
pub(super) struct List {
    entries: Vec<Entry>,
    /// Where batch norms have their epsilon and momentum, and these.
    norm: Option<(Place, f64, f64)>,
}

impl List {
    pub(super) fn add<'t>(&mut self, import: &mut Import<'t>, name: &str, bound: &Bound<'t>) {
        match name {
            "Conv2D" | "SeparableConv2D" => self.conv(import, name, bound),
            "MaxPooling2D" => self.pool(import, "max_pool", bound),
            "AveragePooling2D" => self.pool(import, "average_pool", bound),
            "Dropout" => {
                if let Some(rate) = import.number(bound, "rate").filter(|rate| *rate > 0.0) {
                    self.push("dropout", rate, bound.place_of("rate"));
                }
            }
            "BatchNormalization" => self.normalize(import, bound),
            "Activation" => {
                let name = activation_name(import, bound.value("activation"));
                self.activate(import, &name, bound);
            }
            "ReLU" => {
                let is_six = bound.value("max_value").and_then(number) == Some(6.0);
                self.activate(import, if is_six { "relu6" } else { "relu" }, bound);
            }
            "LeakyReLU" => self.activate(import, "leaky_relu", bound),
            "ELU" => self.activate(import, "elu", bound),
            _ => {}
        }
    }

    pub(super) fn push(&mut self, key: &str, value: impl Into<Toml>, place: Place) -> &mut Entry {
        let mut table = Table::new();
        table.insert(key.to_owned(), value.into());
        self.entries.push(Entry {
            table,
            place,
            note: String::new(),
            is_active: false,
        });
        self.entries.last_mut().expect("one was pushed")
    }

    fn conv<'t>(&mut self, import: &mut Import<'t>, name: &str, bound: &Bound<'t>) {
        let key = if name == "Conv2D" {
            "conv"
        } else {
            "separable_conv"
        };
        let Some(filters) = import.count(bound, "filters") else {
            return;
        };
        let kernel = side(import, bound, "kernel_size", 3);
        let stride = side(import, bound, "strides", 1);
        let padding = import
            .text(bound, "padding")
            .unwrap_or("valid")
            .to_lowercase();
        let name = activation_name(import, bound.value("activation"));
        let entry = self.push(key, filters as i64, bound.place);
        if kernel > 7 {
            entry.note = format!("7 instead of {kernel}");
            let what = format!("a kernel of {kernel} x {kernel}");
            import.none(bound.place_of("kernel_size"), what, "7 x 7, the largest");
        }
        if kernel != 3 {
            entry
                .table
                .insert("kernel".to_owned(), (kernel.min(7) as i64).into());
        }
        if stride != 1 {
            entry
                .table
                .insert("stride".to_owned(), (stride as i64).into());
        }
        if padding == "valid" {
            entry.table.insert("padding".to_owned(), "valid".into());
        }
        entry.table.insert("activation".to_owned(), "none".into());
        if !name.is_empty() {
            self.activate(import, &name, bound);
        }
    }

    fn pool(&mut self, import: &mut Import<'_>, key: &str, bound: &Bound<'_>) {
        let window = side(import, bound, "pool_size", 2);
        let stride = side(import, bound, "strides", window);
        let is_same = matches!(bound.value("padding"), Some(Value::Str(name)) if &**name == "same");
        let entry = self.push(key, window as i64, bound.place);
        if stride != window {
            entry
                .table
                .insert("stride".to_owned(), (stride as i64).into());
        }
        if is_same {
            entry.table.insert("padding".to_owned(), "same".into());
        }
    }

    /// The last convolution, and whether it is the last entry.
    fn last_conv(&mut self) -> Option<(&mut Entry, bool)> {
        let at = self.entries.iter().rposition(Entry::is_conv)?;
        let is_last = at + 1 == self.entries.len();
        Some((&mut self.entries[at], is_last))
    }

    fn normalize(&mut self, import: &mut Import<'_>, bound: &Bound<'_>) {
        let epsilon = bound.value("epsilon").and_then(number).unwrap_or(1e-3);
        let momentum = bound.value("momentum").and_then(number).unwrap_or(0.99);
        let Some((conv, is_last)) = self.last_conv() else {
            let what = "a batch norm before the first convolution";
            return import.none(bound.place, what, "it is left out");
        };
        if conv.is_active || !is_last {
            let what = "batch norms follow an activation or a pool";
            let here = "they stand between the convolution and its activation";
            import.none(bound.place, what, here);
        }
        conv.table.insert("batch_norm".to_owned(), true.into());
        self.norm.get_or_insert((bound.place, epsilon, momentum));
    }

    fn activate(&mut self, import: &mut Import<'_>, name: &str, bound: &Bound<'_>) {
        let known = activation(name);
        let Some((conv, is_last)) = self.last_conv() else {
            return import.none(bound.place, "an activation of the image", "it is left out");
        };
        if !is_last {
            let what = "an activation that doesn't follow a convolution";
            import.none(bound.place, what, "it follows the convolution before it");
        }
        let known = known.unwrap_or_else(|| {
            import.none(bound.place, format!("the activation `{name}`"), "ReLU");
            "relu"
        });
        if name == "leaky_relu" {
            let here = "a slope of 0.01, where Keras's default is 0.3";
            import.differs(bound.place, "leaky ReLU", here);
        }
        conv.is_active |= known != "none";
        match known {
            "relu" => _ = conv.table.remove("activation"),
            known => _ = conv.table.insert("activation".to_owned(), known.into()),
        }
    }

    pub(super) fn set(self, import: &mut Import<'_>, run: &Run<'_>) {
        let Some(first) = self.entries.first() else {
            let what = "no layer of the network is known";
            let here = "the program's own small network, with its default settings";
            return import.unclear(run.place(), what, here);
        };
        import
            .recipe
            .set("model.architecture", "layers", first.place);
        if let Some((place, epsilon, momentum)) = self.norm {
            import.recipe.set("model.norm_epsilon", epsilon, place);
            // Kept from the noise of binary fractions.
            let ours = (1e9 * (1.0 - momentum)).round() / 1e9;
            import.recipe.set("model.norm_momentum", ours, place);
        }
        let lines = self.entries.into_iter().map(|entry| Line {
            value: Toml::Table(entry.table),
            place: entry.place,
            note: entry.note,
        });
        import.recipe.set_list("model.layers", lines.collect());
    }
}

impl Entry {
    fn is_conv(&self) -> bool {
        self.table.contains_key("conv") || self.table.contains_key("separable_conv")
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

/// Returns the activation here; `None` if there is none like it.
fn activation(name: &str) -> Option<&'static str> {
    Some(match name {
        "relu" => "relu",
        "relu6" => "relu6",
        "leaky_relu" => "leaky_relu",
        "elu" => "elu",
        "gelu" => "gelu",
        "silu" | "swish" => "silu",
        "tanh" => "tanh",
        "linear" | "" => "none",
        _ => return None,
    })
}
