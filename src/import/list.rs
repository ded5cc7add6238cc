//! `[[model.layers]]`: convolutions with their norms and activations, pools and dropouts.

use notebook_reader::Place;
use toml::{Table, Value as Toml};

use super::{arguments::Import, recipe::Line};

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

/// A convolution.
pub(super) struct Conv {
    /// Its key in a recipe.
    pub(super) key: &'static str,
    pub(super) filters: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Whether it has no padding.
    pub(super) is_valid: bool,
}

impl List {
    /// Returns whether there is no layer.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a dropout.
    pub(super) fn dropout(&mut self, rate: f64, place: Place) {
        self.push("dropout", rate, place);
    }

    fn push(&mut self, key: &str, value: impl Into<Toml>, place: Place) -> &mut Entry {
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

    /// Adds a convolution without an activation.
    pub(super) fn conv(&mut self, import: &mut Import<'_>, conv: &Conv, place: Place) {
        let kernel = conv.kernel;
        let entry = self.push(conv.key, conv.filters as i64, place);
        if kernel > 7 {
            entry.note = format!("7 instead of {kernel}");
            let what = format!("a kernel of {kernel} x {kernel}");
            import.none(place, what, "7 x 7, the largest");
        }
        let table = &mut entry.table;
        if kernel != 3 {
            table.insert("kernel".to_owned(), (kernel.min(7) as i64).into());
        }
        if conv.stride != 1 {
            table.insert("stride".to_owned(), (conv.stride as i64).into());
        }
        if conv.is_valid {
            table.insert("padding".to_owned(), "valid".into());
        }
        table.insert("activation".to_owned(), "none".into());
    }

    /// Adds a pool under its key in a recipe.
    pub(super) fn pool(
        &mut self,
        key: &str,
        [window, stride]: [usize; 2],
        is_same: bool,
        place: Place,
    ) {
        let entry = self.push(key, window as i64, place);
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

    /// Adds a batch norm with its epsilon and the share that running statistics keep.
    pub(super) fn normalize(
        &mut self,
        import: &mut Import<'_>,
        (epsilon, momentum): (f64, f64),
        place: Place,
    ) {
        let Some((conv, is_last)) = self.last_conv() else {
            let what = "a batch norm before the first convolution";
            return import.none(place, what, "it is left out");
        };
        if conv.is_active || !is_last {
            let what = "batch norms follow an activation or a pool";
            let here = "they stand between the convolution and its activation";
            import.none(place, what, here);
        }
        conv.table.insert("batch_norm".to_owned(), true.into());
        self.norm.get_or_insert((place, epsilon, momentum));
    }

    /// Adds an activation; an empty name stands for none.
    pub(super) fn activate(&mut self, import: &mut Import<'_>, name: &str, place: Place) {
        let known = activation(name);
        let Some((conv, is_last)) = self.last_conv() else {
            return import.none(place, "an activation of the image", "it is left out");
        };
        if !is_last {
            let what = "an activation that doesn't follow a convolution";
            import.none(place, what, "it follows the convolution before it");
        }
        let known = known.unwrap_or_else(|| {
            import.none(place, format!("the activation `{name}`"), "ReLU");
            "relu"
        });
        conv.is_active |= known != "none";
        match known {
            "relu" => _ = conv.table.remove("activation"),
            known => _ = conv.table.insert("activation".to_owned(), known.into()),
        }
    }

    /// Sets the architecture and its layers. Without any, the network that is trained at `place`
    /// isn't known.
    pub(super) fn set(self, import: &mut Import<'_>, place: Place) {
        let Some(first) = self.entries.first() else {
            let what = "no layer of the network is known";
            let here = "the program's own small network, with its default settings";
            return import.unclear(place, what, here);
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
