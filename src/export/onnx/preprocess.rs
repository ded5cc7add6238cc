//! From an image as it was decoded to the network's input.

use super::{
    graph::{Graph, Value, int, ints},
    proto::DataType,
    resize::resize,
};
use crate::{
    architecture::Shape,
    checkpoint::Meta,
    config::Color,
    data::batches::normalize::{Normalizer, STD_EPSILON},
};

/// Turns an image into levels of 0 to 255 at the network's size, computing with the given type of
/// real numbers.
///
/// # Shapes
/// `[batch, height, width, 3]` to `[batch, channels, rows, columns]`.
pub(super) fn levels(graph: &mut Graph<'_>, image: &Value, meta: &Meta, real: DataType) -> Value {
    let image = match meta.color {
        Color::Rgb => image.clone(),
        Color::Grayscale => gray(graph, image, real),
    };
    let planes = graph.node("Transpose", &[&image], vec![ints("perm", &[0, 3, 1, 2])]);
    let how = (meta.resize, meta.interpolation);
    resize(graph, &planes, meta.image_size, how, real)
}

/// Returns the luma of ITU-R 601 in 16-bit fixed point, as Pillow's `convert("L")`. All sums are
/// whole numbers that `f32` holds.
fn gray(graph: &mut Graph<'_>, image: &Value, real: DataType) -> Value {
    let image = graph.cast(image, real);
    let shares = graph.array("luma", &[3], &[19595.0, 38470.0, 7471.0]);
    let shares = graph.cast(&shares, real);
    let parts = graph.binary("Mul", &image, &shares);
    let last = graph.integers(&[3]);
    let sum = graph.node("ReduceSum", &[&parts, &last], vec![int("keepdims", 1)]);
    let sum = graph.binary("Add", &sum, 32768.0);
    let luma = graph.binary("Mul", &sum, 1.0 / 65536.0);
    graph.unary("Floor", &luma)
}

/// Normalizes levels. `real` is the type of real numbers for an image's own mean and deviation.
///
/// # Shapes
/// `[batch, channels, height, width]` in and out; `shape` is that of an image.
pub(super) fn normalized(
    graph: &mut Graph<'_>,
    levels: &Value,
    normalizer: &Normalizer,
    shape: Shape,
    real: DataType,
) -> Value {
    let mut x = levels.clone();
    if normalizer.is_samplewise() {
        x = graph.binary("Mul", &x, normalizer.rescale);
        x = standardized(graph, &x, normalizer.samplewise_std, real);
    }
    let [channels, height, width] = shape;
    let affine = normalizer.affine();
    let each = &affine.channels[..channels];
    let scales: Vec<f32> = each.iter().map(|channel| channel.scale).collect();
    let offsets: Vec<f32> = each.iter().map(|channel| channel.offset).collect();
    if scales.iter().any(|scale| *scale != 1.0) {
        let scales = graph.array("scale", &[channels, 1, 1], &scales);
        x = graph.binary("Mul", &x, &scales);
    }
    if offsets.iter().any(|offset| *offset != 0.0) {
        let offsets = graph.array("offset", &[channels, 1, 1], &offsets);
        x = graph.binary("Add", &x, &offsets);
    }
    if normalizer.blue_first {
        let order: Vec<i64> = (0..channels as i64).rev().collect();
        let order = graph.integers(&order);
        x = graph.node("Gather", &[&x, &order], vec![int("axis", 1)]);
    }
    if let Some(whitening) = &normalizer.whitening {
        let size = channels * height * width;
        let matrix = graph.array("whitening", &[size, size], &whitening.matrix);
        let flat = graph.node("Flatten", &[&x], vec![int("axis", 1)]);
        let flat = graph.node("Gemm", &[&flat, &matrix], vec![int("transB", 1)]);
        let shape = graph.integers(&[-1, channels as i64, height as i64, width as i64]);
        x = graph.binary("Reshape", &flat, &shape);
    }
    x
}

/// Subtracts an image's own mean and, with `by_deviation`, divides by its standard deviation.
fn standardized(graph: &mut Graph<'_>, x: &Value, by_deviation: bool, real: DataType) -> Value {
    let mean = |graph: &mut Graph<'_>, x: &Value| {
        let of_image = vec![ints("axes", &[1, 2, 3]), int("keepdims", 1)];
        graph.node("ReduceMean", &[x], of_image)
    };
    let precise = graph.cast(x, real);
    let center = mean(graph, &precise);
    let rounded = graph.cast(&center, x.kind);
    let mut centered = graph.binary("Sub", x, &rounded);
    let is_double = real == DataType::Double;
    if !is_double {
        // Of an image in one color, the rounding of its mean would be all that is left.
        let rest = mean(graph, &centered);
        centered = graph.binary("Sub", &centered, &rest);
    }
    if !by_deviation {
        return centered;
    }
    let differences = if is_double {
        graph.binary("Sub", &precise, &center)
    } else {
        centered.clone()
    };
    let squares = graph.binary("Mul", &differences, &differences);
    let variance = mean(graph, &squares);
    let deviation = graph.unary("Sqrt", &variance);
    let deviation = graph.binary("Add", &deviation, STD_EPSILON);
    let deviation = graph.cast(&deviation, x.kind);
    graph.binary("Div", &centered, &deviation)
}
