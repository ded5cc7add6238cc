//! The confusion matrix as SVG: rows are true classes, columns predictions, and the axes say so.

use maud::{Markup, html};

use super::{
    chart::{COLORS, LETTER, WIDTH, short, shortened},
    heat,
};
use crate::metrics::Confusion;

/// Maximum length of a class name.
const LETTERS: usize = 18;
/// Maximum number of classes for numbers in the cells.
const NUMBERED: usize = 12;
/// Maximum number of classes for names of rows and columns; above it, the matrix is a heat map.
pub const MATRIX_CLASSES: usize = 40;

/// A confusion matrix to draw.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Title above the matrix.
    pub title: String,
    /// Class names in the order of rows and columns.
    pub classes: Vec<String>,
    /// Numbers of images by true and predicted class.
    pub confusion: Confusion,
}

impl Matrix {
    /// Returns the class names as they are shown.
    fn names(&self) -> Vec<String> {
        self.classes
            .iter()
            .map(|name| shortened(name, LETTERS))
            .collect()
    }

    /// Returns the space for the longest name: of rows at the left, of columns (slanted) at the
    /// top.
    fn margin(&self) -> f64 {
        self.names()
            .iter()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0) as f64
            * LETTER
    }

    /// Returns the width of a cell.
    fn cell(&self) -> f64 {
        (WIDTH - self.left() - 40.0) / self.classes.len() as f64
    }

    fn left(&self) -> f64 {
        44.0 + self.margin()
    }

    fn top(&self) -> f64 {
        60.0 + self.margin() * 0.72
    }

    /// Returns the height of a row: at most the width of a cell, and never more than its text
    /// needs.
    fn row(&self) -> f64 {
        self.cell().min(52.0)
    }

    pub(super) fn height(&self) -> f64 {
        if self.is_heat() {
            heat::height()
        } else {
            self.top() + self.row() * self.classes.len() as f64 + 14.0
        }
    }

    /// Whether there are too many classes for names.
    fn is_heat(&self) -> bool {
        self.classes.len() > MATRIX_CLASSES
    }

    pub(super) fn body(&self) -> Markup {
        if self.is_heat() {
            heat::body(&self.title, &self.confusion)
        } else {
            self.cells()
        }
    }

    /// Returns the matrix with a cell for each pair of classes.
    fn cells(&self) -> Markup {
        let (left, top, cell, row) = (self.left(), self.top(), self.cell(), self.row());
        let count = self.classes.len() as f64;
        html! {
            text x="14" y="20" font-size="15" font-weight="600" { (self.title) }
            text x=(short(left + cell * count / 2.0)) y="42" font-size="12" text-anchor="middle" {
                "Predicted class"
            }
            @let middle = short(top + row * count / 2.0);
            text x="16" y=(middle) font-size="12" text-anchor="middle"
                transform=(format!("rotate(-90 16 {middle})")) { "True class" }
            @for (index, name) in self.names().iter().enumerate() {
                @let (x, y) =
                    (left + cell * (index as f64 + 0.5), top + row * (index as f64 + 0.5));
                text x=(short(left - 8.0)) y=(short(y + 4.0)) font-size=(self.letters())
                    text-anchor="end" { (name) }
                text x=(short(x)) y=(short(top - 8.0)) font-size=(self.letters())
                    transform=(format!("rotate(-45 {} {})", short(x), short(top - 8.0))) { (name) }
            }
            @for (truth, counts) in self.confusion.dense().iter().enumerate() {
                @let sum = counts.iter().sum::<u64>();
                @for (predicted, number) in counts.iter().enumerate() {
                    @let share = if sum == 0 { 0.0 } else { *number as f64 / sum as f64 };
                    @let (x, y) = (left + cell * predicted as f64, top + row * truth as f64);
                    rect x=(short(x)) y=(short(y)) width=(short(cell)) height=(short(row))
                        fill=(COLORS[usize::from(truth != predicted)])
                        fill-opacity=(format!("{:.3}", share * 0.75)) stroke="currentColor"
                        stroke-opacity="0.2" {}
                    @if self.classes.len() <= NUMBERED {
                        text x=(short(x + cell / 2.0))
                            y=(short(y + row / 2.0 + if row > 34.0 { -1.0 } else { 4.0 }))
                            font-size="12" text-anchor="middle" { (number) }
                        @if row > 34.0 && sum > 0 {
                            text x=(short(x + cell / 2.0)) y=(short(y + row / 2.0 + 13.0))
                                font-size="10" text-anchor="middle" fill-opacity="0.75" {
                                (format!("{:.0} %", share * 100.0))
                            }
                        }
                    }
                }
            }
        }
    }

    /// Returns the font size of names.
    fn letters(&self) -> String {
        short((self.row() * 0.8).clamp(3.0, 11.0))
    }
}
