//! Values with their intervals, one below the other, as SVG.

use maud::{Markup, html};

use super::chart::{COLORS, LETTER, WIDTH, range_of, short, shortened, tick_text, ticks};

/// Maximum length of a name.
const LETTERS: usize = 30;
const RIGHT: f64 = 18.0;
const TOP: f64 = 40.0;
/// Height of a row.
const ROW: f64 = 22.0;
/// Height below the rows, for tick labels and the name of the axis.
const FOOT: f64 = 44.0;

/// Values with their intervals. The first is the one that the others are compared with.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// Title above the rows.
    pub title: String,
    /// What is below the axis.
    pub label: &'static str,
    /// The rows from the top.
    pub rows: Vec<Interval>,
}

/// A value with its interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Name at the left.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Lower and upper end.
    pub range: [f64; 2],
}

impl Intervals {
    /// Returns the height in SVG units.
    pub(super) fn height(&self) -> f64 {
        self.bottom() + FOOT
    }

    fn bottom(&self) -> f64 {
        TOP + self.rows.len() as f64 * ROW
    }

    /// Returns the left edge of the plot area, right of the longest name.
    fn left(&self) -> f64 {
        let letters = self
            .rows
            .iter()
            .map(|row| shortened(&row.name, LETTERS).chars().count());
        24.0 + letters.max().unwrap_or(0) as f64 * LETTER
    }

    /// Returns the content of an `svg` element.
    pub(super) fn body(&self) -> Markup {
        let values = self
            .rows
            .iter()
            .flat_map(|row| row.range.into_iter().chain([row.value]));
        let range = range_of(values);
        let (left, right, bottom) = (self.left(), WIDTH - RIGHT, self.bottom());
        let place =
            |value: f64| short(left + (value - range[0]) / (range[1] - range[0]) * (right - left));
        html! {
            text x="14" y="20" font-size="15" font-weight="600" { (shortened(&self.title, 50)) }
            @for tick in ticks(range) {
                line x1=(place(tick)) y1=(TOP) x2=(place(tick)) y2=(short(bottom))
                    stroke="currentColor" stroke-opacity="0.12" {}
                text x=(place(tick)) y=(short(bottom + 16.0)) font-size="11" text-anchor="middle" {
                    (tick_text(tick))
                }
            }
            @if let Some(first) = self.rows.first().filter(|row| row.value.is_finite()) {
                line x1=(place(first.value)) y1=(TOP) x2=(place(first.value)) y2=(short(bottom))
                    stroke="currentColor" stroke-dasharray="4 4" stroke-opacity="0.6" {}
            }
            @for (index, row) in self.rows.iter().enumerate() {
                @let y = TOP + (index as f64 + 0.5) * ROW;
                @let color = if index == 0 { "currentColor" } else { COLORS[0] };
                text x=(short(left - 10.0)) y=(short(y + 4.0)) font-size="12" text-anchor="end" {
                    (shortened(&row.name, LETTERS))
                }
                @if row.range.iter().all(|end| end.is_finite()) {
                    line x1=(place(row.range[0])) y1=(short(y)) x2=(place(row.range[1]))
                        y2=(short(y)) stroke=(color) stroke-width="2.5" stroke-linecap="round" {}
                }
                @if row.value.is_finite() {
                    circle cx=(place(row.value)) cy=(short(y)) r="4" fill=(color) {}
                }
            }
            rect x=(short(left)) y=(TOP) width=(short(right - left)) height=(short(bottom - TOP))
                fill="none" stroke="currentColor" stroke-opacity="0.4" {}
            text x=(short(WIDTH / 2.0)) y=(short(bottom + 34.0)) font-size="12"
                text-anchor="middle" { (self.label) }
        }
    }
}
