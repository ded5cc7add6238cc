//! Random changes to one training picture: bytes `[height, width, channels]` in, grey levels 0 to 255 `[channels, height, width]` out.
//!
//! Order: one inverse affine map (shifts, rotation, shear, zoom, flips), channel shift, brightness. The draws of a picture come
//! from streams of its own, one a family, each number drawn whether or not its option is on, so that switching one
//! option leaves the draws of the others as they were.

mod affine;
mod color;

pub use affine::planar;
use affine::{Affine, identity};

use crate::{
    base::rng::{Purpose, Stream, stream, uniform},
    config::Augment,
};

/// Changes pictures of one shape.
#[derive(Clone, Debug)]
pub struct Augmenter {
    settings: Augment,
    shape: [usize; 3],
    seed: u64,
}

/// Which draw of which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Counted from 0.
    pub epoch: usize,
    /// Position of the picture in the training set.
    pub picture: usize,
    /// How often it was drawn before in this epoch.
    pub repeat: usize,
}

impl Augmenter {
    /// For pictures of `[height, width, channels]`, under the run's `seed`.
    pub fn new(settings: &Augment, shape: [usize; 3], seed: u64) -> Self {
        Self { settings: settings.clone(), shape, seed }
    }

    /// The changed picture.
    ///
    /// # Shapes
    /// `[height, width, channels]` bytes in, `[channels, height, width]` out.
    pub fn apply(&self, bytes: &[u8], key: Key) -> Vec<f32> {
        if !self.settings.is_active() {
            return planar(bytes, self.shape);
        }
        let [height, width, _] = self.shape;
        let geometry = Geometry::draw(&self.settings, [height, width], &mut self.stream(Purpose::Geometry, key));
        let map = geometry.inverse_map([height, width]);
        let fill = affine::Fill { mode: self.settings.fill_mode, value: self.settings.cval.unwrap_or(0.0) };
        let mut levels = if map == identity() { planar(bytes, self.shape) } else { affine::warp(bytes, self.shape, map, fill) };
        let color = color::Shift::draw(&self.settings, &mut self.stream(Purpose::Color, key));
        color.apply(&mut levels);
        levels
    }

    fn stream(&self, purpose: Purpose, key: Key) -> Stream {
        stream(self.seed, purpose, [key.epoch as u64, key.picture as u64, key.repeat as u64])
    }
}

/// Drawn geometry, of the inverse map: where an output pixel comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Geometry {
    /// Radians; positive turns the picture counter-clockwise.
    rotation: f64,
    /// Pixels to the right and down in the source.
    shift: [f64; 2],
    /// Radians.
    shear: f64,
    /// Width and height; below 1 magnifies.
    zoom: [f64; 2],
    /// Left-right and top-bottom.
    flip: [bool; 2],
}

impl Geometry {
    fn draw(settings: &Augment, [height, width]: [usize; 2], stream: &mut Stream) -> Self {
        let mut either_way = |range: f64| uniform(stream, -range, range);
        let rotation = either_way(settings.rotation_range).to_radians();
        let down = either_way(pixels(settings.height_shift_range, height));
        let right = either_way(pixels(settings.width_shift_range, width));
        let shear = either_way(settings.shear_range).to_radians();
        let [low, high] = settings.zoom_range.pair();
        let zoom = [(); 2].map(|()| uniform(stream, low, high));
        let flip = [settings.horizontal_flip, settings.vertical_flip].map(|on| (uniform(stream, 0.0, 1.0) < 0.5) & on);
        Self { rotation, shift: [right, down], shear, zoom, flip }
    }

    /// Output column and row to source column and row: rotation, shift, shear and zoom about the picture's centre
    /// (Keras's order of factors), after the flips.
    fn inverse_map(&self, [height, width]: [usize; 2]) -> Affine {
        let (sine, cosine) = self.rotation.sin_cos();
        let rotation = [[cosine, -sine, 0.0], [sine, cosine, 0.0]];
        let shift = [[1.0, 0.0, self.shift[0]], [0.0, 1.0, self.shift[1]]];
        let shear = [[1.0, -self.shear.sin(), 0.0], [0.0, self.shear.cos(), 0.0]];
        let zoom = [[self.zoom[0], 0.0, 0.0], [0.0, self.zoom[1], 0.0]];
        let center = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
        let about_center = affine::about(center, [rotation, shift, shear, zoom].into_iter().reduce(affine::compose).unwrap_or(identity()));
        let mirror = |on: bool, length: usize| if on { (-1.0, length as f64 - 1.0) } else { (1.0, 0.0) };
        let ((sx, ox), (sy, oy)) = (mirror(self.flip[0], width), mirror(self.flip[1], height));
        affine::compose(about_center, [[sx, 0.0, ox], [0.0, sy, oy]])
    }
}

/// A shift range in pixels: below 1 it is a share of the length.
fn pixels(range: f64, length: usize) -> f64 {
    if range < 1.0 { range * length as f64 } else { range }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FillMode, Zoom};

    const SHAPE: [usize; 3] = [5, 8, 2];

    /// No two values alike, not square, nothing symmetric.
    fn picture() -> Vec<u8> {
        (0..80).map(|index| (index * 3) as u8).collect()
    }

    fn key(picture: usize) -> Key {
        Key { epoch: 1, picture, repeat: 0 }
    }

    fn geometry() -> Geometry {
        Geometry { rotation: 0.0, shift: [0.0; 2], shear: 0.0, zoom: [1.0; 2], flip: [false; 2] }
    }

    fn warped(geometry: Geometry, mode: FillMode) -> Vec<f32> {
        affine::warp(&picture(), SHAPE, geometry.inverse_map([5, 8]), affine::Fill { mode, value: 255.0 })
    }

    /// Channel 1 of the source at a row and column.
    fn at(levels: &[f32], row: usize, column: usize) -> f32 {
        levels[40 + row * 8 + column]
    }

    #[test]
    fn flips_shifts_and_half_turns_put_each_pixel_where_they_should() {
        let plain = planar(&picture(), SHAPE);
        type Source = fn(usize, usize) -> Option<(usize, usize)>;
        let cases: [(&str, Geometry, Source); 5] = [
            ("left-right flip", Geometry { flip: [true, false], ..geometry() }, |row, column| Some((row, 7 - column))),
            ("top-bottom flip", Geometry { flip: [false, true], ..geometry() }, |row, column| Some((4 - row, column))),
            ("half turn", Geometry { rotation: std::f64::consts::PI, ..geometry() }, |row, column| Some((4 - row, 7 - column))),
            ("two columns to the right in the source", Geometry { shift: [2.0, 0.0], ..geometry() }, |row, column| {
                (column + 2 < 8).then_some((row, column + 2))
            }),
            ("one row up in the source", Geometry { shift: [0.0, -1.0], ..geometry() }, |row, column| {
                row.checked_sub(1).map(|row| (row, column))
            }),
        ];
        for (name, geometry, source) in cases {
            let got = warped(geometry, FillMode::Constant);
            for row in 0..5 {
                for column in 0..8 {
                    let expected = source(row, column).map_or(255.0, |(row, column)| at(&plain, row, column));
                    assert!(
                        (at(&got, row, column) - expected).abs() < 1e-3,
                        "{name} at {row}, {column}: {} {expected}",
                        at(&got, row, column)
                    );
                }
            }
        }
    }

    #[test]
    fn a_quarter_turn_is_counter_clockwise_as_in_keras() {
        // A square part so that a quarter turn stays inside: the pixel in the middle of the top goes to the middle of the left.
        let mut picture = vec![0; 25];
        picture[2] = 100;
        let turn = Geometry { rotation: std::f64::consts::FRAC_PI_2, ..geometry() };
        let fill = affine::Fill { mode: FillMode::Constant, value: 0.0 };
        let got = affine::warp(&picture, [5, 5, 1], turn.inverse_map([5, 5]), fill);
        assert!((got[10] - 100.0).abs() < 1e-3, "{got:?}");
    }

    #[test]
    fn zoom_below_one_magnifies_about_the_centre() {
        let plain = planar(&picture(), SHAPE);
        let got = warped(Geometry { zoom: [0.5, 1.0], ..geometry() }, FillMode::Nearest);
        // Columns 3 and 4 straddle the centre at 3.5: they move to 3.25 and 3.75.
        let expected = at(&plain, 2, 3) * 0.75 + at(&plain, 2, 4) * 0.25;
        assert!((at(&got, 2, 3) - expected).abs() < 1e-3);
    }

    #[test]
    fn draws_repeat_by_key_and_switching_one_option_leaves_the_others() {
        let all = Augment {
            rotation_range: 20.0,
            width_shift_range: 0.1,
            zoom_range: Zoom::Around(0.2),
            horizontal_flip: true,
            ..Augment::default()
        };
        let draw = |settings: &Augment| Geometry::draw(settings, [5, 8], &mut stream(1, Purpose::Geometry, [0, 3, 0]));
        let (with, without) = (draw(&all), draw(&Augment { rotation_range: 0.0, zoom_range: Zoom::Around(0.0), ..all.clone() }));
        assert_eq!((with.shift, with.flip), (without.shift, without.flip));
        assert_eq!((without.rotation, without.zoom), (0.0, [1.0; 2]));
        let augmenter = Augmenter::new(&all, SHAPE, 9);
        assert_eq!(augmenter.apply(&picture(), key(3)), augmenter.apply(&picture(), key(3)));
        assert_ne!(augmenter.apply(&picture(), key(3)), augmenter.apply(&picture(), key(4)));
    }

    #[test]
    fn draws_fill_their_range_and_stay_inside() {
        let settings = Augment { rotation_range: 30.0, height_shift_range: 0.4, width_shift_range: 3.0, ..Augment::default() };
        let draws: Vec<_> =
            (0..500).map(|index| Geometry::draw(&settings, [5, 8], &mut stream(1, Purpose::Geometry, [0, index, 0]))).collect();
        let extremes =
            |value: fn(&Geometry) -> f64| draws.iter().map(value).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        for (name, (low, high), limit) in [
            ("rotation", extremes(|draw| draw.rotation.to_degrees()), 30.0),
            ("down", extremes(|draw| draw.shift[1]), 2.0),
            ("right", extremes(|draw| draw.shift[0]), 3.0),
        ] {
            assert!(low >= -limit && high <= limit && low < -0.9 * limit && high > 0.9 * limit, "{name}: {low} to {high}");
        }
    }

    #[test]
    fn nothing_switched_on_changes_nothing() {
        assert_eq!(Augmenter::new(&Augment::default(), SHAPE, 9).apply(&picture(), key(0)), planar(&picture(), SHAPE));
    }
}
