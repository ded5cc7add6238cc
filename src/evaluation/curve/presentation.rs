//! A learning curve in words, as a table, as a figure and as a page.

use std::path::Path;

use anyhow::{Context, anyhow};

use super::{CurvePoint, LearningCurve};
use crate::{
    base::{io::files::write_atomic, names, words::counted},
    metrics::{Estimate, p_cell},
    report::{Figure, PAGE, Page, Section, Table, learning_curve, text_table::table_text},
};

/// Number of points of the drawn law.
const DRAWN: usize = 40;

impl CurvePoint {
    fn metric(&self, name: &str) -> Estimate {
        self.metrics.get(name).copied().unwrap_or(Estimate::NONE)
    }
}

impl LearningCurve {
    fn last(&self) -> &CurvePoint {
        self.points.last().expect("a curve has points")
    }

    /// Describes whether more images would help.
    pub(super) fn describe(&self) -> Vec<String> {
        let last = self.last();
        let (gain, then) = (self.gain, self.accuracy_with_twice_the_images);
        let verdict = if gain.low > 0.0 {
            "More images would help"
        } else if gain.high < 0.0 {
            "More images like these would not help"
        } else {
            "These runs don't show that more images would help"
        };
        vec![
            format!(
                "{verdict}: by the curve, accuracy goes from {:.3} to {} with twice as many, {}: a \
                 change of {:+.3}{}.",
                then.value - gain.value,
                then.in_words(),
                2 * last.training_images,
                gain.value,
                if gain.low.is_nan() {
                    String::new()
                } else {
                    format!(" (95 %: {:+.3} to {:+.3})", gain.low, gain.high)
                }
            ),
            format!(
                "That continues the curve as a power of the number of training images, and is as \
                 sure as the {} let it be. Each network was trained once: how much another seed \
                 would change isn't in the intervals. These images chose each best epoch, too.",
                counted(self.images, "validation image")
            ),
        ]
    }

    /// Returns the networks as a table.
    fn table(&self) -> Table {
        let head = [
            "Fraction",
            "Training images",
            "Best epoch",
            "Accuracy [95 %]",
            "To the row above",
            "p, corrected",
            "F1, macro",
            "Log loss",
        ];
        let row = |point: &CurvePoint| {
            let accuracy = point.metric("accuracy");
            let step = point.comparison.as_ref();
            let p = step.map(|of| of.corrected_p.unwrap_or(of.found.p));
            let difference = step.map(|of| of.found.differences["accuracy"].value);
            vec![
                point.fraction.to_string(),
                point.training_images.to_string(),
                point.best_epoch.to_string(),
                accuracy.in_brackets(),
                difference.map_or_else(|| "-".to_owned(), |value| format!("{value:+.4}")),
                p.map_or_else(|| "-".to_owned(), p_cell),
                format!("{:.4}", point.metric("macro_f1").value),
                format!("{:.4}", point.metric("log_loss").value),
            ]
        };
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: self.points.iter().map(row).collect(),
        }
    }

    fn figure(&self) -> Figure {
        let points: Vec<[f64; 4]> = self
            .points
            .iter()
            .map(|point| {
                let Estimate { value, low, high } = point.metric("accuracy");
                [point.training_images as f64, value, low, high]
            })
            .collect();
        let first = self.points[0].training_images as f64;
        let most = 2.0 * self.last().training_images as f64;
        let law = (0..=DRAWN).map(|step| {
            let size = first * (most / first).powf(step as f64 / DRAWN as f64);
            [size, 1.0 - self.law.error(size)]
        });
        learning_curve(&points, law.collect())
    }

    /// Returns the table and the words that the terminal shows.
    pub fn to_text(&self) -> String {
        format!(
            "{}\n\n{}\n",
            table_text(&self.table()),
            self.words.join("\n")
        )
    }

    /// Writes `learning_curve.json`, the figure in `plots/` and the page with both into `folder`,
    /// and returns the path of the page. `config` is the recipe, as the page shows it.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub fn write(&self, folder: &Path, name: &str, config: String) -> anyhow::Result<String> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        write_atomic(&folder.join("learning_curve.json"), json.as_bytes())?;
        let (figure, plots) = (self.figure(), folder.join("plots"));
        std::fs::create_dir_all(&plots)
            .with_context(|| format!("can't create {}", names::of_path(&plots)))?;
        let png = figure
            .png()
            .map_err(|reason| anyhow!("can't draw {}: {reason}", figure.name))?;
        write_atomic(&plots.join("learning_curve.svg"), figure.svg().as_bytes())?;
        write_atomic(&plots.join("learning_curve.png"), &png)?;
        let page = Page {
            title: format!("{name}: learning curve"),
            lead: self.words.clone(),
            about: "What was trained",
            facts: vec![
                ("Networks".to_owned(), self.points.len().to_string()),
                (
                    "Measured on".to_owned(),
                    format!("the same {}", counted(self.images, "validation image")),
                ),
            ],
            figures: vec![figure],
            tables: vec![Section {
                title: "Networks",
                words: Vec::new(),
                table: self.table(),
            }],
            config,
            ..Page::default()
        };
        let path = folder.join(PAGE);
        write_atomic(&path, page.to_html().as_bytes())?;
        Ok(names::of_path(&path))
    }
}
