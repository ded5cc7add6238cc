//! The figures of a run and of an evaluation, composed from charts and matrices.

use std::collections::BTreeMap;

pub use super::matrix::MATRIX_CLASSES;
use super::{
    chart::{Axis, Chart, Series, range_of, shortened},
    figure::{Figure, Panel},
    heat::classes_per_place,
    matrix::Matrix,
};
use crate::metrics::{Calibration, Confusion, ScoredPredictions};

/// Maximum length of a class name in a legend.
const LETTERS: usize = 40;
/// Maximum number of classes with a curve; above it, the worst are shown.
const CURVES: usize = 8;

/// Returns accuracy and loss by epoch, from the columns of `history.csv`, or `None` without epochs.
/// An autoencoder has no accuracy.
/// `best` is the epoch whose checkpoint was kept.
pub fn curves(history: &BTreeMap<String, Vec<f64>>, best: Option<usize>) -> Option<Figure> {
    let epochs = history.get("epoch").filter(|epochs| !epochs.is_empty())?;
    let panel = |title: &str, name: &str, label, whole: Option<[f64; 2]>| {
        let of = |column: &str, words: &str| {
            let values = history.get(column)?;
            Some(Series {
                name: words.to_owned(),
                points: epochs
                    .iter()
                    .zip(values)
                    .map(|(epoch, value)| [*epoch, *value])
                    .collect(),
            })
        };
        let series: Vec<Series> = [
            of(name, "training (augmented, during the epoch)"),
            of(&format!("val_{name}"), "validation"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let range = whole.unwrap_or_else(|| {
            range_of(
                series
                    .iter()
                    .flat_map(|series| series.points.iter().map(|point| point[1])),
            )
        });
        Panel::Chart(Chart {
            title: title.to_owned(),
            // A single epoch needs an axis of some length.
            x: Axis {
                label: "epoch",
                range: [epochs[0], epochs[epochs.len() - 1].max(epochs[0] + 1.0)],
                is_log: false,
            },
            y: Axis {
                label,
                range,
                is_log: false,
            },
            series,
            bars: Vec::new(),
            whiskers: Vec::new(),
            has_diagonal: false,
            mark: best.map(|epoch| (epoch as f64, format!("best: epoch {epoch}"))),
        })
    };
    let accuracy = history
        .contains_key("accuracy")
        .then(|| panel("Accuracy", "accuracy", "share of images", Some([0.0, 1.0])));
    let names = match &accuracy {
        Some(_) => "Accuracy and loss",
        None => "Loss",
    };
    let loss = panel("Loss", "loss", "loss", None);
    Some(Figure {
        name: "curves",
        caption: format!("{names} of each epoch; the marked one was kept."),
        panels: accuracy.into_iter().chain([loss]).collect(),
    })
}

/// Returns the confusion matrix.
pub fn confusion(classes: &[String], confusion: &Confusion) -> Figure {
    let matrix = Matrix {
        title: "Confusion matrix".to_owned(),
        classes: classes.to_vec(),
        confusion: confusion.clone(),
    };
    let mut caption =
        "Rows are the true class, columns the predicted one; the color is the fraction of the row."
            .to_owned();
    if classes.len() > MATRIX_CLASSES {
        caption.push_str(
            " Classes are numbered from 1 in the order of metrics.json; shades follow the square \
             root, so that single mistakes are visible.",
        );
    }
    if classes_per_place(classes.len()) > 1 {
        caption.push_str(&format!(
            " {} neighboring classes share a cell.",
            classes_per_place(classes.len())
        ));
    }
    Figure {
        name: "confusion_matrix",
        caption,
        panels: vec![Panel::Matrix(matrix)],
    }
}

/// Returns the ROC curves: true positive rate against false positive rate of each class, for every
/// threshold. `areas` are the areas under them.
pub fn roc(judged: &ScoredPredictions<'_>, classes: &[String], areas: &[f64]) -> Figure {
    let (series, more) = by_class(classes, areas, |class| judged.roc(class));
    let caption = format!(
        "Receiver operating characteristic, each class against the rest; in \
             brackets the area under the curve{more}."
    );
    let axes = [
        "fraction of other classes predicted as it (1 - specificity)",
        "fraction of the class found (sensitivity)",
    ];
    Figure {
        name: "roc",
        caption,
        panels: vec![unit_chart("ROC", axes, series, true)],
    }
}

/// Returns the precision-recall curves of each class, for every threshold. `areas` are the average
/// precisions.
pub fn precision_recall(
    judged: &ScoredPredictions<'_>,
    classes: &[String],
    areas: &[f64],
) -> Figure {
    let (series, more) = by_class(classes, areas, |class| judged.precision_recall(class));
    let caption = format!(
        "Precision by recall, each class against the rest; in brackets the average precision{more}."
    );
    Figure {
        name: "pr",
        caption,
        panels: vec![unit_chart(
            "Precision and recall",
            ["recall", "precision"],
            series,
            false,
        )],
    }
}

/// Returns the reliability diagram: accuracy by confidence, with the number of images.
pub fn reliability(calibration: &Calibration) -> Figure {
    let width = 1.0 / calibration.bins.len().max(1) as f64;
    let bars = calibration
        .bins
        .iter()
        .enumerate()
        .filter(|(_, bin)| bin.count > 0);
    let bars = bars.map(|(index, bin)| {
        (
            [
                index as f64 * width,
                (index + 1) as f64 * width,
                bin.accuracy,
            ],
            bin.count.to_string(),
        )
    });
    let axes = [
        "highest probability of an image",
        "fraction predicted correctly",
    ];
    let mut panel = unit_chart("Reliability", axes, Vec::new(), true);
    if let Panel::Chart(chart) = &mut panel {
        chart.bars = bars.collect();
        // Leaves room for the counts above full bars.
        chart.y.range[1] = 1.05;
    }
    let error = calibration.expected_calibration_error;
    let caption = format!(
        "How often predictions of a given confidence are right, and how many there are. Bars below \
         the diagonal: overconfident. Expected calibration error {error:.4}."
    );
    Figure {
        name: "reliability",
        caption,
        panels: vec![panel],
    }
}

/// Returns the loss by learning rate of a search, rates and losses by step, with the suggested
/// rates (`valley` and `steepest`).
pub fn rate_curve([rates, losses]: [&[f64]; 2], [valley, steepest]: [f64; 2]) -> Figure {
    let points: Vec<[f64; 2]> = rates
        .iter()
        .zip(losses)
        .map(|(rate, loss)| [rate.log10(), *loss])
        .collect();
    let suggested = |name: &str, rate: f64| {
        let at = rates.iter().position(|other| *other == rate);
        Series {
            name: format!("{name}: {rate:.1e}"),
            points: at.map(|at| points[at]).into_iter().collect(),
        }
    };
    let suggested = [suggested("valley", valley), suggested("steepest", steepest)];
    let axis = |label, range, is_log| Axis {
        label,
        range,
        is_log,
    };
    let ends = [0, points.len().saturating_sub(1)].map(|at| points.get(at).map_or(0.0, |of| of[0]));
    let loss = Series {
        name: "loss, smoothed".to_owned(),
        points: points.clone(),
    };
    Figure {
        name: "learning_rate",
        caption: "The loss of each step by its learning rate, smoothed.".to_owned(),
        panels: vec![Panel::Chart(Chart {
            title: "Search for a learning rate".to_owned(),
            x: axis("learning rate", ends, true),
            y: axis("loss", range_of(losses.iter().copied()), false),
            series: std::iter::once(loss).chain(suggested).collect(),
            bars: Vec::new(),
            whiskers: Vec::new(),
            has_diagonal: false,
            mark: None,
        })],
    }
}

/// Returns the learning curve: number of training images, accuracy and its interval of each
/// network, and points of the law that continues them.
pub fn learning_curve(points: &[[f64; 4]], law: Vec<[f64; 2]>) -> Figure {
    let values = points
        .iter()
        .flat_map(|point| point[1..].iter().copied())
        .chain(law.iter().map(|point| point[1]));
    let [low, high] = range_of(values);
    let most = law.iter().map(|point| point[0]).fold(1.0, f64::max);
    let axis = |label, range| Axis {
        label,
        range,
        is_log: false,
    };
    let series = |name: &str, points| Series {
        name: name.to_owned(),
        points,
    };
    let measured = points.iter().map(|point| [point[0], point[1]]).collect();
    Figure {
        name: "learning_curve",
        caption: "Accuracy on the validation images by the number of training images, with 95 % \
                  intervals, continued to twice as many as a power of their number."
            .to_owned(),
        panels: vec![Panel::Chart(Chart {
            title: "Learning curve".to_owned(),
            x: axis("training images", [0.0, most * 1.03]),
            y: axis("accuracy", [low, high.min(1.0)]),
            series: vec![series("measured", measured), series("power law", law)],
            bars: Vec::new(),
            whiskers: points
                .iter()
                .filter(|point| point[2].is_finite())
                .copied()
                .collect(),
            has_diagonal: false,
            mark: None,
        })],
    }
}

/// Returns a chart whose axes both range from 0 to 1.
fn unit_chart(
    title: &str,
    [x, y]: [&'static str; 2],
    series: Vec<Series>,
    has_diagonal: bool,
) -> Panel {
    let axis = |label| Axis {
        label,
        range: [0.0, 1.0],
        is_log: false,
    };
    Panel::Chart(Chart {
        title: title.to_owned(),
        x: axis(x),
        y: axis(y),
        series,
        bars: Vec::new(),
        whiskers: Vec::new(),
        has_diagonal,
        mark: None,
    })
}

/// Returns a curve for each class with an area, the worst ones if there are many, and what the
/// caption says about the others.
fn by_class(
    classes: &[String],
    areas: &[f64],
    points: impl Fn(usize) -> Vec<[f64; 2]>,
) -> (Vec<Series>, String) {
    let mut shown: Vec<usize> = (0..classes.len())
        .filter(|class| !areas[*class].is_nan())
        .collect();
    let count = shown.len();
    if count > CURVES {
        shown.sort_by(|a, b| areas[*a].total_cmp(&areas[*b]));
        shown.truncate(CURVES);
    }
    let series = |class: usize| Series {
        name: format!(
            "{} ({:.3})",
            shortened(&classes[class], LETTERS),
            areas[class]
        ),
        points: points(class),
    };
    let more = if count > CURVES {
        format!("; the {CURVES} worst of {count} classes")
    } else {
        String::new()
    };
    (shown.into_iter().map(series).collect(), more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Report, argmax};

    fn judged(labels: &[usize], rows: &[Vec<f32>]) -> Vec<Figure> {
        let classes: Vec<String> = [
            "no <lesion>",
            "b & c",
            "a class with a very long name indeed",
        ]
        .map(str::to_owned)
        .to_vec();
        let judged =
            ScoredPredictions::new(labels.to_vec(), rows.iter().map(Vec::as_slice).collect(), 3);
        let report = Report::new(&judged, &classes, &(0..labels.len()).collect::<Vec<_>>(), 1);
        let areas: Vec<f64> = classes
            .iter()
            .map(|class| report.per_class[class].measures.roc_auc)
            .collect();
        let mut counts = Confusion::new(3);
        labels
            .iter()
            .zip(rows)
            .for_each(|(label, row)| counts.add(*label, argmax(row)));
        let history = BTreeMap::from([
            ("epoch".to_owned(), vec![1.0, 2.0, 3.0]),
            ("loss".to_owned(), vec![1.5, 0.5, 0.25]),
            ("val_loss".to_owned(), vec![1.5, f64::NAN, 0.25]),
            ("accuracy".to_owned(), vec![0.5, 0.75, 1.0]),
            ("val_accuracy".to_owned(), vec![0.5, 0.75, 0.5]),
        ]);
        vec![
            curves(&history, Some(2)).expect("epochs"),
            confusion(&classes, &counts),
            roc(&judged, &classes, &areas),
            precision_recall(&judged, &classes, &areas),
            reliability(&report.calibration),
        ]
    }

    /// One image, an absent class, ties, many images: no figure contains a number that isn't
    /// finite, and each can be drawn.
    #[test]
    fn figures_of_odd_evaluations_are_whole() {
        let many: Vec<Vec<f32>> = (0..400)
            .map(|at| {
                let p = (at * 37 % 100) as f32 / 100.0;
                vec![p, (1.0 - p) / 2.0, (1.0 - p) / 2.0]
            })
            .collect();
        let cases = [
            (vec![0], vec![vec![0.2, 0.5, 0.3]]),
            (vec![0, 0, 1], vec![vec![0.5, 0.5, 0.0]; 3]),
            ((0..400).map(|at| at % 3).collect(), many),
        ];
        for (labels, rows) in cases {
            for figure in judged(&labels, &rows) {
                let svg = figure.svg();
                assert!(
                    !svg.contains("NaN") && !svg.contains("inf"),
                    "{}: {svg}",
                    figure.name
                );
                assert!(
                    !svg.contains("<lesion>") && svg.len() < 60_000,
                    "{}: {} bytes",
                    figure.name,
                    svg.len()
                );
                let image = image::load_from_memory(&figure.png().expect(figure.name))
                    .expect("a PNG")
                    .into_rgb8();
                let height: f64 = svg
                    .split("height=\"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next())
                    .expect("a height")
                    .parse()
                    .expect("a number");
                assert_eq!(image.width(), 860 * figure.panels.len() as u32);
                assert!((f64::from(image.height()) - 2.0 * height).abs() <= 2.0);
                let dark = image
                    .pixels()
                    .filter(|pixel| pixel.0.iter().all(|level| *level < 120))
                    .count();
                assert!(dark > 500, "{}: no letters on it", figure.name);
            }
        }
    }
}
