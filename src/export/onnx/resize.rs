//! Pillow's resize as products of matrices, whose weights the graph computes from the size of the
//! image.
//!
//! In `f64` the levels are Pillow's to the last one, by the steps of `crates/resampling`: weights
//! are rounded to 22 fractional bits, sums are whole numbers, each pass rounds to levels, and the
//! vertical pass comes first where Pillow has it first. In `f32` weights aren't rounded and the
//! horizontal pass comes first: a level in a thousand differs by one. ONNX's own `Resize` rounds
//! once rather than twice, and runtimes differ in its antialiasing.

use std::f64::consts::PI;

use super::{
    graph::{Graph, Value, int, ints},
    proto::DataType,
};
use crate::config::{Interpolation, Resize};

/// One in a weight of 22 fractional bits.
const ONE: f64 = 4_194_304.0;

/// A side of the image, and what becomes of it. All values are numbers.
struct Axis {
    /// Its index in `[batch, channels, height, width]`.
    index: i64,
    /// Number of pixels.
    side: Value,
    /// Where the part begins that is resized, and its length.
    from: Value,
    length: Value,
    /// Number of new pixels.
    count: Value,
}

/// Resizes levels, computing with the given type of real numbers.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, rows, columns]` of `size`, in `f32`.
pub(super) fn resize(
    graph: &mut Graph<'_>,
    image: &Value,
    size: [usize; 2],
    (how, filter): (Resize, Interpolation),
    real: DataType,
) -> Value {
    let axes = axes(graph, image, size, how, real);
    let inner = if filter == Interpolation::Nearest {
        axes.iter()
            .fold(image.clone(), |image, axis| nearest(graph, &image, axis))
    } else {
        let image = graph.cast(image, real);
        filtered(graph, &image, &axes, filter)
    };
    let inner = graph.cast(&inner, DataType::Float);
    if how == Resize::Pad {
        pad(graph, &inner, size, &axes)
    } else {
        inner
    }
}

/// Finds the part of each side that is resized, and the number of pixels that it becomes.
fn axes(
    graph: &mut Graph<'_>,
    image: &Value,
    size: [usize; 2],
    how: Resize,
    real: DataType,
) -> [Axis; 2] {
    let shape = Value {
        kind: DataType::Int64,
        ..graph.unary("Shape", image)
    };
    let sides = [2, 3].map(|index| {
        let index = graph.number(index.into(), DataType::Int64);
        let side = graph.binary("Gather", &shape, &index);
        graph.cast(&side, real)
    });
    let whole = [0, 1].map(|axis| Axis {
        index: axis as i64 + 2,
        side: sides[axis].clone(),
        from: graph.number(0.0, real),
        length: sides[axis].clone(),
        count: graph.number(size[axis] as f64, real),
    });
    match how {
        Resize::Stretch => whole,
        Resize::Pad => {
            let scale = common_scale(graph, &whole, "Max");
            let one = graph.number(1.0, real);
            whole.map(|axis| {
                let fitting = graph.binary("Div", &axis.side, &scale);
                let fitting = rounded(graph, &fitting);
                let count = graph.node("Clip", &[&fitting, &one, &axis.count], Vec::new());
                Axis { count, ..axis }
            })
        }
        Resize::Crop => {
            let scale = common_scale(graph, &whole, "Min");
            whole.map(|axis| {
                let part = graph.binary("Mul", &scale, &axis.count);
                let part = graph.binary("Min", &part, &axis.side);
                let rest = graph.binary("Sub", &axis.side, &part);
                let from = graph.binary("Div", &rest, 2.0);
                let to = graph.binary("Add", &from, &part);
                // Pillow takes the box in single precision, on which levels depend.
                let [from, to] = [from, to].map(|edge| graph.cast(&edge, DataType::Float));
                let length = graph.binary("Sub", &to, &from);
                let [from, length] = [from, length].map(|value| graph.cast(&value, real));
                Axis {
                    from,
                    length,
                    ..axis
                }
            })
        }
    }
}

/// Returns the larger (`Max`) or smaller number of pixels per new pixel of the two sides.
fn common_scale(graph: &mut Graph<'_>, axes: &[Axis; 2], which: &str) -> Value {
    let [rows, columns] = axes
        .each_ref()
        .map(|axis| graph.binary("Div", &axis.side, &axis.count));
    graph.binary(which, &rows, &columns)
}

/// Takes the pixel at each new pixel's center. Positions are added up, as Pillow does.
fn nearest(graph: &mut Graph<'_>, image: &Value, axis: &Axis) -> Value {
    let step = graph.binary("Div", &axis.length, &axis.count);
    let half = graph.binary("Mul", &step, 0.5);
    let first = graph.binary("Add", &axis.from, &half);
    let pixels = range(graph, &axis.count);
    let is_first = graph.compare("Equal", &pixels, 0.0);
    let steps = graph.choose(&is_first, &first, &step);
    let along = graph.number(0.0, DataType::Int64);
    let places = graph.node("CumSum", &[&steps, &along], Vec::new());
    let last = graph.binary("Sub", &axis.side, 1.0);
    let places = graph.binary("Min", &places, &last);
    let places = graph.cast(&places, DataType::Int64);
    graph.node("Gather", &[image, &places], vec![int("axis", axis.index)])
}

/// Resizes both sides by a filter, one after the other.
fn filtered(
    graph: &mut Graph<'_>,
    image: &Value,
    [rows, columns]: &[Axis; 2],
    filter: Interpolation,
) -> Value {
    let down = weights(graph, rows, filter);
    let across = weights(graph, columns, filter);
    let across = graph.node("Transpose", &[&across], vec![ints("perm", &[1, 0])]);
    let go_down = |graph: &mut Graph<'_>, image: &Value| {
        let sums = graph.binary("MatMul", &down, image);
        levels(graph, &sums)
    };
    let go_across = |graph: &mut Graph<'_>, image: &Value| {
        let sums = graph.binary("MatMul", image, &across);
        levels(graph, &sums)
    };
    let across_first = |graph: &mut Graph<'_>| {
        let image = go_across(graph, image);
        go_down(graph, &image)
    };
    if image.kind != DataType::Double {
        return across_first(graph);
    }
    let fewer_rows = graph.binary("Sub", &rows.side, &rows.count);
    let fewer_columns = graph.binary("Sub", &columns.side, &columns.count);
    let fewer_columns = graph.binary("Max", &fewer_columns, 0.0);
    let twice = graph.binary("Mul", &fewer_columns, 2.0);
    let is_down_first = graph.compare("Greater", &fewer_rows, &twice);
    let down_first = |graph: &mut Graph<'_>| {
        let image = go_down(graph, image);
        go_across(graph, &image)
    };
    graph.either(&is_down_first, down_first, across_first)
}

/// Computes the weight of each pixel for each new one.
///
/// # Shapes
/// Returns `[new pixels, pixels]`.
fn weights(graph: &mut Graph<'_>, axis: &Axis, filter: Interpolation) -> Value {
    let scale = graph.binary("Div", &axis.length, &axis.count);
    // Filters widen with the scale when shrinking, and are never narrower than a pixel.
    let width = graph.binary("Max", &scale, 1.0);
    let narrowing = graph.binary("Div", 1.0, &width);
    let [pixels, new_pixels] = [&axis.side, &axis.count].map(|count| range(graph, count));
    let last = graph.integers(&[1]);
    let new_pixels = graph.binary("Unsqueeze", &new_pixels, &last);
    let middles = graph.binary("Add", &new_pixels, 0.5);
    let centers = graph.binary("Mul", &middles, &scale);
    let centers = graph.binary("Add", &centers, &axis.from);
    let distances = graph.binary("Sub", &pixels, &centers);
    let distances = graph.binary("Add", &distances, 0.5);
    let distances = graph.binary("Mul", &distances, &narrowing);
    let shares = match filter {
        Interpolation::Bilinear => bilinear(graph, &distances),
        Interpolation::Hamming => hamming(graph, &distances),
        Interpolation::Bicubic => bicubic(graph, &distances),
        Interpolation::Lanczos => lanczos(graph, &distances),
        Interpolation::Box | Interpolation::Nearest => {
            // The others are zero at the ends of their window, wherever these are rounded to.
            let reach = graph.binary("Mul", &width, 0.5);
            let [first, end] = ["Sub", "Add"].map(|side| {
                let edge = graph.binary(side, &centers, &reach);
                rounded(graph, &edge)
            });
            let is_behind = graph.compare("GreaterOrEqual", &pixels, &first);
            let is_before = graph.compare("Less", &pixels, &end);
            let is_inside = graph.binary("And", &is_behind, &is_before);
            box_filter(graph, &distances, &is_inside)
        }
    };
    let sums = graph.node("ReduceSum", &[&shares, &last], vec![int("keepdims", 1)]);
    let weights = graph.binary("Div", &shares, &sums);
    if weights.kind != DataType::Double {
        return weights;
    }
    // Half away from zero.
    let weights = graph.binary("Mul", &weights, ONE);
    let size = graph.unary("Abs", &weights);
    let size = rounded(graph, &size);
    let sign = graph.unary("Sign", &weights);
    graph.binary("Mul", &sign, &size)
}

/// Rounds sums of weighted levels to levels.
fn levels(graph: &mut Graph<'_>, sums: &Value) -> Value {
    let levels = if sums.kind == DataType::Double {
        let sums = graph.binary("Add", sums, ONE / 2.0);
        let sums = graph.binary("Mul", &sums, 1.0 / ONE);
        graph.unary("Floor", &sums)
    } else {
        rounded(graph, sums)
    };
    graph.clip(&levels, 0.0, 255.0)
}

/// Centers an image on black.
fn pad(graph: &mut Graph<'_>, image: &Value, size: [usize; 2], axes: &[Axis; 2]) -> Value {
    let only = graph.integers(&[0]);
    let mut before = Vec::new();
    let mut after = Vec::new();
    for (axis, side) in axes.iter().zip(size) {
        let count = graph.cast(&axis.count, DataType::Int64);
        let rest = graph.binary("Sub", side as f64, &count);
        let first = graph.binary("Div", &rest, 2.0);
        let second = graph.binary("Sub", &rest, &first);
        before.push(graph.binary("Unsqueeze", &first, &only));
        after.push(graph.binary("Unsqueeze", &second, &only));
    }
    let none = graph.integers(&[0, 0]);
    let padding = graph.node(
        "Concat",
        &[&none, &before[0], &before[1], &none, &after[0], &after[1]],
        vec![int("axis", 0)],
    );
    graph.binary("Pad", image, &padding)
}

/// Returns 0, 1, 2 and so on, `count` numbers.
fn range(graph: &mut Graph<'_>, count: &Value) -> Value {
    let [zero, one] = [0.0, 1.0].map(|number| graph.number(number, count.kind));
    graph.node("Range", &[&zero, count, &one], Vec::new())
}

/// Rounds numbers that are not negative to the nearest whole number, halves up.
fn rounded(graph: &mut Graph<'_>, x: &Value) -> Value {
    let x = graph.binary("Add", x, 0.5);
    graph.unary("Floor", &x)
}

fn box_filter(graph: &mut Graph<'_>, x: &Value, is_inside: &Value) -> Value {
    let is_right = graph.compare("Greater", x, -0.5);
    let is_left = graph.compare("LessOrEqual", x, 0.5);
    let is_under = graph.binary("And", &is_right, &is_left);
    let is_under = graph.binary("And", &is_under, is_inside);
    graph.cast(&is_under, x.kind)
}

fn bilinear(graph: &mut Graph<'_>, x: &Value) -> Value {
    let x = graph.unary("Abs", x);
    let share = graph.binary("Sub", 1.0, &x);
    graph.binary("Max", &share, 0.0)
}

fn hamming(graph: &mut Graph<'_>, x: &Value) -> Value {
    let sinc = sinc(graph, x);
    let angle = graph.binary("Mul", x, PI);
    // The cosine, which older runtimes don't have in float64.
    let angle = graph.binary("Add", &angle, PI / 2.0);
    let cosine = graph.unary("Sin", &angle);
    // Pillow has these constants in single precision.
    let window = graph.binary("Mul", &cosine, f64::from(0.46f32));
    let window = graph.binary("Add", &window, f64::from(0.54f32));
    let share = graph.binary("Mul", &sinc, &window);
    within(graph, x, 1.0, &share)
}

/// Keys's cubic convolution, as two polynomials.
fn bicubic(graph: &mut Graph<'_>, x: &Value) -> Value {
    const A: f64 = -0.5;
    let x = graph.unary("Abs", x);
    let near = graph.binary("Mul", &x, A + 2.0);
    let near = graph.binary("Sub", &near, A + 3.0);
    let near = graph.binary("Mul", &near, &x);
    let near = graph.binary("Mul", &near, &x);
    let near = graph.binary("Add", &near, 1.0);
    let far = graph.binary("Sub", &x, 5.0);
    let far = graph.binary("Mul", &far, &x);
    let far = graph.binary("Add", &far, 8.0);
    let far = graph.binary("Mul", &far, &x);
    let far = graph.binary("Sub", &far, 4.0);
    let far = graph.binary("Mul", &far, A);
    let far = within(graph, &x, 2.0, &far);
    let is_near = graph.compare("Less", &x, 1.0);
    graph.choose(&is_near, &near, &far)
}

fn lanczos(graph: &mut Graph<'_>, x: &Value) -> Value {
    let third = graph.binary("Div", x, 3.0);
    let window = sinc(graph, &third);
    let sinc = sinc(graph, x);
    let share = graph.binary("Mul", &sinc, &window);
    within(graph, x, 3.0, &share)
}

/// Returns `share` where `x` is nearer to 0 than `reach`, else 0.
fn within(graph: &mut Graph<'_>, x: &Value, reach: f64, share: &Value) -> Value {
    let distance = graph.unary("Abs", x);
    let is_within = graph.compare("Less", &distance, reach);
    let nothing = graph.number(0.0, x.kind);
    graph.choose(&is_within, share, &nothing)
}

fn sinc(graph: &mut Graph<'_>, x: &Value) -> Value {
    let angle = graph.binary("Mul", x, PI);
    let sine = graph.unary("Sin", &angle);
    let quotient = graph.binary("Div", &sine, &angle);
    let is_zero = graph.compare("Equal", x, 0.0);
    let one = graph.number(1.0, x.kind);
    graph.choose(&is_zero, &one, &quotient)
}
