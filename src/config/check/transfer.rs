//! Checks the rules between a network, its frozen layers, and the phases of its training.

use std::fmt::Display;

use toml::Table;

use crate::{
    architecture::Source,
    config::{Color, Config, Freeze, Model, Phase, Weights, rules::Problems},
};

/// Minimum side of images in pixels. Below it nothing or too little is left of the last feature
/// map; Keras requires 32 as well.
const SMALLEST_SIDE: usize = 32;

pub(super) fn check_transfer(config: &Config, table: &Table, problems: &mut Problems) {
    let model = &config.model;
    let name = model.architecture.name();
    let architecture = model.architecture;
    if let Some((key, message)) = variant_fault(model) {
        return problems.bad(key, message);
    }
    if let Some(why) = match architecture.entry().source {
        Source::Blocks | Source::Mirrored => None,
        Source::List => Some("which are listed in [[model.layers]]"),
        Source::Table(_) | Source::Scaled(_) => Some("whose layers are fixed"),
    } {
        for (key, is_set) in [
            ("channels", model.channels.is_some()),
            ("batch_norm", model.batch_norm.is_some()),
        ] {
            if is_set {
                problems.bad(
                    &format!("model.{key}"),
                    format!("has no effect on {name}, {why}; leave it out"),
                );
            }
        }
    }
    if architecture.is_of_recipe() {
        if model.weights() == Weights::Imagenet {
            problems.bad(
                "model.weights",
                format!("there are no published weights for {name}; name a file or leave it out"),
            );
        }
    } else {
        check_images(config, problems);
    }
    let has_phases = !config.train.phases.is_empty();
    if has_phases && model.freeze.is_some() {
        problems.bad(
            "model.freeze",
            "has no effect with train.phases, where each phase says what is frozen; leave it out",
        );
    }
    check_phases(config, table, problems);
    check_feature_cache(config, problems);
    if !config.train.checkpoint.include_backbone
        && (config.always_frozen() == 0 || model.weights() == Weights::None)
    {
        problems.bad(
            "train.checkpoint.include_backbone",
            "only layers that stay frozen, with weights from a file, can be left out; set it to \
             true",
        );
    }
}

/// Checks the images for a network of a fixed design.
fn check_images(config: &Config, problems: &mut Problems) {
    let (data, name) = (&config.data, config.model.architecture.name());
    problems.require(
        data.color == Color::Rgb,
        "data.color",
        "grayscale",
        &format!("\"rgb\", which {name} is made for; gray images work too"),
    );
    let [height, width] = data.image_size;
    problems.require(
        height.min(width) >= SMALLEST_SIDE,
        "data.image_size",
        format!("[{height}, {width}]"),
        "sides of 32 pixels or more for this network",
    );
}

/// Returns the first problem with an option that selects a variant of an architecture: the key and
/// what is wrong.
fn variant_fault(model: &Model) -> Option<(&'static str, String)> {
    let (architecture, name) = (model.architecture, model.architecture.name());
    let entry = architecture.entry();
    match model.width {
        Some(_) if !architecture.is_scaled() => {
            return Some((
                "model.width",
                format!("has no effect on {name}, whose channels are fixed; leave it out"),
            ));
        }
        Some(width) if !(0.1..=2.0).contains(&width) => {
            return Some((
                "model.width",
                format!("found {width}, expected a factor from 0.1 to 2"),
            ));
        }
        Some(width) if width != 1.0 && model.weights() == Weights::Imagenet => {
            let message = "weights of this width have no known address: those that have one are \
                           for width 1; name a file of torchvision, timm or Keras";
            return Some((
                "model.width",
                format!("found {width}; {message}, or set model.weights to \"none\""),
            ));
        }
        _ => {}
    }
    if !architecture.is_of_recipe()
        && model.weights() == Weights::Imagenet
        && entry.published.is_none()
    {
        let message = "no address of published weights for";
        let advice = "is known here; name a file of torchvision, timm or Keras, or set \"none\"";
        return Some(("model.weights", format!("{message} {name} {advice}")));
    }
    let dialect = model
        .dialect
        .filter(|dialect| !entry.dialects.iter().any(|(known, _)| known == dialect))?;
    let known: Vec<_> = entry
        .dialects
        .iter()
        .map(|(known, _)| format!("\"{known}\""))
        .collect();
    let known = if known.is_empty() {
        "none: no weights are published for it".to_owned()
    } else {
        known.join(", ")
    };
    Some((
        "model.dialect",
        format!("found \"{dialect}\" with {name}, expected {known}"),
    ))
}

fn check_phases(config: &Config, table: &Table, problems: &mut Problems) {
    let train = &config.train;
    for (index, phase) in config.phases().iter().enumerate() {
        if !check_phase(config, index, phase, problems) {
            return;
        }
    }
    let written = table.get("train").and_then(|train| train.get("epochs"));
    if !train.phases.is_empty() && written.is_some() {
        let sum: usize = train.phases.iter().map(|phase| phase.epochs).sum();
        problems.require(
            train.epochs == sum,
            "train.epochs",
            train.epochs,
            &format!("{sum}, the sum of the phases; leave it out"),
        );
    }
}

/// Checks one phase. Returns whether the phases after it are worth checking.
fn check_phase(config: &Config, index: usize, phase: &Phase, problems: &mut Problems) -> bool {
    let model = &config.model;
    let has_phases = !config.train.phases.is_empty();
    // Without phases, all is said under `model.freeze` but the number of epochs.
    let key = |name: &str| match name {
        _ if has_phases => format!("train.phases.{name}"),
        "epochs" => "train.epochs".to_owned(),
        _ => "model.freeze".to_owned(),
    };
    let which = if has_phases {
        format!(" in phase {}", index + 1)
    } else {
        String::new()
    };
    let require =
        |problems: &mut Problems, holds: bool, name: &str, found: &dyn Display, expected: &str| {
            problems.require(holds, &key(name), format!("{found}{which}"), expected);
        };
    let epochs = phase.epochs;
    require(problems, epochs > 0, "epochs", &epochs, "1 or more");
    if let Freeze::Blocks(count) = phase.freeze {
        let groups = model.num_groups();
        let expected = format!("blocks:1 to blocks:{groups}");
        let fits = (1..=groups).contains(&count);
        require(problems, fits, "freeze", &phase.freeze, &expected);
    }
    if index == 0 && phase.freeze != Freeze::None && model.weights() == Weights::None {
        let message = format!(
            "found `{}` with weights drawn at random{which}, expected model.weights = \
             \"imagenet\" or a file",
            phase.freeze
        );
        problems.bad(&key("freeze"), message);
        return false;
    }
    if let Some(rate) = phase.learning_rate {
        let fits = rate > 0.0 && rate.is_finite();
        let (key, expected) = ("learning_rate", "a number above 0");
        require(problems, fits, key, &rate, expected);
    }
    let factor = phase.layer_factor;
    let fits = factor > 0.0 && factor <= 1.0;
    let expected = "a factor above 0, at most 1";
    require(problems, fits, "layer_factor", &factor, expected);
    if factor < 1.0 && model.frozen_groups(phase.freeze) == model.num_groups() {
        let message = "where the head alone is trained; leave it out";
        problems.bad(
            &key("layer_factor"),
            format!("has no effect{which}, {message}"),
        );
        return false;
    }
    true
}

fn check_feature_cache(config: &Config, problems: &mut Problems) {
    const KEY: &str = "train.feature_cache";
    if config.train.feature_cache == 0 {
        return;
    }
    if config
        .phases()
        .iter()
        .all(|phase| phase.freeze == Freeze::None)
    {
        return problems.bad(
            KEY,
            "has no effect where nothing is frozen; set model.freeze or leave it out",
        );
    }
    if config.augment.mixes() {
        return problems.bad(
            KEY,
            "mixup and cutmix mix pixels, of which cached features have none; leave one of them \
             out",
        );
    }
    if !config.augment.is_active() {
        problems.bad(
            KEY,
            "has no effect without augmentation: features are then computed once in any case; \
             leave it out",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::text::parse;

    const TEXT: &str = "name = 'x'\n[data]\ntrain = 'images'\n";

    fn parsed(changes: &[&str]) -> Result<Config, String> {
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        parse(TEXT, Path::new("recipe.toml"), &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn weights_that_are_drawn_are_trained_unless_something_else_is_said() {
        let freeze = |change: &str| {
            parsed(&["model.architecture=resnet18", change])
                .expect("valid")
                .model
                .freeze()
        };
        assert_eq!(freeze("model.weights=none"), Freeze::None);
        assert_eq!(freeze("model.weights=a.pth"), Freeze::Backbone);
    }

    const VGG: &str = "model.architecture=vgg16";
    const OWN: &str = "model.weights=a.safetensors";

    /// Asserts that each recipe is refused with these words.
    #[track_caller]
    fn assert_refused(cases: &[(&[&str], &str)]) {
        for (changes, expected) in cases {
            let error = parsed(changes).expect_err(changes[changes.len() - 1]);
            assert!(error.contains(expected), "{changes:?}: {error}");
        }
    }

    #[test]
    fn a_network_that_cannot_be_names_its_key() {
        assert_refused(&[
            (&["model.weights=imagenet"], "`model.weights`"),
            (
                &["model.architecture=mobilenet_v1"],
                "`model.weights`: no address of published weights for mobilenet_v1 is known",
            ),
            (
                &["model.architecture=mobilenet_v2", "model.width=0.5"],
                "`model.width`: found 0.5; weights of this width have no known address",
            ),
            (
                &[VGG, "model.width=0.5"],
                "`model.width`: has no effect on vgg16",
            ),
            (
                &[
                    "model.architecture=mobilenet_v2",
                    "model.weights=a.h5",
                    "model.width=7",
                ],
                "`model.width`: found 7",
            ),
            (
                &[VGG, "model.dialect=timm_tf"],
                "`model.dialect`: found \"timm_tf\" with vgg16, expected \"torchvision\", \
                 \"timm\", \"keras\"",
            ),
            (
                &["model.dialect=keras"],
                "expected none: no weights are published for it",
            ),
            (
                &[VGG, "model.channels=[4]"],
                "`model.channels`: has no effect on vgg16",
            ),
            (&[VGG, "model.batch_norm=true"], "`model.batch_norm`"),
            (&[VGG, "data.color=grayscale"], "`data.color`"),
            (&[VGG, "data.image_size=[150, 31]"], "`data.image_size`"),
            (&[VGG, "model.hidden=[256, 0]"], "`model.hidden`"),
            (&[VGG, "model.hidden=65536"], "`model.pooling`"),
            (
                &[VGG, "model.hidden=many"],
                "`model.hidden`: found \"many\", expected a whole number of 0 or more or a list of \
                 whole numbers",
            ),
        ]);
    }

    #[test]
    fn a_phase_that_cannot_be_or_has_no_effect_names_its_key() {
        assert_refused(&[
            (
                &["model.freeze=backbone"],
                "`model.freeze`: found `backbone` with weights drawn at random",
            ),
            (&["model.freeze=most"], "can't read `most`"),
            (
                &[VGG, "model.freeze='blocks:6'"],
                "expected blocks:1 to blocks:5",
            ),
            (
                &[VGG, "model.freeze='blocks:0'"],
                "expected blocks:1 to blocks:5",
            ),
            (
                &[VGG, "model.weights=none", "model.freeze=backbone"],
                "`model.freeze`",
            ),
            (
                &[
                    VGG,
                    "model.freeze=backbone",
                    "train.phases=[{ epochs = 1, freeze = 'none' }]",
                ],
                "`model.freeze`: has no effect with",
            ),
            (
                &[VGG, "train.phases=[{ epochs = 0, freeze = 'none' }]"],
                "`train.phases.epochs`",
            ),
            (
                &[
                    VGG,
                    "train.phases=[{ epochs = 1, freeze = 'none', learning_rate = 0 }]",
                ],
                "`train.phases.learning_rate`",
            ),
            (
                &[
                    VGG,
                    "train.phases=[{ epochs = 1, freeze = 'none', layer_factor = 2 }]",
                ],
                "`train.phases.layer_factor`",
            ),
            (
                &[
                    VGG,
                    "train.phases=[{ epochs = 1, freeze = 'backbone', layer_factor = 0.5 }]",
                ],
                "has no effect in phase 1",
            ),
            (
                &[
                    VGG,
                    "train.phases=[{ epochs = 2, freeze = 'none' }]",
                    "train.epochs=3",
                ],
                "expected 2, the sum of the phases",
            ),
        ]);
    }

    #[test]
    fn what_is_cached_or_left_out_without_effect_names_its_key() {
        assert_refused(&[
            (
                &[VGG, "train.feature_cache=4"],
                "`train.feature_cache`: has no effect without augmentation",
            ),
            (
                &[VGG, "train.feature_cache=4", "model.freeze=none"],
                "has no effect where nothing is frozen",
            ),
            (
                &[
                    VGG,
                    "train.feature_cache=4",
                    "augment.mixup={ alpha = 0.2 }",
                ],
                "mixup and cutmix",
            ),
            (
                &["train.checkpoint={ include_backbone = false }"],
                "`train.checkpoint.include_backbone`",
            ),
            (
                &[OWN, "train.checkpoint={ include_backbone = false }"],
                "`train.checkpoint.include_backbone`",
            ),
        ]);
    }

    #[test]
    fn what_goes_together_is_accepted() {
        for changes in [
            &[VGG][..],
            &[OWN, "model.freeze='blocks:2'"],
            &[VGG, "model.hidden=[256, 64]"],
            &[VGG, "model.weights=x.h5"],
        ] {
            parsed(changes).expect("fine");
        }
    }

    #[test]
    fn a_pretrained_network_is_frozen_unless_the_recipe_says_otherwise_and_phases_add_up() {
        let config = parsed(&["model.architecture=squeezenet1_1"]).expect("parsed");
        assert_eq!(
            (
                config.model.weights(),
                config.model.freeze(),
                config.always_frozen()
            ),
            (Weights::Imagenet, Freeze::Backbone, 4)
        );
        let phases = "train.phases=[{ epochs = 3, freeze = 'backbone' }, { epochs = 4, freeze = \
                      'blocks:2', layer_factor = 0.5 }]";
        let config = parsed(&["model.architecture=squeezenet1_1", phases]).expect("parsed");
        assert_eq!(
            (
                config.train.epochs,
                config.always_frozen(),
                config.phases().len()
            ),
            (7, 2, 2)
        );
        let again = parse(&config.to_toml(), Path::new("config.toml"), &[]).expect("reads back");
        assert_eq!(again, config);
        let config = parsed(&[]).expect("parsed");
        assert_eq!(
            (
                config.model.weights(),
                config.model.freeze(),
                config.always_frozen()
            ),
            (Weights::None, Freeze::None, 0)
        );
    }
}
