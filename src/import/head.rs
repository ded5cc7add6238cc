//! The head of a network: how the last feature map becomes a vector, hidden layers and dropout.

use notebook_reader::Place;

use super::arguments::Import;

/// The last layer.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) units: Option<usize>,
    /// Its activation; empty for none.
    pub(super) activation: String,
    pub(super) place: Place,
}

/// The head under construction.
#[derive(Debug, Default)]
pub(super) struct Head {
    pooling: Option<(&'static str, Place)>,
    /// Dense layers, the last one included, and the dropout behind each.
    dense: Vec<Dense>,
    /// Dropout before the first dense layer.
    first_dropout: Option<(f64, Place)>,
    norm: Option<Place>,
}

#[derive(Debug)]
struct Dense {
    units: Option<usize>,
    activation: String,
    dropout: Option<(f64, Place)>,
    place: Place,
}

impl Head {
    pub(super) fn pool(&mut self, pooling: &'static str, place: Place) {
        self.pooling = Some((pooling, place));
    }

    /// The top of a whole network for ImageNet's classes.
    pub(super) fn top(&mut self, architecture: &str, place: Place) {
        if architecture.starts_with("vgg") {
            self.pooling = Some(("flatten", place));
            for units in [4096, 4096] {
                self.dense(Some(units), "relu".to_owned(), place);
            }
        } else {
            self.pooling = Some(("average", place));
        }
        self.dense(None, "softmax".to_owned(), place);
    }

    /// Returns whether features are pooled already.
    pub(super) fn is_begun(&self) -> bool {
        self.pooling.is_some()
    }

    /// Takes out dropout of flattened features before a hidden layer, which a list of layers can
    /// have at its end.
    pub(super) fn take_first_dropout(&mut self) -> Option<(f64, Place)> {
        let is_flat = self.pooling.is_none_or(|(pooling, _)| pooling == "flatten");
        if is_flat && self.dense.len() > 1 {
            self.first_dropout.take()
        } else {
            None
        }
    }

    /// The last layer.
    pub(super) fn output(&self) -> Option<Output> {
        let last = self.dense.last()?;
        Some(Output {
            units: last.units,
            activation: last.activation.clone(),
            place: last.place,
        })
    }

    /// Adds a dense layer, the last one included; `None` for a width that isn't known.
    pub(super) fn dense(&mut self, units: Option<usize>, activation: String, place: Place) {
        self.dense.push(Dense {
            units,
            activation,
            dropout: None,
            place,
        });
    }

    /// Adds dropout, behind the last dense layer or before the first one.
    pub(super) fn dropout(&mut self, rate: f64, place: Place) {
        let rate = Some((rate, place));
        match self.dense.last_mut() {
            Some(last) => last.dropout = last.dropout.or(rate),
            None => self.first_dropout = self.first_dropout.or(rate),
        }
    }

    /// Adds a batch norm.
    pub(super) fn norm(&mut self, place: Place) {
        self.norm = self.norm.or(Some(place));
    }

    /// Adds the activation of the last dense layer, if there is one.
    pub(super) fn activate(&mut self, name: String) {
        if let Some(last) = self.dense.last_mut() {
            last.activation = name;
        }
    }

    /// Sets `pooling`, `hidden` and `dropout`.
    pub(super) fn set(mut self, import: &mut Import<'_>, place: Place) {
        let (pooling, pooled_at) = self.pooling.unwrap_or(("flatten", place));
        import.recipe.set("model.pooling", pooling, pooled_at);
        let last = self.dense.pop();
        let hidden: Vec<&Dense> = self
            .dense
            .iter()
            .filter(|dense| dense.units.is_some())
            .collect();
        for dense in self.dense.iter().filter(|dense| dense.units.is_none()) {
            let what = "a hidden layer whose width isn't known";
            import.unclear(dense.place, what, "it is left out");
        }
        for dense in &hidden {
            if dense.activation != "relu" {
                let name = match &*dense.activation {
                    "" => "no activation",
                    name => name,
                };
                let what = format!("a hidden layer with {name}");
                import.none(dense.place, what, "ReLU");
            }
        }
        let widths: Vec<i64> = hidden
            .iter()
            .map(|dense| dense.units.unwrap_or(1) as i64)
            .collect();
        let hidden_at = hidden.first().map(|dense| dense.place);
        let end = last.as_ref().map_or(place, |last| last.place);
        match widths[..] {
            [] => import
                .recipe
                .set_noted("model.hidden", 0, end, "no hidden layer"),
            [one] => import
                .recipe
                .set("model.hidden", one, hidden_at.unwrap_or(place)),
            _ => import
                .recipe
                .set("model.hidden", widths.clone(), hidden_at.unwrap_or(place)),
        }
        dropout(import, &self, end);
        if let Some(place) = self.norm {
            let here = "`model.head_norm`: a norm before each layer of the head";
            if pooling == "flatten" {
                let what = "batch norms among the dense layers";
                import.none(
                    place,
                    what,
                    "none, because flattened features aren't fit for them",
                );
            } else {
                import.none(place, "batch norms among the dense layers", here);
                import.recipe.set("model.head_norm", true, place);
            }
        }
    }
}

/// A recipe has one dropout for the head: behind each hidden layer, or before the last layer.
fn dropout(import: &mut Import<'_>, head: &Head, end: Place) {
    let behind: Vec<(f64, Place)> = head
        .dense
        .iter()
        .filter_map(|dense| dense.dropout)
        .collect();
    let has_hidden = !head.dense.is_empty();
    let chosen = match (behind.last(), head.first_dropout) {
        (Some(last), _) => Some(*last),
        (None, first) => first,
    };
    let Some((rate, place)) = chosen else {
        return import
            .recipe
            .set_noted("model.dropout", 0.0, end, "none in the head");
    };
    import.recipe.set("model.dropout", rate, place);
    if let Some((first, place)) = head.first_dropout.filter(|_| has_hidden) {
        let what = format!("dropout of {first} before the first dense layer");
        let here = if behind.is_empty() {
            "dropout behind the hidden layers instead"
        } else {
            "the dropout behind the hidden layers alone"
        };
        import.none(place, what, here);
    }
    let is_uneven =
        behind.iter().any(|(other, _)| *other != rate) || behind.len() < head.dense.len();
    if !behind.is_empty() && is_uneven {
        let what = "hidden layers with different dropouts";
        import.none(place, what, format!("{rate} behind each"));
    }
}
