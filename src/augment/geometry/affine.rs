//! Rotation, shifts, shear, zoom and flips, the options of Keras's ImageDataGenerator, which are
//! drawn from one stream and make one map.

use rand::RngExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{maps::compose, transform::Transform};
use crate::{
    augment::family::{Effect, Example, Family, Faults, Section, Semantics},
    base::rng::{Stream, uniform},
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Affine> = Family {
    keys: &[
        "rotation_range",
        "width_shift_range",
        "height_shift_range",
        "shear_range",
        "zoom_range",
        "horizontal_flip",
        "vertical_flip",
    ],
    stream: 3,
    section: Section::Keras,
    effect: Affine::effect,
    check,
    draw: |settings, mut stream, drawing| {
        let transform = draw(settings, drawing.semantics, drawing.size, &mut stream);
        let map = transform.map(drawing.size, drawing.semantics);
        drawing.plan.map = compose(drawing.plan.map, map);
    },
    examples: &EXAMPLES,
    neutral: &["zoom_range = [1.0, 1.0]"],
    ..Family::NEW
};

const EXAMPLES: [Example; 11] = [
    Example {
        name: "rotation",
        settings: "rotation_range = 30",
        about: "Degrees, from -30 to 30.",
    },
    Example {
        name: "width shift",
        settings: "width_shift_range = 0.25",
        about: "A share of the width, either way. `8.0` is up to 8 pixels, `8` (a whole \
                number) one of -7, ..., 7 pixels, a list one of its values.",
    },
    Example {
        name: "height shift",
        settings: "height_shift_range = [-12, 0, 12]",
        about: "The same forms, of the height.",
    },
    Example {
        name: "shear",
        settings: "shear_range = 25",
        about: "Degrees.",
    },
    Example {
        name: "zoom",
        settings: "zoom_range = 0.4",
        about: "`z` stands for `[1 - z, 1 + z]`; below 1 magnifies. Width and height are \
                drawn apart, as in Keras.",
    },
    Example {
        name: "horizontal flip",
        settings: "horizontal_flip = true",
        about: "",
    },
    Example {
        name: "vertical flip",
        settings: "vertical_flip = true",
        about: "",
    },
    Example {
        name: "fill nearest",
        settings: "rotation_range = 30, zoom_range = [1.2, 1.5], fill_mode = \"nearest\"",
        about: "Outside the image lies the nearest pixel by default.",
    },
    Example {
        name: "fill constant",
        settings: "rotation_range = 30, zoom_range = [1.2, 1.5], fill_mode = \"constant\", \
                   cval = 128",
        about: "",
    },
    Example {
        name: "fill reflect",
        settings: "rotation_range = 30, zoom_range = [1.2, 1.5], fill_mode = \"reflect\"",
        about: "",
    },
    Example {
        name: "fill wrap",
        settings: "rotation_range = 30, zoom_range = [1.2, 1.5], fill_mode = \"wrap\"",
        about: "",
    },
];

/// Options that rotate, shift, shear, scale and mirror.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Affine {
    /// Degrees, drawn uniformly from -x to x.
    pub rotation_range: f64,
    /// Sideways shift. 0.1: up to a tenth of the width either way; 3.0: up to 3 pixels; 3 (a whole
    /// number): -2, -1, 0, 1 or 2 pixels; a list: one of its values, shares where all are below 1.
    pub width_shift_range: Shift,
    /// Shift up or down, in the same forms, of the height.
    pub height_shift_range: Shift,
    /// Degrees, drawn uniformly from -x to x.
    pub shear_range: f64,
    /// A number z stands for [1 - z, 1 + z]; below 1 magnifies, above 1 shrinks. Width and height
    /// are drawn apart.
    pub zoom_range: Zoom,
    /// Mirror left and right with probability one half.
    pub horizontal_flip: bool,
    /// Mirror top and bottom with probability one half.
    pub vertical_flip: bool,
}

impl Affine {
    fn effect(&self) -> Effect {
        let moves = self.rotation_range != 0.0
            || self.shear_range != 0.0
            || self.width_shift_range.moves()
            || self.height_shift_range.moves()
            || self.zoom_range.pair() != [1.0, 1.0];
        match (moves, self.horizontal_flip || self.vertical_flip) {
            (true, _) => Effect::Moves,
            (false, true) => Effect::Values,
            (false, false) => Effect::Nothing,
        }
    }
}

/// A shift range: a number or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shift {
    /// n stands for the whole pixels between -n and n.
    Pixels(i64),
    /// Uniform, either way: below 1 a share of the side, from 1 on pixels.
    Range(f64),
    /// One of these: shares of the side where all are below 1, else pixels; positive is right or
    /// down.
    Among(Vec<f64>),
}

impl Shift {
    /// Returns whether it can be anything but no shift.
    fn moves(&self) -> bool {
        match self {
            Self::Pixels(pixels) => *pixels > 1,
            Self::Range(range) => *range != 0.0,
            Self::Among(values) => values.iter().any(|value| *value != 0.0),
        }
    }
}

impl Default for Shift {
    fn default() -> Self {
        Self::Range(0.0)
    }
}

/// A zoom range: one number or a pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Zoom {
    /// z stands for [1 - z, 1 + z].
    Around(f64),
    /// Low and high.
    Pair([f64; 2]),
}

impl Zoom {
    /// Returns the low and high factor of the inverse map.
    fn pair(self) -> [f64; 2] {
        match self {
            Self::Around(range) => [1.0 - range, 1.0 + range],
            Self::Pair(pair) => pair,
        }
    }
}

impl Default for Zoom {
    fn default() -> Self {
        Self::Around(0.0)
    }
}

fn check(settings: &Affine, faults: &mut Faults) {
    for (key, degrees) in [
        ("rotation_range", settings.rotation_range),
        ("shear_range", settings.shear_range),
    ] {
        faults.require(
            degrees >= 0.0 && degrees.is_finite(),
            key,
            degrees,
            "0 or more",
        );
    }
    faults.require(
        settings.shear_range < 90.0,
        "shear_range",
        settings.shear_range,
        "degrees below 90",
    );
    check_shift("width_shift_range", &settings.width_shift_range, faults);
    check_shift("height_shift_range", &settings.height_shift_range, faults);
    let [low, high] = settings.zoom_range.pair();
    faults.require(
        low > 0.0 && low <= high && high <= 1000.0,
        "zoom_range",
        format!("[{low}, {high}]"),
        "factors above 0 and at most 1000, low before high",
    );
}

fn check_shift(key: &str, shift: &Shift, faults: &mut Faults) {
    const FARTHEST: f64 = 1e6;
    match shift {
        Shift::Pixels(pixels) => faults.require(
            (0..=FARTHEST as i64).contains(pixels),
            key,
            pixels,
            "0 or more",
        ),
        Shift::Range(range) => {
            faults.require((0.0..=FARTHEST).contains(range), key, range, "0 or more");
        }
        Shift::Among(values) => faults.require(
            !values.is_empty() && values.iter().all(|value| value.abs() <= FARTHEST),
            key,
            format!("{values:?}"),
            "one number or more to choose from",
        ),
    }
}

/// Draws the parameters. Every number is taken from the stream whether or not its option is on,
/// so that an option doesn't change the draws of the others.
fn draw(
    settings: &Affine,
    semantics: Semantics,
    [height, width]: [usize; 2],
    stream: &mut Stream,
) -> Transform {
    let theta = uniform(stream, -settings.rotation_range, settings.rotation_range);
    let tx = draw_shift(&settings.height_shift_range, height, semantics, stream);
    let ty = draw_shift(&settings.width_shift_range, width, semantics, stream);
    let shear = uniform(stream, -settings.shear_range, settings.shear_range);
    let [low, high] = settings.zoom_range.pair();
    let [zx, zy] = std::array::from_fn(|_| uniform(stream, low, high));
    let [flip_horizontal, flip_vertical] = [settings.horizontal_flip, settings.vertical_flip]
        .map(|on| (uniform(stream, 0.0, 1.0) < 0.5) & on);
    Transform {
        theta,
        tx,
        ty,
        shear,
        zx,
        zy,
        flip_horizontal,
        flip_vertical,
    }
}

/// Draws a shift in pixels. Takes two numbers from the stream for every form of the option.
fn draw_shift(shift: &Shift, side: usize, semantics: Semantics, stream: &mut Stream) -> f64 {
    let (share, sign) = (
        stream.random::<f64>(),
        if stream.random::<f64>() < 0.5 {
            -1.0
        } else {
            1.0
        },
    );
    let index = |count: usize| ((share * count as f64) as usize).min(count.saturating_sub(1));
    let side = side as f64;
    match (shift, semantics) {
        (Shift::Range(range), _) => {
            (2.0 * share - 1.0) * if *range < 1.0 { range * side } else { *range }
        }
        (Shift::Pixels(pixels), Semantics::Keras) => {
            sign * index(usize::try_from(*pixels).unwrap_or(0)) as f64
        }
        (Shift::Pixels(pixels), Semantics::Standard) => {
            let most = (pixels - 1).max(0);
            (index(usize::try_from(2 * most + 1).unwrap_or(1)) as i64 - most) as f64
        }
        (Shift::Among(values), Semantics::Keras) => {
            let is_share = values.iter().all(|value| *value < 1.0);
            sign * values[index(values.len())] * if is_share { side } else { 1.0 }
        }
        (Shift::Among(values), Semantics::Standard) => {
            let is_share = values.iter().all(|value| value.abs() < 1.0);
            values[index(values.len())] * if is_share { side } else { 1.0 }
        }
    }
}
