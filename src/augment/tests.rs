//! Laws that each family keeps, and what is special about some.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    color::{
        brightness::{Brighten, ChannelShift},
        gamma::Gamma,
        pillow::{AutoContrast, Equalize, Solarize},
    },
    families::FAMILIES,
    filters::jpeg::Compress,
    geometry::{compose, transform::Transform},
    *,
};
use crate::base::rng::AUGMENTATION;

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

fn levels(settings: &Settings, shape: [usize; 3], image: &[u8], key: Key) -> Vec<f32> {
    let mut out = Vec::new();
    Augmenter::new(settings, shape, 9).write(image, key, None, &mut out);
    out
}

fn plain(shape: [usize; 3], image: &[u8]) -> Vec<f32> {
    levels(&Settings::default(), shape, image, key(0))
}

fn plan(settings: &Settings, image: usize) -> Plan {
    Augmenter::new(settings, SHAPE, 9).plan(key(image))
}

pub(super) fn settings(text: &str) -> Settings {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Settings as they stand in an inline table.
fn inline(text: &str) -> Settings {
    let table: toml::Table = toml::from_str(&format!("all = {{ {text} }}")).expect(text);
    table["all"].clone().try_into().expect(text)
}

/// The examples of all families that change images one by one, by name.
fn examples() -> Vec<(&'static str, Settings)> {
    FAMILIES
        .iter()
        .filter(|family| !family.mixes())
        .flat_map(|family| family.examples())
        .map(|example| (example.name, inline(example.settings)))
        .collect()
}

/// All families at once, each as in its first example.
fn all() -> Settings {
    let text: Vec<_> = FAMILIES
        .iter()
        .map(|family| family.examples()[0].settings)
        .collect();
    inline(&text.join(", "))
}

#[test]
fn each_key_is_of_one_family_which_has_a_stream_and_examples_of_its_own() {
    let schema = schemars::schema_for!(Settings).to_value();
    let keys: BTreeSet<&str> = schema["properties"]
        .as_object()
        .expect("properties")
        .keys()
        .map(String::as_str)
        .collect();
    // What concerns several families.
    let mut seen = vec!["semantics", "fill_mode", "cval"];
    seen.extend(FAMILIES.iter().flat_map(|family| family.keys()));
    seen.sort_unstable();
    assert_eq!(seen, keys.into_iter().collect::<Vec<_>>());

    let streams: BTreeSet<_> = FAMILIES.iter().map(|family| family.stream()).collect();
    assert_eq!(streams.len(), FAMILIES.len(), "{streams:?}");
    let mut names = BTreeSet::new();
    for family in FAMILIES {
        let keys = family.keys();
        let is_allowed = AUGMENTATION
            .iter()
            .any(|range| range.contains(&family.stream()));
        assert!(is_allowed, "{keys:?} has the stream of another purpose");
        assert!(!family.examples().is_empty(), "{keys:?} has no example");
        for example in family.examples() {
            assert!(names.insert(example.name), "{} twice", example.name);
            let settings = inline(example.settings);
            let is_on =
                |row: &&&dyn families::Row| row.effect(&settings) != family::Effect::Nothing;
            let on: Vec<_> = FAMILIES
                .iter()
                .filter(is_on)
                .map(|row| row.keys())
                .collect();
            assert_eq!(on, [keys], "{} is of its family alone", example.name);
            assert!(settings.faults(true).is_empty(), "{}", example.name);
            let faults = settings.faults(false).len();
            assert_eq!(
                faults,
                usize::from(family.needs_color()),
                "{}",
                example.name
            );
        }
    }
}

#[test]
fn each_family_changes_images_repeats_by_key_and_stays_in_range() {
    for shape in [SHAPE, [11, 8, 1]] {
        let source = image(shape);
        for (name, example) in examples() {
            if shape[2] == 1 && !example.faults(false).is_empty() {
                continue;
            }
            let draws: Vec<_> = (0..40)
                .map(|index| levels(&example, shape, &source, key(index)))
                .collect();
            assert_eq!(
                draws[3],
                levels(&example, shape, &source, key(3)),
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
    let source = image(SHAPE);
    let with_all: Vec<_> = (0..30).map(|index| plan(&all(), index)).collect();
    // A change is recognized by its strength, and by what it does with its random numbers.
    let seen = |change: &dyn Change| {
        let mut levels = plain(SHAPE, &source);
        change.apply(&mut levels, SHAPE);
        (format!("{change:?}"), levels)
    };
    let mut compared = 0;
    for family in FAMILIES {
        let settings = inline(family.examples()[0].settings);
        // Families that share a map with others can't be told apart in it.
        if settings.resamples() {
            continue;
        }
        for (index, all) in with_all.iter().enumerate() {
            let all: Vec<_> = all.changes.iter().map(|change| seen(&**change)).collect();
            for change in plan(&settings, index).changes {
                assert!(all.contains(&seen(&*change)), "{change:?} of image {index}");
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "{compared}");
    let flips = |text: &str| -> Vec<bool> {
        let settings = settings(text);
        (0..40)
            .map(|index| plan(&settings, index).map[0][0] < 0.0)
            .collect()
    };
    assert_eq!(
        flips("horizontal_flip = true\nrotation_range = 20\nzoom_range = 0.2"),
        flips("horizontal_flip = true")
    );
}

#[test]
fn settings_that_change_nothing_leave_every_pixel() {
    let source = image(SHAPE);
    let plain = plain(SHAPE, &source);
    let mut texts: Vec<_> = FAMILIES
        .iter()
        .flat_map(|family| family.neutral())
        .map(|text| (*text).to_owned())
        .collect();
    texts.push(texts.join(", "));
    for text in texts {
        let still = inline(&text);
        let mut seen = 0;
        for index in 0..60 {
            // Some of RandAugment's operations have no strength that could be zero.
            let is_strengthless = |change: &dyn std::any::Any| {
                change.is::<AutoContrast>() || change.is::<Equalize>() || change.is::<Solarize>()
            };
            let changes = plan(&still, index).changes;
            if changes.iter().any(|change| is_strengthless(&**change)) {
                continue;
            }
            seen += 1;
            for (got, expected) in levels(&still, SHAPE, &source, key(index))
                .iter()
                .zip(&plain)
            {
                assert!((got - expected).abs() < 2e-3, "{text}: {got} {expected}");
            }
        }
        assert!(seen > 20, "{text}: {seen}");
    }
}

#[test]
fn draws_fill_their_ranges_and_stay_inside() {
    let settings = settings(
        "brightness_range = [0.4, 1.7]\nchannel_shift_range = 30\njpeg = { range = [20, 60] }\n\
         gamma = { range = [0.5, 2] }",
    );
    let mut seen = [(f32::MAX, f32::MIN); 4];
    for index in 0..600 {
        let changes = plan(&settings, index).changes;
        let values = changes.iter().map(|change| -> (usize, f32) {
            let change: &dyn std::any::Any = &**change;
            if let Some(Brighten(value)) = change.downcast_ref() {
                (0, *value)
            } else if let Some(ChannelShift(value)) = change.downcast_ref() {
                (1, *value)
            } else if let Some(Compress(value)) = change.downcast_ref() {
                (2, f32::from(*value))
            } else {
                let Gamma(value) = change.downcast_ref().expect("one of four");
                (3, *value)
            }
        });
        for (slot, value) in values {
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
    let settings = settings("jpeg = { probability = 0.3, range = [50, 60] }");
    let count = (0..2000)
        .filter(|index| !plan(&settings, *index).changes.is_empty())
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
    for (name, family) in examples() {
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
        let flip = Transform { flip_horizontal, flip_vertical, ..Transform::NONE };
        let map = flip.map([height, side], Semantics::Standard);
        let once = Plan { map, changes: Vec::new() };
        let mut out = Vec::new();
        once.write(&source, shape, Edge::Nearest, None, &mut out);
        let flipped: Vec<u8> = (0..source.len())
            .map(|index| out[index % 3 * height * side + index / 3] as u8)
            .collect();
        let twice = Plan { map: compose(map, map), changes: Vec::new() };
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
            let turn = Transform { theta: 90.0 * quarters, ..Transform::NONE };
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
    let right = settings("width_shift_range = [3.0]");
    let down = settings("height_shift_range = [2.0]");
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
    let whole = settings("width_shift_range = 3");
    let among: BTreeSet<i64> = (0..200)
        .map(|index| -plan(&whole, index).map[0][2] as i64)
        .collect();
    assert_eq!(among.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
}
