//! Random resized crop, as in torchvision.

use pixel_sampling::Map;
use rand::RngExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    augment::{
        family::{Effect, Example, Family, Faults},
        geometry::compose,
        ranged::comes_up,
    },
    base::rng::{Stream, uniform},
};

/// The family.
pub(in crate::augment) static FAMILY: Family<ResizedCrop> = Family {
    keys: &["random_resized_crop"],
    stream: 9,
    effect: |_| Effect::Moves,
    check,
    draw: |settings, mut stream, drawing| {
        if comes_up(settings.probability, &mut stream) {
            let map = draw(settings, drawing.size, &mut stream);
            drawing.plan.map = compose(drawing.plan.map, map);
        }
    },
    examples: &[Example {
        name: "random resized crop",
        settings: "random_resized_crop = { scale = [0.2, 0.8] }",
        about: "A part of that share of the area at the whole size (torchvision's \
                `RandomResizedCrop`).",
    }],
    // No other part of the image has its whole area, so that the whole image is taken.
    neutral: &["random_resized_crop = { scale = [1, 1], ratio = [0.01, 100.0] }"],
    ..Family::NEW
};

/// A part of the image at the whole size (torchvision's `RandomResizedCrop`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// How often an image is cropped, 0 to 1.
    pub probability: f64,
    /// Share of the image's area that is kept, low and high.
    pub scale: [f64; 2],
    /// Width to height of the part, before it is stretched to the whole; drawn evenly on a
    /// logarithmic scale.
    pub ratio: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self {
            probability: 1.0,
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

fn check(settings: &ResizedCrop, faults: &mut Faults) {
    faults.require_probability(settings.probability);
    faults.require_range("scale", settings.scale, [1e-6, 1.0]);
    faults.require_range("ratio", settings.ratio, [0.01, 100.0]);
}

/// Draws a part of the image that fills the whole result: the first of ten random rectangles that
/// fits, else a centered one (torchvision's `RandomResizedCrop`).
fn draw(settings: &ResizedCrop, [height, width]: [usize; 2], stream: &mut Stream) -> Map {
    let (rows, columns) = (height as f64, width as f64);
    let area = rows * columns;
    let [low, high] = settings.ratio.map(f64::ln);
    let mut part = None;
    for _ in 0..10 {
        let target = area * uniform(stream, settings.scale[0], settings.scale[1]);
        let ratio = uniform(stream, low, high).exp();
        let size = [(target / ratio).sqrt(), (target * ratio).sqrt()];
        // All ten tries draw the same number of values, so that the stream's position afterwards is
        // fixed.
        let at: [f64; 2] = std::array::from_fn(|_| stream.random());
        if part.is_none() && size[0] <= rows && size[1] <= columns {
            part = Some((
                [at[0] * (rows - size[0]), at[1] * (columns - size[1])],
                size,
            ));
        }
    }
    let ([top, left], [part_rows, part_columns]) = part.unwrap_or_else(|| {
        let ratio = (columns / rows).clamp(settings.ratio[0], settings.ratio[1]);
        let size = if columns / rows > ratio {
            [rows, rows * ratio]
        } else {
            [columns / ratio, columns]
        };
        ([(rows - size[0]) / 2.0, (columns - size[1]) / 2.0], size)
    });
    let (x, y) = (part_columns / columns, part_rows / rows);
    [
        [x, 0.0, left + 0.5 * x - 0.5],
        [0.0, y, top + 0.5 * y - 0.5],
        [0.0, 0.0, 1.0],
    ]
}
