//! Checks the rules between options: values that can't work, and options that would have no effect.

mod augment;
mod autoencoder;
mod layers;
mod model;
mod normalize;
mod train;
mod transfer;

use toml::Table;

pub(super) use self::autoencoder::with_defaults;
use self::{
    augment::check_augment,
    autoencoder::check_autoencoder,
    layers::check_layers,
    model::check_model,
    normalize::check_normalize,
    train::{check_schedule, check_train},
    transfer::check_transfer,
};
use super::{Config, PHANTOM, Problem, Source, rules::Problems};
use crate::base::words::shortened;

/// Returns a problem for every value of `config` that can't work or has no effect. `table` tells
/// what the user wrote from what is a default.
pub(super) fn check(config: &Config, table: &Table) -> Vec<Problem> {
    let mut problems = Problems::default();
    check_data(config, &mut problems);
    check_augment(config, table, &mut problems);
    check_transfer(config, table, &mut problems);
    check_autoencoder(config, &mut problems);
    if check_layers(config, &mut problems) {
        check_model(config, &mut problems);
    }
    check_train(&config.train, &mut problems);
    check_schedule(&config.train.schedule, &mut problems);
    problems.0
}

/// Checks the recipe's name, which the run folder gets on any system.
fn check_name(name: &str, problems: &mut Problems) {
    const LONGEST: usize = 200;
    let wrong = match name
        .chars()
        .find(|letter| ['/', '\\', ':'].contains(letter))
    {
        _ if name.is_empty() => "is empty".to_owned(),
        Some(':') => "has a colon in it".to_owned(),
        Some(_) => "has a slash in it".to_owned(),
        None if name.starts_with('.') => "begins with a dot".to_owned(),
        None if name.len() > LONGEST => format!("has {} bytes, more than {LONGEST}", name.len()),
        None => return,
    };
    let better: String = name
        .trim_start_matches('.')
        .replace(['/', '\\'], "_")
        .replace(':', "-")
        .chars()
        .take(50)
        .collect();
    let example = if better.is_empty() { "run" } else { &better };
    problems.bad(
        "name",
        format!(
            "`{}` {wrong}, expected a name for the run folder, such as \"{example}\"",
            shortened(name)
        ),
    )
}

fn check_data(config: &Config, problems: &mut Problems) {
    let data = &config.data;
    check_name(&config.name, problems);
    let [height, width] = data.image_size;
    let sides_are_possible = [height, width].iter().all(|side| (8..=4096).contains(side));
    problems.require(
        sides_are_possible,
        "data.image_size",
        format!("[{height}, {width}]"),
        "[height, width], each from 8 to 4096 pixels",
    );
    if let Some(megabytes) = data.decode_memory_mb {
        problems.require(
            (16..=1 << 24).contains(&megabytes),
            "data.decode_memory_mb",
            megabytes,
            "16 MiB or more, as many as the machine can spare",
        );
    }
    for (key, source) in [
        ("data.validation", Some(&data.validation)),
        ("data.test", data.test.as_ref()),
    ] {
        if let Some(share) = source.and_then(Source::share) {
            problems.require(
                share > 0.0 && share < 1.0,
                key,
                share,
                "a fraction above 0 and below 1, or a folder or CSV",
            );
        }
    }
    if config.train.repeats.is_some() && data.test.as_ref().and_then(Source::share).is_some() {
        problems.bad(
            "data.test",
            "a share would be drawn anew for each seed of train.repeats, so that the networks of \
             one would be trained on test images of another; name a folder or CSV",
        );
    }
    if let Err(message) = data.group_pattern() {
        problems.bad("data.group", message);
    }
    if let Err(message) = data.exclude_patterns() {
        problems.bad("data.exclude", message);
    }
    if data.train == PHANTOM && data.test.is_some() {
        problems.bad(
            "data.test",
            "the phantom set brings its own test images; leave `data.test` out",
        );
    }
    check_normalize(data, problems)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::text::parse;

    /// Asserts that each change of a recipe is refused with these words.
    #[track_caller]
    pub(super) fn assert_refused(cases: &[(&str, &str)]) {
        let text = "name = 'x'\n[data]\ntrain = 'images'\ntest = 'more'\n";
        for (change, expected) in cases {
            let error = parse(text, Path::new("recipe.toml"), &[(*change).to_owned()])
                .expect_err(change)
                .to_string();
            assert!(error.contains(expected), "{change}: {error}");
        }
        parse(text, Path::new("recipe.toml"), &[]).expect("the text without a change is fine");
    }

    #[test]
    fn one_error_of_a_section_hides_no_other() {
        for (changes, keys) in [
            (
                &["data.group=(", "data.exclude=['[']", "data.color=grayscale"][..],
                &["data.group", "data.exclude", "data.normalize"][..],
            ),
            (
                &[
                    "data.train=phantom",
                    "data.normalize={ mean = [0.5], std = [0.5] }",
                ],
                &["data.test", "data.normalize"],
            ),
            (
                &[
                    "augment.class.a={}",
                    "augment.class.b={ rotation_range = -1 }",
                ],
                &["augment.class.a", "augment.class.b.rotation_range"],
            ),
            (
                &["augment.cval=3", "augment.fill_mode='reflect'"],
                &["augment.cval", "augment.fill_mode"],
            ),
            (
                &["model.weights=imagenet", "train.feature_cache=2"],
                &["model.weights", "train.feature_cache"],
            ),
        ] {
            let text = "name = 'x'\n[data]\ntrain = 'images'\ntest = 'more'\n\
                        normalize = 'imagenet'\n";
            let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
            let error = parse(text, Path::new("recipe.toml"), &changes)
                .expect_err("errors")
                .to_string();
            for key in keys {
                assert!(error.contains(&format!("\n- `{key}`: ")), "{key}: {error}");
            }
        }
    }

    #[test]
    fn each_value_that_cannot_work_or_has_no_effect_names_its_key() {
        assert_refused(&[
            ("name=a/b", "`name`"),
            ("data.image_size=[4, 4]", "`data.image_size`"),
            ("data.decode_memory_mb=0", "`data.decode_memory_mb`"),
            ("data.validation=1.5", "`data.validation`"),
            ("data.test=0.0", "`data.test`"),
            ("data.train=phantom", "`data.test`"),
            (
                "data.normalize={ mean = [0.5], std = [0.5] }",
                "`data.normalize`",
            ),
            ("augment.rotation_range=-1", "`augment.rotation_range`"),
            ("augment.shear_range=90", "`augment.shear_range`"),
            ("augment.zoom_range=1.0", "`augment.zoom_range`"),
            (
                "augment.brightness_range=[1.2, 0.8]",
                "`augment.brightness_range`",
            ),
            ("augment.cval=3", "`augment.cval`"),
            ("augment.fill_mode=wrap", "`augment.fill_mode`"),
            ("device=tpu", "unknown device `tpu`"),
        ]);
    }

    #[test]
    fn everything_that_does_not_fit_is_told_at_once_each_key_once() {
        let text = "name = 'x'\nsed = 1\n[data]\ntrain = 'images'\nimage_size = [150, 150, 3]\n\
                    [train]\nepochs = '5'\n";
        let error = parse(text, Path::new("recipe.toml"), &[])
            .expect_err("three typos")
            .to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 4, "{error}");
        assert_eq!(lines[0], "3 values of the recipe don't fit:");
        for (line, start, end) in [
            (
                1,
                "- `data.image_size`: found [150, 150, 3], a list of 3, expected",
                ": line 5 of recipe.toml",
            ),
            (
                2,
                "- `sed`: no such key; did you mean `seed`?",
                ": line 2 of recipe.toml",
            ),
            (
                3,
                "- `train.epochs`: found \"5\", expected a whole number",
                ": line 7 of recipe.toml",
            ),
        ] {
            assert!(
                lines[line].starts_with(start) && lines[line].ends_with(end),
                "{error}"
            );
        }
        let text = "name = 'x'\n[data]\ntrain = 'images'\n[model]\nchannels = []\ndropout = 1.0\n\
                    [train]\nbatch_size = 0\n";
        let error = parse(
            text,
            Path::new("recipe.toml"),
            &["train.epochs=0".to_owned()],
        )
        .expect_err("four that can't work")
        .to_string();
        let keys: Vec<_> = error
            .lines()
            .skip(1)
            .filter_map(|line| line.split('`').nth(1))
            .collect();
        assert_eq!(
            keys,
            [
                "train.epochs",
                "model.channels",
                "model.dropout",
                "train.batch_size"
            ],
            "{error}"
        );
    }
}
