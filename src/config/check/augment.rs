//! The rules between the knobs of `[augment]`, the common ones and those of a class.

use toml::Table;

use crate::config::{
    Augment, Color, Config, ErasedTo, Erasing, FillMode, Mixing, Policy, Shift,
    options::NOT_BY_CLASS, rules::Problems,
};

/// Checks the common settings and each class's; `table` tells what the user wrote from what is a
/// default.
pub(super) fn check_augment(config: &Config, table: &Table, problems: &mut Problems) {
    let augment = &config.augment;
    let written = table.get("augment").and_then(toml::Value::as_table);
    check_one("augment", augment, written, config.data.color, problems);
    for (name, own) in &augment.class {
        let path = format!("augment.class.{name}");
        if let Some(key) = NOT_BY_CLASS.iter().find(|key| own.contains_key(**key)) {
            problems.bad(
                &format!("{path}.{key}"),
                "can't be set for one class: a batch has images of all; set it under [augment]",
            );
            continue;
        }
        if own
            .iter()
            .all(|(key, value)| key == "inherit" && value.as_bool() == Some(true))
        {
            problems.bad(&path, "has no effect: it sets nothing; leave it out");
            continue;
        }
        match augment.for_class(name) {
            Ok(merged) => check_one(&path, &merged, Some(own), config.data.color, problems),
            Err(error) => problems.bad(&path, error.message().to_owned()),
        }
    }
}

fn check_one(
    path: &str,
    augment: &Augment,
    written: Option<&Table>,
    color: Color,
    problems: &mut Problems,
) {
    let key = |name: &str| format!("{path}.{name}");
    check_keras(path, augment, problems);
    check_families(path, augment, color, problems);
    if augment.cval.is_some() && augment.fill_mode != FillMode::Constant {
        problems.bad(
            &key("cval"),
            "has no effect without fill_mode = \"constant\"; set that or leave cval out",
        );
    }
    // A configuration with every default written out says fill_mode = "nearest" as well, which
    // changes nothing.
    let is_written = written.is_some_and(|table| table.contains_key("fill_mode"));
    let used_by_a_class = augment
        .class
        .keys()
        .any(|class| augment.for_class(class).is_ok_and(|own| own.resamples()));
    if is_written
        && augment.fill_mode != FillMode::Nearest
        && !augment.resamples()
        && !used_by_a_class
    {
        problems.bad(
            &key("fill_mode"),
            "has no effect without a rotation, shift, shear or zoom; set one or leave fill_mode \
             out",
        );
    }
}

fn check_keras(path: &str, augment: &Augment, problems: &mut Problems) {
    for (name, value) in [
        ("rotation_range", augment.rotation_range),
        ("shear_range", augment.shear_range),
        ("channel_shift_range", augment.channel_shift_range),
    ] {
        problems.require(
            value >= 0.0 && value.is_finite(),
            &format!("{path}.{name}"),
            value,
            "0 or more",
        );
    }
    problems.require(
        augment.shear_range < 90.0,
        &format!("{path}.shear_range"),
        augment.shear_range,
        "degrees below 90",
    );
    for (name, shift) in [
        ("width_shift_range", &augment.width_shift_range),
        ("height_shift_range", &augment.height_shift_range),
    ] {
        check_shift(&format!("{path}.{name}"), shift, problems);
    }
    let [low, high] = augment.zoom_range.pair();
    let expected = "factors above 0 and at most 1000, low before high";
    problems.require(
        low > 0.0 && low <= high && high <= 1000.0,
        &format!("{path}.zoom_range"),
        format!("[{low}, {high}]"),
        expected,
    );
    if let Some([low, high]) = augment.brightness_range {
        let expected = "factors from 0 on, low before high";
        problems.require(
            low >= 0.0 && low <= high && high.is_finite(),
            &format!("{path}.brightness_range"),
            format!("[{low}, {high}]"),
            expected,
        );
    }
    let level = augment.cval.unwrap_or(0.0);
    problems.require(
        (0.0..=255.0).contains(&level),
        &format!("{path}.cval"),
        level,
        "a grey level from 0 to 255",
    )
}

fn check_shift(key: &str, shift: &Shift, problems: &mut Problems) {
    const FARTHEST: f64 = 1e6;
    match shift {
        Shift::Pixels(pixels) => problems.require(
            (0..=FARTHEST as i64).contains(pixels),
            key,
            pixels,
            "0 or more",
        ),
        Shift::Range(range) => {
            problems.require((0.0..=FARTHEST).contains(range), key, range, "0 or more")
        }
        Shift::Among(values) => {
            let fits = !values.is_empty() && values.iter().all(|value| value.abs() <= FARTHEST);
            problems.require(
                fits,
                key,
                format!("{values:?}"),
                "one number or more to choose from",
            )
        }
    }
}

fn check_families(path: &str, augment: &Augment, color: Color, problems: &mut Problems) {
    let key = |name: &str| format!("{path}.{name}");
    let ranged = [
        ("perspective", &augment.perspective, [0.0, 1.0]),
        ("contrast", &augment.contrast, [0.0, 100.0]),
        ("gamma", &augment.gamma, [0.01, 100.0]),
        ("saturation", &augment.saturation, [0.0, 100.0]),
        ("hue", &augment.hue, [-180.0, 180.0]),
        ("gaussian_blur", &augment.gaussian_blur, [0.0, 100.0]),
        ("sharpen", &augment.sharpen, [0.0, 100.0]),
        ("gaussian_noise", &augment.gaussian_noise, [0.0, 255.0]),
        ("jpeg", &augment.jpeg, [1.0, 100.0]),
    ];
    for (name, family, limits) in ranged {
        if let Some(family) = family {
            let key = key(name);
            check_probability(&key, family.probability, problems);
            check_range(&format!("{key}.range"), family.range, limits, problems);
        }
    }
    if color == Color::Grayscale {
        let colored = [
            ("saturation", augment.saturation.is_some()),
            ("hue", augment.hue.is_some()),
            ("random_gray", augment.random_gray.is_some()),
        ];
        for (name, _) in colored.iter().filter(|(_, is_set)| *is_set) {
            problems.bad(
                &key(name),
                "has no effect on grayscale images; leave it out or set data.color = \"rgb\"",
            );
        }
    }
    if let Some(gray) = &augment.random_gray {
        check_probability(&key("random_gray"), gray.probability, problems);
    }
    if let Some(crop) = &augment.random_resized_crop {
        let boxes = [crop.scale, crop.ratio];
        check_box(
            &key("random_resized_crop"),
            crop.probability,
            boxes,
            problems,
        );
    }
    if let Some(erasing) = &augment.random_erasing {
        check_erasing(&key("random_erasing"), erasing, problems);
    }
    if let Some(policy) = &augment.policy {
        check_policy(&key("policy"), policy, problems);
    }
    for (name, mixing) in [("mixup", &augment.mixup), ("cutmix", &augment.cutmix)] {
        if let Some(Mixing { probability, alpha }) = mixing {
            check_probability(&key(name), *probability, problems);
            let expected = "a number above 0, at most 100";
            let fits = *alpha > 0.0 && *alpha <= 100.0;
            problems.require(fits, &key(&format!("{name}.alpha")), alpha, expected);
        }
    }
}

fn check_erasing(key: &str, erasing: &Erasing, problems: &mut Problems) {
    let boxes = [erasing.scale, erasing.ratio];
    check_box(key, erasing.probability, boxes, problems);
    if let ErasedTo::Level(level) = erasing.value {
        let expected = "a grey level from 0 to 255, or \"noise\"";
        let fits = (0.0..=255.0).contains(&level);
        problems.require(fits, &format!("{key}.value"), level, expected);
    }
}

fn check_policy(key: &str, policy: &Policy, problems: &mut Problems) {
    check_probability(key, policy.probability(), problems);
    if let Policy::RandAugment {
        num_ops, magnitude, ..
    } = policy
    {
        let mut rules = problems.under(key);
        let fits = (1..=10).contains(num_ops);
        rules.require(fits, "num_ops", num_ops, "1 to 10");
        rules.require(*magnitude <= 30, "magnitude", magnitude, "0 to 30");
    }
}

fn check_probability(path: &str, probability: f64, problems: &mut Problems) {
    problems.require(
        (0.0..=1.0).contains(&probability),
        &format!("{path}.probability"),
        probability,
        "a probability from 0 to 1",
    );
    problems.require(
        probability > 0.0,
        &format!("{path}.probability"),
        probability,
        "more than 0; leave the table out to switch it off",
    )
}

fn check_box(path: &str, probability: f64, [scale, ratio]: [[f64; 2]; 2], problems: &mut Problems) {
    check_probability(path, probability, problems);
    check_range(&format!("{path}.scale"), scale, [1e-6, 1.0], problems);
    check_range(&format!("{path}.ratio"), ratio, [0.01, 100.0], problems)
}

fn check_range(key: &str, [low, high]: [f64; 2], [least, most]: [f64; 2], problems: &mut Problems) {
    let fits = least <= low && low <= high && high <= most;
    problems.require(
        fits,
        key,
        format!("[{low}, {high}]"),
        &format!("[low, high] from {least} to {most}, low before high"),
    )
}
