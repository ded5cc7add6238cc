//! Draws everything that moves pixels as one homogeneous map from the result to the source.
//! Coordinates are columns and rows, counted from the center of the first pixel.

use pixel_sampling::{IDENTITY, Map};
use rand::RngExt as _;

use crate::{
    base::rng::{Stream, uniform},
    config::{Augment, ResizedCrop, Semantics, Shift},
};

/// The parameters of Keras's `apply_transform`, under its names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Geometry {
    /// Rotation in degrees; positive values turn the image counterclockwise.
    pub(super) theta: f64,
    /// Vertical shift in pixels.
    pub(super) tx: f64,
    /// Horizontal shift in pixels.
    pub(super) ty: f64,
    /// Shear in degrees.
    pub(super) shear: f64,
    /// Scale of the source's rows, or of its columns with the semantics `"keras"`; a value below 1
    /// magnifies.
    pub(super) zx: f64,
    /// Scale of the source's columns, or of its rows with the semantics `"keras"`.
    pub(super) zy: f64,
    /// Whether to mirror left and right.
    pub(super) flip_horizontal: bool,
    /// Whether to mirror top and bottom.
    pub(super) flip_vertical: bool,
}

impl Geometry {
    /// The parameters that change nothing.
    pub(super) const NONE: Self = Self {
        theta: 0.0,
        tx: 0.0,
        ty: 0.0,
        shear: 0.0,
        zx: 1.0,
        zy: 1.0,
        flip_horizontal: false,
        flip_vertical: false,
    };

    /// Draws the parameters. Every number is taken from the stream whether or not its option is on,
    /// so that an option doesn't change the draws of the others.
    pub(super) fn draw(
        settings: &Augment,
        [height, width]: [usize; 2],
        stream: &mut Stream,
    ) -> Self {
        let theta = uniform(stream, -settings.rotation_range, settings.rotation_range);
        let tx = draw_shift(
            &settings.height_shift_range,
            height,
            settings.semantics,
            stream,
        );
        let ty = draw_shift(
            &settings.width_shift_range,
            width,
            settings.semantics,
            stream,
        );
        let shear = uniform(stream, -settings.shear_range, settings.shear_range);
        let [low, high] = settings.zoom_range.pair();
        let [zx, zy] = [(); 2].map(|()| uniform(stream, low, high));
        let [flip_horizontal, flip_vertical] = [settings.horizontal_flip, settings.vertical_flip]
            .map(|on| (uniform(stream, 0.0, 1.0) < 0.5) & on);
        Self {
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

    /// Returns the map of the drawn parameters: rotation, shift, shear and zoom about the center,
    /// in Keras's order of factors, applied to the mirrored image.
    pub(super) fn map(&self, shape: [usize; 2], semantics: Semantics) -> Map {
        let map = match semantics {
            Semantics::Standard => self.standard_map(shape),
            Semantics::Keras => self.keras_map(shape),
        };
        compose(
            map,
            mirror([self.flip_horizontal, self.flip_vertical], shape),
        )
    }

    /// The map with the semantics that Keras documents: shifts move the image right and down, and
    /// everything else is about the center of the image.
    fn standard_map(&self, shape: [usize; 2]) -> Map {
        let (sine, cosine) = self.theta.to_radians().sin_cos();
        let rotation = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]];
        let shift = [[1.0, 0.0, -self.ty], [0.0, 1.0, -self.tx], [0.0, 0.0, 1.0]];
        let shear = self.shear.to_radians();
        let shear = [
            [1.0, -shear.sin(), 0.0],
            [0.0, shear.cos(), 0.0],
            [0.0, 0.0, 1.0],
        ];
        let zoom = [[self.zy, 0.0, 0.0], [0.0, self.zx, 0.0], [0.0, 0.0, 1.0]];
        snap(about_centre(
            [rotation, shift, shear, zoom]
                .into_iter()
                .fold(IDENTITY, compose),
            shape,
        ))
    }

    /// The map of Keras 2.9 to 3.15. Keras builds the matrix for (row, column), fixes its center,
    /// and exchanges its axes only then. A height shift therefore moves the image sideways, and the
    /// center of an image that isn't square has its coordinates exchanged.
    fn keras_map(&self, [height, width]: [usize; 2]) -> Map {
        if (Self {
            flip_horizontal: false,
            flip_vertical: false,
            ..*self
        }) == Self::NONE
        {
            // Keras skips the transform if nothing but flips is set.
            return IDENTITY;
        }
        let (sine, cosine) = (self.theta * std::f64::consts::PI / 180.0).sin_cos();
        let rotation = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]];
        let shift = [[1.0, 0.0, self.tx], [0.0, 1.0, self.ty], [0.0, 0.0, 1.0]];
        let shear = self.shear * std::f64::consts::PI / 180.0;
        let shear = [
            [1.0, -shear.sin(), 0.0],
            [0.0, shear.cos(), 0.0],
            [0.0, 0.0, 1.0],
        ];
        let zoom = [[self.zx, 0.0, 0.0], [0.0, self.zy, 0.0], [0.0, 0.0, 1.0]];
        let matrix = [rotation, shift, shear, zoom]
            .into_iter()
            .fold(IDENTITY, compose);
        // After the exchange, the first row of the (row, column) matrix computes the column, as in
        // this map.
        about(
            [height as f64 / 2.0 - 0.5, width as f64 / 2.0 - 0.5],
            matrix,
        )
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

/// Returns the product of two matrices: the map that applies `second` first and `first` to its
/// result.
pub(super) fn compose(first: Map, second: Map) -> Map {
    first.map(|row| {
        [0, 1, 2].map(|column| {
            row[0] * second[0][column] + row[1] * second[1][column] + row[2] * second[2][column]
        })
    })
}

/// Returns `map` with the point (x, y) as its origin.
fn about([x, y]: [f64; 2], map: Map) -> Map {
    let to = |x: f64, y: f64| [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
    compose(compose(to(x, y), map), to(-x, -y))
}

/// Returns `map` with the image's center as its origin.
pub(super) fn about_centre(map: Map, [height, width]: [usize; 2]) -> Map {
    about(
        [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0],
        map,
    )
}

/// Rounds to multiples of 2^-40, so that a quarter turn maps whole pixels to whole pixels in spite
/// of rounding errors.
pub(super) fn snap(map: Map) -> Map {
    const STEP: f64 = 1.0 / (1u64 << 40) as f64;
    map.map(|row| row.map(|value| (value / STEP).round() * STEP))
}

/// Returns the map that mirrors left and right, top and bottom, or neither.
fn mirror([horizontal, vertical]: [bool; 2], [height, width]: [usize; 2]) -> Map {
    let line = |on: bool, side: usize| {
        if on {
            (-1.0, side as f64 - 1.0)
        } else {
            (1.0, 0.0)
        }
    };
    let ((sx, x), (sy, y)) = (line(horizontal, width), line(vertical, height));
    [[sx, 0.0, x], [0.0, sy, y], [0.0, 0.0, 1.0]]
}

/// Returns whether columns and rows are mirrored if `map` does nothing else, or `None` if it does
/// more.
pub(super) fn mirrors(map: &Map, [height, width, _]: [usize; 3]) -> Option<[bool; 2]> {
    [[false, false], [true, false], [false, true], [true, true]]
        .into_iter()
        .find(|flips| mirror(*flips, [height, width]) == *map)
}

/// Draws a part of the image that fills the whole result: the first of ten random rectangles that
/// fits, else a centered one (torchvision's `RandomResizedCrop`).
pub(super) fn crop(
    settings: &ResizedCrop,
    [height, width]: [usize; 2],
    stream: &mut Stream,
) -> Map {
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
        let at = [(); 2].map(|()| stream.random::<f64>());
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

/// Moves each corner towards the center by up to `distortion` of half a side (torchvision's
/// `RandomPerspective`).
pub(super) fn perspective(
    distortion: f64,
    [height, width]: [usize; 2],
    stream: &mut Stream,
) -> Map {
    let (right, bottom) = (width as f64 - 1.0, height as f64 - 1.0);
    let mut inwards = |side: f64| stream.random::<f64>() * distortion * side / 2.0;
    let corners = [
        [inwards(right), inwards(bottom)],
        [right - inwards(right), inwards(bottom)],
        [right - inwards(right), bottom - inwards(bottom)],
        [inwards(right), bottom - inwards(bottom)],
    ];
    let to_quad = unit_square_to(corners);
    let to_source = [[right, 0.0, 0.0], [0.0, bottom, 0.0], [0.0, 0.0, 1.0]];
    let map = compose(to_source, inverse(to_quad));
    // A homogeneous map is defined up to a factor; this one gives the center a depth of 1.
    let depth = map[2][0] * right / 2.0 + map[2][1] * bottom / 2.0 + map[2][2];
    map.map(|row| row.map(|value| value / depth))
}

/// Returns the map from the corners of the unit square, clockwise from the upper left, to four
/// points (Heckbert 1989, section 2.2.3).
fn unit_square_to([a, b, c, d]: [[f64; 2]; 4]) -> Map {
    let sum = [0, 1].map(|axis| a[axis] - b[axis] + c[axis] - d[axis]);
    let (u, v) = ([b[0] - c[0], b[1] - c[1]], [d[0] - c[0], d[1] - c[1]]);
    let area = u[0] * v[1] - v[0] * u[1];
    let g = (sum[0] * v[1] - v[0] * sum[1]) / area;
    let h = (u[0] * sum[1] - sum[0] * u[1]) / area;
    let line = |axis: usize| {
        [
            b[axis] - a[axis] + g * b[axis],
            d[axis] - a[axis] + h * d[axis],
            a[axis],
        ]
    };
    [line(0), line(1), [g, h, 1.0]]
}

/// Returns the inverse up to a factor.
fn inverse(m: Map) -> Map {
    let minor = |r: [usize; 2], c: [usize; 2]| {
        m[r[0]][c[0]] * m[r[1]][c[1]] - m[r[0]][c[1]] * m[r[1]][c[0]]
    };
    [
        [
            minor([1, 2], [1, 2]),
            -minor([0, 2], [1, 2]),
            minor([0, 1], [1, 2]),
        ],
        [
            -minor([1, 2], [0, 2]),
            minor([0, 2], [0, 2]),
            -minor([0, 1], [0, 2]),
        ],
        [
            minor([1, 2], [0, 1]),
            -minor([0, 2], [0, 1]),
            minor([0, 1], [0, 1]),
        ],
    ]
}
