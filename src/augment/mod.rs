//! Random augmentation of training images: bytes `[height, width, channels]` in, values
//! `[channels, height, width]` out.
//!
//! An image's changes are drawn first, as a [`Plan`]: a single map for everything that moves
//! pixels, so that they are interpolated once, then changes of the pixel values in a fixed order.
//! Each family of changes draws from its own stream, keyed by (seed, family, epoch, image), so that
//! turning one on or off leaves the draws of the others as they were.

mod change;
mod color;
mod filters;
mod geometry;
mod mixing;
mod plan;
mod policy;

pub use change::{Change, Plan};
pub use filters::blur;
pub use mixing::Mixer;
use pixel_sampling::{Edge, Finish, Image, sample, sample_unmoved};

use crate::{
    base::rng::{Purpose, Stream, stream},
    config::{Augment, FillMode},
};

/// Augments images of one shape.
#[derive(Clone, Debug)]
pub struct Augmenter {
    settings: Augment,
    shape: [usize; 3],
    seed: u64,
}

/// Identifies one draw of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// Index of the image in the training set.
    pub image: usize,
    /// Number of times the image was drawn before in this epoch.
    pub repeat: usize,
}

impl Key {
    /// Opens the random stream of this draw for one family.
    fn stream(self, seed: u64, purpose: Purpose) -> Stream {
        stream(
            seed,
            purpose,
            [self.epoch as u64, self.image as u64, self.repeat as u64],
        )
    }
}

impl Augmenter {
    /// Creates an augmenter for images of `[height, width, channels]`; `seed` is that of the run.
    pub fn new(settings: &Augment, shape: [usize; 3], seed: u64) -> Self {
        Self {
            settings: settings.clone(),
            shape,
            seed,
        }
    }

    /// Draws the changes to an image.
    pub fn plan(&self, key: Key) -> Plan {
        plan::draw(&self.settings, self.shape, &|purpose| {
            key.stream(self.seed, purpose)
        })
    }

    /// Augments an image and appends it to `out`, with the affine transform of `finish` applied to
    /// each value if it is given.
    ///
    /// # Shapes
    /// `[height, width, channels]` bytes to `[channels, height, width]` values.
    ///
    /// # Panics
    /// Panics if `bytes` have another shape.
    pub fn write(&self, bytes: &[u8], key: Key, finish: Option<&Finish>, out: &mut Vec<f32>) {
        self.plan(key)
            .write(bytes, self.shape, self.edge(), finish, out);
    }

    /// Returns the values of pixels outside the image.
    pub fn edge(&self) -> Edge {
        match self.settings.fill_mode {
            FillMode::Nearest => Edge::Nearest,
            FillMode::Constant => Edge::Constant(self.settings.cval.unwrap_or(0.0)),
            FillMode::Reflect => Edge::Reflect,
            FillMode::Wrap => Edge::Wrap,
        }
    }
}

impl Plan {
    /// Applies the changes to an image and appends the result to `out`.
    ///
    /// # Shapes
    /// `[height, width, channels]` bytes to `[channels, height, width]` values.
    ///
    /// # Panics
    /// Panics if `bytes` have another shape.
    pub fn write(
        &self,
        bytes: &[u8],
        shape: [usize; 3],
        edge: Edge,
        finish: Option<&Finish>,
        out: &mut Vec<f32>,
    ) {
        let image = Image::new(bytes, shape)
            .expect("images have the shape that the augmenter was made for");
        let put = |finish: &Finish, out: &mut Vec<f32>| match geometry::mirrors(&self.map, shape) {
            // Mirroring alone needs no interpolation and copies whole rows.
            Some(mirrors) => sample_unmoved(image, mirrors, finish, out),
            None => sample(image, &self.map, edge, finish, out),
        };
        // Brightness alone is part of the sampling pass, which spares a pass over the values.
        let gain = match self.changes[..] {
            [] => Some(1.0),
            [Change::Brightness(factor)] => Some(factor),
            _ => None,
        };
        if let Some(gain) = gain {
            return put(
                &Finish {
                    gain,
                    ..*finish.unwrap_or(&Finish::LEVELS)
                },
                out,
            );
        }
        let start = out.len();
        put(&Finish::LEVELS, out);
        let levels = &mut out[start..];
        self.changes
            .iter()
            .for_each(|change| change.apply(levels, shape));
        if let Some(finish) = finish {
            finish.normalize(levels, shape[2]);
        }
    }
}

/// Rounds pixel values to bytes and interleaves the channels.
///
/// # Shapes
/// `[channels, height, width]` to `[height, width, channels]`.
pub fn to_bytes(levels: &[f32], [height, width, channels]: [usize; 3]) -> Vec<u8> {
    let plane = height * width;
    (0..plane * channels)
        .map(|index| color::to_byte(levels[index % channels * plane + index / channels]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{geometry::Geometry, *};
    use crate::config::{Mixing, Policy, Ranged, ResizedCrop, Semantics, Shift, Zoom};
    use proptest::prelude::*;

    const SHAPE: [usize; 3] = [9, 14, 3];

    /// An image without symmetry that is not square.
    pub(super) fn image([height, width, channels]: [usize; 3]) -> Vec<u8> {
        (0..height * width * channels)
            .map(|index| {
                let (row, column, channel) = (
                    index / channels / width,
                    index / channels % width,
                    index % channels,
                );
                (row * 37 + column * 91 + channel * 53 + row * column * 7) as u8
            })
            .collect()
    }

    fn key(image: usize) -> Key {
        Key {
            epoch: 1,
            image,
            repeat: 0,
        }
    }

    fn levels(settings: &Augment, shape: [usize; 3], image: &[u8], key: Key) -> Vec<f32> {
        let mut out = Vec::new();
        Augmenter::new(settings, shape, 9).write(image, key, None, &mut out);
        out
    }

    fn plain(shape: [usize; 3], image: &[u8]) -> Vec<f32> {
        levels(&Augment::default(), shape, image, key(0))
    }

    fn ranged(low: f64, high: f64) -> Option<Ranged> {
        Some(Ranged {
            probability: 1.0,
            range: [low, high],
        })
    }

    /// Each family alone, by name.
    fn families() -> Vec<(&'static str, Augment)> {
        [
            ("rotation", "rotation_range = 40"),
            ("width shift", "width_shift_range = 0.3"),
            ("height shift", "height_shift_range = [-3.0, 2.0]"),
            ("shear", "shear_range = 30"),
            ("zoom", "zoom_range = 0.4"),
            ("horizontal flip", "horizontal_flip = true"),
            ("vertical flip", "vertical_flip = true"),
            ("brightness", "brightness_range = [0.5, 1.5]"),
            ("channel shift", "channel_shift_range = 60"),
            ("crop", "random_resized_crop = {}"),
            ("perspective", "perspective = { range = [0.2, 0.6] }"),
            ("contrast", "contrast = { range = [0.4, 0.8] }"),
            ("gamma", "gamma = { range = [1.2, 2.0] }"),
            ("saturation", "saturation = { range = [0.1, 0.5] }"),
            ("hue", "hue = { range = [20, 90] }"),
            ("grey", "random_gray = { probability = 0.5 }"),
            (
                "policy",
                "policy = { kind = 'rand_augment', num_ops = 3, magnitude = 12 }",
            ),
            ("trivial", "policy = { kind = 'trivial_augment' }"),
            ("blur", "gaussian_blur = { range = [0.5, 2.0] }"),
            ("sharpen", "sharpen = { range = [1.5, 3.0] }"),
            ("noise", "gaussian_noise = { range = [5, 20] }"),
            ("jpeg", "jpeg = { range = [10, 40] }"),
            ("erasing", "random_erasing = { value = 'noise' }"),
        ]
        .map(|(name, settings)| (name, toml::from_str(settings).expect("settings")))
        .into()
    }

    /// All families at once; a later setting replaces an earlier one of the same key.
    fn all() -> Augment {
        let mut table = toml::Table::new();
        for (_, family) in families() {
            let defaults = toml::Table::try_from(Augment::default()).expect("a table");
            let set = toml::Table::try_from(family).expect("a table");
            table.extend(
                set.into_iter()
                    .filter(|(key, value)| defaults.get(key) != Some(value)),
            );
        }
        table.try_into().expect("settings")
    }

    #[test]
    fn each_family_changes_images_repeats_by_key_and_stays_in_range() {
        for shape in [SHAPE, [11, 8, 1]] {
            let source = image(shape);
            for (name, family) in families() {
                if shape[2] == 1 && ["saturation", "hue", "grey"].contains(&name) {
                    continue;
                }
                let draws: Vec<_> = (0..40)
                    .map(|index| levels(&family, shape, &source, key(index)))
                    .collect();
                assert_eq!(
                    draws[3],
                    levels(&family, shape, &source, key(3)),
                    "{name} repeats"
                );
                let changed = draws
                    .iter()
                    .filter(|draw| **draw != plain(shape, &source))
                    .count();
                assert!(changed >= 10, "{name} changes {changed} of 40 images");
                assert!(
                    draws
                        .iter()
                        .flatten()
                        .all(|level| (0.0..=255.0).contains(level)),
                    "{name} stays within 0 to 255"
                );
                let kinds = draws.iter().filter(|draw| **draw != draws[0]).count();
                assert!(kinds >= 10, "{name} draws anew for each image");
            }
        }
    }

    #[test]
    fn switching_one_family_off_leaves_what_the_others_draw() {
        let with_all: Vec<_> = (0..30)
            .map(|index| Augmenter::new(&all(), SHAPE, 9).plan(key(index)))
            .collect();
        for (name, family) in families() {
            // Families that share a map or a policy with others can't be told apart in it.
            let alone: Vec<_> = (0..30)
                .map(|index| Augmenter::new(&family, SHAPE, 9).plan(key(index)))
                .collect();
            if alone
                .iter()
                .any(|plan| plan.map != pixel_sampling::IDENTITY)
                || ["policy", "trivial"].contains(&name)
            {
                continue;
            }
            for (all, alone) in with_all.iter().zip(&alone) {
                assert!(
                    alone
                        .changes
                        .iter()
                        .all(|change| all.changes.contains(change)),
                    "{name}: {:?} {:?}",
                    alone.changes,
                    all.changes
                );
            }
        }
        let moved = Augment {
            rotation_range: 20.0,
            zoom_range: Zoom::Around(0.2),
            horizontal_flip: true,
            ..Augment::default()
        };
        let unmoved = Augment {
            horizontal_flip: true,
            ..Augment::default()
        };
        let flips = |settings: &Augment| -> Vec<bool> {
            (0..40)
                .map(|index| Augmenter::new(settings, SHAPE, 9).plan(key(index)).map[0][0] < 0.0)
                .collect()
        };
        assert_eq!(flips(&moved), flips(&unmoved));
    }

    #[test]
    fn settings_that_change_nothing_leave_every_pixel() {
        let still = Augment {
            zoom_range: Zoom::Pair([1.0, 1.0]),
            brightness_range: Some([1.0, 1.0]),
            contrast: ranged(1.0, 1.0),
            saturation: ranged(1.0, 1.0),
            hue: ranged(0.0, 0.0),
            sharpen: ranged(1.0, 1.0),
            gaussian_blur: ranged(0.0, 0.0),
            gaussian_noise: ranged(0.0, 0.0),
            perspective: ranged(0.0, 0.0),
            random_resized_crop: Some(ResizedCrop {
                probability: 1.0,
                scale: [1.0, 1.0],
                ratio: [14.0 / 9.0, 14.0 / 9.0],
            }),
            policy: Some(Policy::RandAugment {
                probability: 1.0,
                num_ops: 1,
                magnitude: 0,
            }),
            ..Augment::default()
        };
        let source = image(SHAPE);
        // Some of RandAugment's operations have no strength that could be zero.
        let strengthless = |plan: &Plan| {
            plan.changes.iter().any(|change| {
                matches!(
                    change,
                    Change::AutoContrast | Change::Equalize | Change::Solarize(_)
                )
            })
        };
        let mut seen = 0;
        for index in 0..60 {
            if strengthless(&Augmenter::new(&still, SHAPE, 9).plan(key(index))) {
                continue;
            }
            seen += 1;
            for (got, expected) in levels(&still, SHAPE, &source, key(index))
                .iter()
                .zip(plain(SHAPE, &source))
            {
                assert!((got - expected).abs() < 2e-3, "{got} {expected}");
            }
        }
        assert!(seen > 20);
    }

    #[test]
    fn draws_fill_their_ranges_and_stay_inside() {
        let settings = Augment {
            brightness_range: Some([0.4, 1.7]),
            channel_shift_range: 30.0,
            jpeg: ranged(20.0, 60.0),
            gamma: ranged(0.5, 2.0),
            ..Augment::default()
        };
        let augmenter = Augmenter::new(&settings, SHAPE, 9);
        let mut seen = [(f32::MAX, f32::MIN); 4];
        for index in 0..600 {
            for change in augmenter.plan(key(index)).changes {
                let (slot, value) = match change {
                    Change::Brightness(value) => (0, value),
                    Change::ChannelShift(value) => (1, value),
                    Change::Jpeg(value) => (2, f32::from(value)),
                    Change::Gamma(value) => (3, value),
                    other => panic!("{other:?}"),
                };
                seen[slot] = (seen[slot].0.min(value), seen[slot].1.max(value));
            }
        }
        for ((low, high), (least, most)) in
            seen.into_iter()
                .zip([(0.4, 1.7), (-30.0, 30.0), (20.0, 60.0), (0.5, 2.0)])
        {
            let slack = 0.03 * (most - least);
            assert!(
                low >= least && low < least + slack && high <= most && high > most - slack,
                "{low} to {high} of {least} to {most}"
            );
        }
    }

    #[test]
    fn a_probability_is_a_share_of_the_images() {
        let settings = Augment {
            jpeg: Some(Ranged {
                probability: 0.3,
                range: [50.0, 60.0],
            }),
            ..Augment::default()
        };
        let count = (0..2000)
            .filter(|index| {
                !Augmenter::new(&settings, SHAPE, 9)
                    .plan(key(*index))
                    .changes
                    .is_empty()
            })
            .count();
        assert!((540..=660).contains(&count), "{count} of 2000");
    }

    #[test]
    fn a_finish_is_the_same_in_one_pass_and_after_changes() {
        let source = image(SHAPE);
        let mut finish = Finish::LEVELS;
        for (index, channel) in finish.channels.iter_mut().enumerate() {
            *channel = pixel_sampling::Channel {
                scale: 0.01 * (index + 1) as f32,
                offset: index as f32,
                plane: 2 - index,
            };
        }
        for (name, family) in families() {
            let augmenter = Augmenter::new(&family, SHAPE, 9);
            let (mut finished, mut levels) = (Vec::new(), Vec::new());
            augmenter.write(&source, key(5), Some(&finish), &mut finished);
            augmenter.write(&source, key(5), None, &mut levels);
            finish.normalize(&mut levels, 3);
            assert!(
                finished
                    .iter()
                    .zip(&levels)
                    .all(|(a, b)| (a - b).abs() < 1e-5),
                "{name}"
            );
        }
    }

    #[test]
    fn a_class_has_its_own_settings_in_place_of_the_common_ones() {
        let text = "rotation_range = 10\nhorizontal_flip = true\n[class.a]\nrotation_range = 0\n\
                    vertical_flip = true\n[class.b]\ninherit = false\nshear_range = 3\n";
        let settings: Augment = toml::from_str(text).expect("settings");
        let of = |class: &str| settings.for_class(class).expect("checked");
        assert_eq!(
            (
                of("a").rotation_range,
                of("a").horizontal_flip,
                of("a").vertical_flip
            ),
            (0.0, true, true)
        );
        assert_eq!(
            of("b"),
            Augment {
                shear_range: 3.0,
                ..Augment::default()
            }
        );
        assert_eq!(
            (of("c").rotation_range, of("c").vertical_flip),
            (10.0, false)
        );
    }

    proptest! {
        #[test]
        fn a_flip_twice_is_no_flip(
            side in 8usize..40,
            height in 8usize..40,
            flip_horizontal: bool,
            flip_vertical: bool,
        ) {
            let shape = [height, side, 3];
            let source = image(shape);
            let flip = Geometry { flip_horizontal, flip_vertical, ..Geometry::NONE };
            let map = flip.map([height, side], Semantics::Standard);
            let once = Plan { map, changes: Vec::new() };
            let mut out = Vec::new();
            once.write(&source, shape, Edge::Nearest, None, &mut out);
            let flipped: Vec<u8> = (0..source.len())
                .map(|index| out[index % 3 * height * side + index / 3] as u8)
                .collect();
            let twice = Plan { map: geometry::compose(map, map), ..once.clone() };
            prop_assert_eq!(twice.map, pixel_sampling::IDENTITY);
            out.clear();
            once.write(&flipped, shape, Edge::Nearest, None, &mut out);
            prop_assert_eq!(&out, &plain(shape, &source));
        }

        #[test]
        fn a_quarter_turn_of_a_square_is_exact(side in 8usize..40) {
            type Turned = fn(usize, usize, usize) -> [usize; 2];
            let shape = [side, side, 1];
            let source = image(shape);
            let turns: [(f64, Turned); 2] = [
                (1.0, |row, column, side| [column, side - 1 - row]),
                (2.0, |row, column, side| [side - 1 - row, side - 1 - column]),
            ];
            for (quarters, at) in turns {
                let turn = Geometry { theta: 90.0 * quarters, ..Geometry::NONE };
                let map = turn.map([side, side], Semantics::Standard);
                let mut out = Vec::new();
                let plan = Plan { map, changes: Vec::new() };
                plan.write(&source, shape, Edge::Constant(7.5), None, &mut out);
                for (index, level) in out.iter().enumerate() {
                    let [row, column] = at(index / side, index % side, side);
                    let expected = f32::from(source[row * side + column]);
                    prop_assert_eq!(*level, expected, "quarters {}, at {}", quarters, index);
                }
            }
        }
    }

    #[test]
    fn a_shift_moves_the_image_to_where_it_says() {
        let source = image(SHAPE);
        let plain = plain(SHAPE, &source);
        let right = Augment {
            width_shift_range: Shift::Among(vec![3.0]),
            ..Augment::default()
        };
        let down = Augment {
            height_shift_range: Shift::Among(vec![2.0]),
            ..Augment::default()
        };
        let (right, down) = (
            levels(&right, SHAPE, &source, key(0)),
            levels(&down, SHAPE, &source, key(0)),
        );
        for row in 2..9 {
            for column in 3..14 {
                assert_eq!(right[row * 14 + column], plain[row * 14 + column - 3]);
                assert_eq!(down[row * 14 + column], plain[(row - 2) * 14 + column]);
            }
        }
        // A whole number n draws from -(n - 1) to n - 1, as Keras documents it.
        let among: std::collections::BTreeSet<i64> = (0..200)
            .map(|index| {
                let whole = Augment {
                    width_shift_range: Shift::Pixels(3),
                    ..Augment::default()
                };
                -Augmenter::new(&whole, SHAPE, 9).plan(key(index)).map[0][2] as i64
            })
            .collect();
        assert_eq!(among.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
    }

    #[test]
    fn mixing_keeps_the_sum_of_targets_and_takes_from_the_next_image() {
        let mixing = |alpha| {
            Some(Mixing {
                probability: 1.0,
                alpha,
            })
        };
        for settings in [
            Augment {
                mixup: mixing(0.4),
                ..Augment::default()
            },
            Augment {
                cutmix: mixing(1.0),
                ..Augment::default()
            },
        ] {
            let mixer = Mixer::new(&settings, [2, 3, 1], 5).expect("mixes");
            for epoch in 0..50 {
                let keys: Vec<_> = (0..3)
                    .map(|image| Key {
                        epoch,
                        image,
                        repeat: 0,
                    })
                    .collect();
                let mut images: Vec<f32> = [10.0f32, 20.0, 40.0]
                    .iter()
                    .flat_map(|level| [*level; 6])
                    .collect();
                let mut targets = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
                let mut weights = vec![1.0, 2.0, 4.0];
                mixer.mix(&keys, &mut images, &mut targets, &mut weights);
                for index in 0..3 {
                    let share = targets[index * 4];
                    let partner = targets[index * 3 + (index + 1) % 3];
                    assert!((share + partner - 1.0).abs() < 1e-6, "{targets:?}");
                    let mean = images[index * 6..(index + 1) * 6].iter().sum::<f32>() / 6.0;
                    let (own, other) = ([10.0, 20.0, 40.0][index], [20.0, 40.0, 10.0][index]);
                    assert!(
                        (mean - own * share - other * partner).abs() < 1e-4,
                        "{mean} of {own} and {other} at {share}"
                    );
                    assert!(
                        (weights[index] - own / 10.0 * share - other / 10.0 * partner).abs() < 1e-5
                    );
                }
            }
        }
        assert!(Mixer::new(&Augment::default(), [2, 3, 1], 5).is_none());
    }
}
