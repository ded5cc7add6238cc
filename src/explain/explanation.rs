//! The explanation of one image, as a line of results, as a row and in words.

use serde::Serialize;

use super::{Border, Curves, Map, SURE};
use crate::base::names::of_text;

/// Explanation of one image: a line on stdout and of `explanations.jsonl`.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    pub(super) path: String,
    /// The predicted class, and its probability.
    pub(super) label: String,
    pub(super) probability: f64,
    /// The explained class, and its probability.
    pub(super) class: String,
    pub(super) class_probability: f64,
    pub(super) method: &'static str,
    pub(super) layer: String,
    /// Whether anything is evidence for the class.
    pub(super) evidence: bool,
    pub(super) words: String,
    /// Location of the most evidence, `[x, y]` in pixels of the network's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) border: Option<Border>,
    /// Map of another method, if this one finds no evidence for a class that the network is sure
    /// of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Next>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) curves: Option<Curves>,
    /// File with the image, the map over it, and the next method's map over it.
    pub(super) overlay: String,
    /// File with the map alone, in gray.
    pub(super) map: String,
}

/// Result of the first other method that finds evidence.
#[derive(Debug, Serialize)]
pub(super) struct Next {
    pub(super) method: &'static str,
    pub(super) layer: String,
    pub(super) peak: [usize; 2],
    pub(super) border: Border,
    pub(super) map: String,
}

/// Returns an image's row of the table.
pub(super) fn row(found: &Explanation) -> Vec<String> {
    let place = |peak: [usize; 2], border: &Border| {
        [
            format!("{}, {}", peak[0], peak[1]),
            format!(
                "{:.0} % (it is {:.0} %)",
                border.share * 100.0,
                border.area * 100.0
            ),
        ]
    };
    let (method, [peak, border]) = match (found.peak, &found.border, &found.next) {
        (Some(peak), Some(border), _) => (found.method.to_owned(), place(peak, border)),
        (.., Some(next)) => (
            format!("{} (no evidence by {})", next.method, found.method),
            place(next.peak, &next.border),
        ),
        _ => (
            found.method.to_owned(),
            ["no evidence", "-"].map(str::to_owned),
        ),
    };
    let class = if found.class == found.label {
        found.class.clone()
    } else {
        format!("{} (predicted: {})", found.class, found.label)
    };
    vec![
        found.path.clone(),
        class,
        format!("{:.4}", found.class_probability),
        method,
        peak,
        border,
    ]
}

/// Describes what a map shows, and what limits it.
pub(super) fn words(
    map: &Map,
    class: &str,
    probability: f64,
    (border, next, curves): (Border, Option<&Next>, Option<&Curves>),
) -> String {
    let class = of_text(class);
    let beside = match next {
        Some(Next { method, layer, .. }) => {
            format!("; {method} of {layer} finds some and is shown beside it")
        }
        None if probability >= SURE && !map.places_evidence() => {
            "; no other method finds any".to_owned()
        }
        None => String::new(),
    };
    if !map.has_evidence() {
        return format!(
            "no positive evidence for {class}: nothing that this layer sees raises its \
             score{beside}"
        );
    }
    if map.is_flat() {
        return format!(
            "the evidence for {class} is the same everywhere: this layer doesn't localize \
             it{beside}"
        );
    }
    let mut words = format!(
        "{:.0} % of the evidence for {class} is on the border, which is {:.0} % of the image",
        border.share * 100.0,
        border.area * 100.0
    );
    if let Some(curves) = curves {
        let follows = |is_better: bool| {
            if is_better {
                "follows"
            } else {
                "does not follow"
            }
        };
        words.push_str(&format!(
            "; the prediction {} the map when its strongest parts are deleted, and {} it when they \
             are inserted",
            follows(curves.deletion.area < curves.deletion_shuffled),
            follows(curves.insertion.area > curves.insertion_shuffled)
        ));
    }
    words
}

/// Describes the mean curves of all images.
pub(super) fn curve_words(curves: &[Curves]) -> String {
    let mean =
        |of: &dyn Fn(&Curves) -> f64| curves.iter().map(of).sum::<f64>() / curves.len() as f64;
    format!(
        "Mean probability during deletion {:.3} (shuffled map: {:.3}; lower is better), during \
         insertion {:.3} (shuffled: {:.3}; higher is better)",
        mean(&|curves| curves.deletion.area),
        mean(&|curves| curves.deletion_shuffled),
        mean(&|curves| curves.insertion.area),
        mean(&|curves| curves.insertion_shuffled)
    )
}
