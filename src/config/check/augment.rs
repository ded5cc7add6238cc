//! The rules of `[augment]`, for the common settings and those of a class.

use toml::Table;

use crate::{
    augment::{FillMode, Settings},
    config::{Augment, Color, Config, rules::Problems},
};

/// Checks the common settings and each class's; `table` tells what the user wrote from what is a
/// default.
pub(super) fn check_augment(config: &Config, table: &Table, problems: &mut Problems) {
    let augment = &config.augment;
    let common = augment.common();
    let is_color = config.data.color != Color::Grayscale;
    for fault in common.faults(is_color) {
        problems.bad(&format!("augment.{}", fault.key), fault.message);
    }
    let written = table.get("augment").and_then(toml::Value::as_table);
    let used_by_a_class = augment.written().any(|(.., merged)| merged.resamples());
    check_fill("augment", common, written, used_by_a_class, problems);
    for (name, own, merged) in augment.written() {
        let path = format!("augment.class.{name}");
        check_own(&path, own, problems);
        // What is wrong with the common settings was said of them.
        let is_own = |key: &str| own.contains_key(key.split('.').next().unwrap_or(key));
        for fault in merged.faults(is_color) {
            if is_own(&fault.key) {
                problems.bad(&format!("{path}.{}", fault.key), fault.message);
            }
        }
        check_fill(&path, merged, Some(own), false, problems);
    }
}

/// Checks the keys of a class.
fn check_own(path: &str, own: &Table, problems: &mut Problems) {
    for key in own.keys().filter(|key| !Augment::is_of_class(key)) {
        problems.bad(
            &format!("{path}.{key}"),
            "can't be set for one class: a batch has images of all; set it under [augment]",
        );
    }
    if own
        .iter()
        .all(|(key, value)| key == "inherit" && value.as_bool() == Some(true))
    {
        problems.bad(path, "has no effect: it sets nothing; leave it out");
    }
}

/// Checks that `fill_mode` and `cval` have an effect if they are `written`.
fn check_fill(
    path: &str,
    settings: &Settings,
    written: Option<&Table>,
    used_elsewhere: bool,
    problems: &mut Problems,
) {
    if settings.cval.is_some() && settings.fill_mode != FillMode::Constant {
        problems.bad(
            &format!("{path}.cval"),
            "has no effect without fill_mode = \"constant\"; set that or leave cval out",
        );
    }
    // A configuration with every default written out says fill_mode = "nearest" as well, which
    // changes nothing.
    let is_written = written.is_some_and(|table| table.contains_key("fill_mode"));
    if is_written
        && settings.fill_mode != FillMode::Nearest
        && !settings.resamples()
        && !used_elsewhere
    {
        problems.bad(
            &format!("{path}.fill_mode"),
            "has no effect without a rotation, shift, shear or zoom; set one or leave fill_mode \
             out",
        );
    }
}
