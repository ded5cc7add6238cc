//! The confusion matrix of many classes as a heat map without names and numbers, whose size doesn't
//! grow with the number of classes.

use std::{collections::BTreeMap, fmt::Write};

use maud::{Markup, html};

use super::chart::{COLORS, WIDTH, short, tick_text, ticks};
use crate::metrics::Confusion;

/// Maximum number of cells per side; of more classes, several share a cell.
const PLACES: usize = 250;
/// Number of shades of each color.
const SHADES: usize = 8;
const LEFT: f64 = 84.0;
const TOP: f64 = 78.0;
const SIDE: f64 = WIDTH - LEFT - 30.0;

/// Returns the height in SVG units.
pub(super) fn height() -> f64 {
    TOP + SIDE + 14.0
}

/// Returns the number of classes that share a cell.
pub(super) fn classes_per_place(num_classes: usize) -> usize {
    num_classes.div_ceil(PLACES).max(1)
}

/// Returns the content of an `svg` element.
pub(super) fn body(title: &str, confusion: &Confusion) -> Markup {
    let count = confusion.num_classes();
    let places = count.div_ceil(classes_per_place(count));
    let scale = SIDE / places as f64;
    let place = |class: f64| class / count as f64 * SIDE;
    html! {
        text x="14" y="20" font-size="15" font-weight="600" { (title) }
        text x=(short(LEFT + SIDE / 2.0)) y="42" font-size="12" text-anchor="middle" {
            "Predicted class, by its number"
        }
        @let middle = short(TOP + SIDE / 2.0);
        text x="16" y=(middle) font-size="12" text-anchor="middle"
            transform=(format!("rotate(-90 16 {middle})")) { "True class, by its number" }
        @for tick in ticks([1.0, count as f64]) {
            text x=(short(LEFT + place(tick - 0.5))) y=(short(TOP - 8.0)) font-size="11"
                text-anchor="middle" { (tick_text(tick)) }
            text x=(short(LEFT - 8.0)) y=(short(TOP + place(tick - 0.5) + 4.0)) font-size="11"
                text-anchor="end" { (tick_text(tick)) }
        }
        // Antialiasing would draw seams between neighboring squares.
        g transform=(format!("translate({LEFT} {TOP}) scale({scale:.4})"))
            shape-rendering="crispEdges" {
            @for ((color, shade), path) in paths(confusion) {
                path d=(path) fill=(COLORS[color])
                    fill-opacity=(format!("{:.3}", shade as f64 / SHADES as f64)) {}
            }
        }
        rect x=(LEFT) y=(TOP) width=(short(SIDE)) height=(short(SIDE)) fill="none"
            stroke="currentColor" stroke-opacity="0.4" {}
    }
}

/// Returns a path for each color (0 for correct predictions, 1 for mistakes) and shade that occurs,
/// of unit squares. A path for each shade rather than a rectangle for each cell keeps the figure
/// small.
fn paths(confusion: &Confusion) -> BTreeMap<(usize, usize), String> {
    let share = classes_per_place(confusion.num_classes());
    let mut squares: BTreeMap<(usize, usize), [u64; 2]> = BTreeMap::new();
    let mut rows: BTreeMap<usize, u64> = BTreeMap::new();
    for (truth, predicted, number) in confusion.cells() {
        squares
            .entry((truth / share, predicted / share))
            .or_default()[usize::from(truth != predicted)] += number;
        *rows.entry(truth / share).or_default() += number;
    }
    let mut paths: BTreeMap<(usize, usize), String> = BTreeMap::new();
    for ((row, column), [hits, mistakes]) in squares {
        let color = usize::from(mistakes > hits);
        // The square root keeps one mistake among a hundred images visible.
        let part = (hits.max(mistakes) as f64 / rows[&row] as f64).sqrt();
        let shade = ((part * SHADES as f64).ceil() as usize).clamp(1, SHADES);
        // Writing to a string can't fail.
        let _ = write!(
            paths.entry((color, shade)).or_default(),
            "M{column} {row}h1v1h-1z"
        );
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_stand_where_their_classes_do_and_are_darker_for_more() {
        let mut confusion = Confusion::new(500);
        // Classes 2 and 3 share a place, as do 498 and 499.
        (0..9).for_each(|_| confusion.add(3, 3));
        confusion.add(2, 499);
        (0..2).for_each(|_| confusion.add(498, 0));
        let found: Vec<_> = paths(&confusion).into_iter().collect();
        let expected = [
            ((0, 8), "M1 1h1v1h-1z"),
            ((1, 3), "M249 1h1v1h-1z"),
            ((1, 8), "M0 249h1v1h-1z"),
        ];
        assert_eq!(found, expected.map(|(key, path)| (key, path.to_owned())));
    }

    #[test]
    fn ten_thousand_classes_are_no_larger_than_their_image() {
        let mut confusion = Confusion::new(10_000);
        (0..200_000)
            .for_each(|index: usize| confusion.add(index * 7919 % 10_000, index * 104_729 % 9973));
        let svg = body("Confusion matrix", &confusion).into_string();
        assert!(
            svg.len() < 1_200_000 && svg.matches("<path").count() <= 2 * SHADES,
            "{} bytes",
            svg.len()
        );
    }
}
