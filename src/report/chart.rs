//! Line and bar charts as SVG: axes with round numbers, lines, bars, a legend below. Ink is
//! `currentColor`, so that a page draws them in its own text color, light or dark.

use maud::{Markup, html};

use crate::base::names::of_text;

/// Width of a chart in SVG units; a page scales it.
pub(super) const WIDTH: f64 = 430.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 46.0;
/// Height of the plot area.
const HEIGHT: f64 = 220.0;
/// Height below the plot area, for tick labels and the name of the axis.
const FOOT: f64 = 44.0;
/// Height of a line of the legend.
const LINE: f64 = 18.0;
/// Distance below which a point is left out after the last one kept.
const APART: f64 = 0.7;
/// Average width of a character at the usual font size.
pub(super) const LETTER: f64 = 6.4;

/// Colors that can be told apart with any color vision, on white and on black (Okabe and Ito,
/// 2008).
pub(super) const COLORS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#b2a100",
];

/// An axis of a chart.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What the axis shows, with its unit.
    pub label: &'static str,
    /// First and last value.
    pub range: [f64; 2],
    /// Whether values are decimal logarithms of what is shown.
    pub is_log: bool,
}

impl Axis {
    /// Formats the label of a tick.
    fn tick(&self, tick: f64) -> String {
        let text = tick_text(tick);
        if self.is_log {
            format!("1e{text}")
        } else {
            text
        }
    }
}

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points by increasing x.
    pub points: Vec<[f64; 2]>,
}

/// A chart of several lines or bars.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Title above the chart.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Lines, in the order of the colors, which repeat after the eighth.
    pub series: Vec<Series>,
    /// Bars: left, right and height, and the label above.
    pub bars: Vec<([f64; 3], String)>,
    /// Whether to draw the diagonal: chance in a ROC curve, perfect calibration in a reliability
    /// diagram.
    pub has_diagonal: bool,
    /// Points with a vertical interval: x, value, low and high.
    pub whiskers: Vec<[f64; 4]>,
    /// A marked value of x, and its label.
    pub mark: Option<(f64, String)>,
}

impl Chart {
    /// Returns the height in SVG units.
    pub(super) fn height(&self) -> f64 {
        TOP + HEIGHT + FOOT + self.legend().len() as f64 * LINE
    }

    /// Returns the lines of the legend, each entry as the index of a series and its left edge.
    fn legend(&self) -> Vec<Vec<(usize, f64)>> {
        let mut lines: Vec<Vec<(usize, f64)>> = Vec::new();
        // The first entry starts the first line.
        let mut at = f64::INFINITY;
        for (index, series) in self.series.iter().enumerate() {
            // The mark and a gap that wider fonts of browsers leave something of.
            let width = 42.0 + series.name.chars().count() as f64 * LETTER;
            if at + width > WIDTH - RIGHT {
                lines.push(Vec::new());
                at = LEFT - 40.0;
            }
            lines.last_mut().expect("begun above").push((index, at));
            at += width;
        }
        lines
    }

    /// Returns the position of a value in SVG units.
    fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let share = |value: f64, [from, to]: [f64; 2]| (value - from) / (to - from);
        [
            LEFT + share(x, self.x.range) * (WIDTH - LEFT - RIGHT),
            TOP + (1.0 - share(y, self.y.range)) * HEIGHT,
        ]
    }

    /// Returns the content of an `svg` element.
    pub(super) fn body(&self) -> Markup {
        let [bottom, right] = [TOP + HEIGHT, WIDTH - RIGHT];
        html! {
            text x=(LEFT) y="20" font-size="15" font-weight="600" { (self.title) }
            (self.grid())
            @for ([from, to, height], words) in &self.bars {
                @let ([left, top], [to, _]) =
                    (self.place([*from, *height]), self.place([*to, *height]));
                rect x=(short(left + 1.0)) y=(short(top)) width=(short(to - left - 2.0))
                    height=(short(bottom - top)) fill=(COLORS[0]) fill-opacity="0.55" {}
                text x=(short((left + to) / 2.0)) y=(short(top - 4.0)) font-size="9"
                    text-anchor="middle" { (words) }
            }
            @if self.has_diagonal {
                @let [[left, right], [low, high]] = [self.x.range, self.y.range];
                @let ([x1, y1], [x2, y2]) = (self.place([left, low]), self.place([right, high]));
                line x1=(short(x1)) y1=(short(y1)) x2=(short(x2)) y2=(short(y2))
                    stroke="currentColor" stroke-opacity="0.5" stroke-dasharray="4 4" {}
            }
            @if let Some((x, name)) = &self.mark {
                @let [x, _] = self.place([*x, 0.0]);
                line x1=(short(x)) y1=(TOP) x2=(short(x)) y2=(bottom) stroke="currentColor"
                    stroke-dasharray="2 3" {}
                text x=(short(x.clamp(LEFT + 42.0, right - 42.0))) y=(TOP - 5.0) font-size="11"
                    text-anchor="middle" { (name) }
            }
            @for [x, value, low, high] in &self.whiskers {
                @let [[x, value], [_, low], [_, high]] =
                    [*value, *low, *high].map(|y| self.place([*x, y]));
                @if low.is_finite() && high.is_finite() {
                    path d=(whisker(x, [low, high])) stroke=(COLORS[0]) stroke-width="1.5" {}
                }
                circle cx=(short(x)) cy=(short(value)) r="4" fill=(COLORS[0]) {}
            }
            @for (index, series) in self.series.iter().enumerate() {
                polyline points=(self.points(series)) fill="none"
                    stroke=(COLORS[index % COLORS.len()]) stroke-width="2" stroke-linejoin="round"
                    {}
                @if let [point] = series.points[..] {
                    @let [x, y] = self.place(point);
                    circle cx=(short(x)) cy=(short(y)) r="3" fill=(COLORS[index % COLORS.len()]) {}
                }
            }
            @for (line, entries) in self.legend().iter().enumerate() {
                @let y = bottom + FOOT + line as f64 * LINE + 8.0;
                @for (index, x) in entries {
                    line x1=(short(*x)) y1=(short(y - 4.0)) x2=(short(x + 18.0)) y2=(short(y - 4.0))
                        stroke=(COLORS[index % COLORS.len()]) stroke-width="3" {}
                    text x=(short(x + 23.0)) y=(short(y)) font-size="12" {
                        (self.series[*index].name)
                    }
                }
            }
        }
    }

    /// Returns the points of a polyline; values that aren't finite are left out.
    fn points(&self, series: &Series) -> String {
        let mut kept: Vec<[f64; 2]> = Vec::new();
        let places: Vec<_> = series
            .points
            .iter()
            .filter(|point| point.iter().all(|value| value.is_finite()))
            .map(|point| self.place(*point))
            .collect();
        for (index, [x, y]) in places.iter().enumerate() {
            // Thousands of images give thousands of points that can't be told apart and would make
            // the page many times larger.
            let is_apart = kept
                .last()
                .is_none_or(|last| (last[0] - x).abs().max((last[1] - y).abs()) >= APART);
            if is_apart || index + 1 == places.len() {
                kept.push([*x, *y]);
            }
        }
        kept.iter()
            .map(|[x, y]| format!("{},{}", short(*x), short(*y)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns the grid with its tick labels and the names of the axes.
    fn grid(&self) -> Markup {
        let [bottom, right] = [TOP + HEIGHT, WIDTH - RIGHT];
        html! {
            @for tick in ticks(self.x.range) {
                @let [x, _] = self.place([tick, 0.0]);
                line x1=(short(x)) y1=(TOP) x2=(short(x)) y2=(bottom) stroke="currentColor"
                    stroke-opacity="0.12" {}
                text x=(short(x)) y=(bottom + 16.0) font-size="11" text-anchor="middle" {
                    (self.x.tick(tick))
                }
            }
            @for tick in ticks(self.y.range) {
                @let [_, y] = self.place([0.0, tick]);
                line x1=(LEFT) y1=(short(y)) x2=(right) y2=(short(y)) stroke="currentColor"
                    stroke-opacity="0.12" {}
                text x=(LEFT - 7.0) y=(short(y + 4.0)) font-size="11" text-anchor="end" {
                    (self.y.tick(tick))
                }
            }
            rect x=(LEFT) y=(TOP) width=(right - LEFT) height=(HEIGHT) fill="none"
                stroke="currentColor" stroke-opacity="0.4" {}
            text x=((LEFT + right) / 2.0) y=(bottom + 34.0) font-size="12" text-anchor="middle" {
                (self.x.label)
            }
            @let middle = TOP + HEIGHT / 2.0;
            text x="16" y=(middle) font-size="12" text-anchor="middle"
                transform=(format!("rotate(-90 16 {middle})")) { (self.y.label) }
        }
    }
}

/// Returns the path of a vertical interval with its end caps, in SVG units.
fn whisker(x: f64, ends: [f64; 2]) -> String {
    let [low, high] = ends.map(short);
    let [left, middle, right] = [x - 4.0, x, x + 4.0].map(short);
    format!("M{left} {low}H{right}M{middle} {low}V{high}M{left} {high}H{right}")
}

/// Returns a printable name, cut off after `letters` characters.
pub(super) fn shortened(name: &str, letters: usize) -> String {
    let name = of_text(name);
    if name.chars().count() > letters {
        name.chars().take(letters - 1).chain(['…']).collect()
    } else {
        name
    }
}

/// Returns the smallest range with all finite values and some margin; `[0, 1]` without any.
pub(super) fn range_of(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    // No finite value at all.
    if low > high {
        return [0.0, 1.0];
    }
    // Equal values get a range too, or positions would be divided by zero.
    let room = ((high - low) * 0.05).max(1e-6 + high.abs() * 1e-3);
    [
        if low >= 0.0 {
            (low - room).max(0.0)
        } else {
            low - room
        },
        high + room,
    ]
}

/// Returns four to eight round numbers in a range.
pub(super) fn ticks([from, to]: [f64; 2]) -> Vec<f64> {
    let rough = (to - from) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(power);
    // The tolerance keeps ticks at the ends of the range despite rounding.
    let first = (from / step - 1e-9).ceil() as i64;
    (first..)
        .map(|index| index as f64 * step)
        .take_while(|tick| *tick <= to + step * 1e-9)
        .collect()
}

/// Formats a tick with at most four decimals.
pub(super) fn tick_text(tick: f64) -> String {
    let text = format!("{tick:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// Formats an SVG coordinate with one decimal to keep the file small.
pub(super) fn short(value: f64) -> String {
    tick_text((value * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (range, expected) in [
            ([0.0, 1.0], vec!["0", "0.2", "0.4", "0.6", "0.8", "1"]),
            ([1.0, 25.0], vec!["5", "10", "15", "20", "25"]),
            ([0.43, 0.47], vec!["0.43", "0.44", "0.45", "0.46", "0.47"]),
            ([-1.0, 3.0], vec!["-1", "0", "1", "2", "3"]),
            ([0.0, 1234.0], vec!["0", "500", "1000"]),
        ] {
            assert_eq!(
                ticks(range).into_iter().map(tick_text).collect::<Vec<_>>(),
                expected,
                "{range:?}"
            );
        }
    }

    #[test]
    fn ranges_hold_their_values_and_are_never_empty() {
        for values in [
            vec![],
            vec![f64::NAN],
            vec![0.0],
            vec![0.5, 0.5],
            vec![2.0, -3.0, f64::INFINITY],
        ] {
            let [from, to] = range_of(values.iter().copied());
            assert!(
                from < to && ticks([from, to]).len() < 12,
                "{values:?}: {from} {to}"
            );
            assert!(
                values
                    .iter()
                    .filter(|value| value.is_finite())
                    .all(|value| (from..=to).contains(value)),
                "{values:?}"
            );
        }
    }
}
