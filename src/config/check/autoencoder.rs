//! Checks the rules of an autoencoder: it has no classes to predict and no head, and its output has
//! the size of the image. Sets the defaults that hang on it.

use toml::{Table, Value};

use crate::config::{
    ClassWeights, Config, Freeze, Loss, Metric, Normalize, Pooling, Sampler, Schedule, Weights,
    rules::Problems,
};

/// What an autoencoder has where a recipe says nothing else.
const DEFAULTS: &str = "[train]
loss = 'mean_squared_error'
[train.checkpoint]
monitor = 'val_loss'
[model]
hidden = 0
dropout = 0.0
";

/// Returns a recipe with the defaults of an autoencoder if it describes one, else as it is.
pub(in crate::config) fn with_defaults(mut recipe: Table) -> Table {
    let architecture = recipe
        .get("model")
        .and_then(|model| model.get("architecture"));
    if architecture.and_then(Value::as_str) == Some("autoencoder") {
        fill(
            &mut recipe,
            toml::from_str(DEFAULTS).expect("a table of defaults"),
        );
    }
    recipe
}

/// Adds what a table lacks of the defaults.
fn fill(table: &mut Table, defaults: Table) {
    for (key, default) in defaults {
        match (table.get_mut(&key), default) {
            (Some(Value::Table(inner)), Value::Table(defaults)) => fill(inner, defaults),
            (Some(_), _) => {}
            (None, default) => _ = table.insert(key, default),
        }
    }
}

/// Checks the settings of an autoencoder, and that no other network has its loss.
pub(super) fn check_autoencoder(config: &Config, problems: &mut Problems) {
    let compares_images = config.train.loss == Loss::MeanSquaredError;
    if !config.model.architecture.is_autoencoder() {
        if compares_images {
            problems.bad(
                "train.loss",
                "mean_squared_error compares images, and the network gives classes; set \
                 model.architecture = \"autoencoder\" or another loss",
            );
        }
        return;
    }
    if !compares_images {
        problems.bad(
            "train.loss",
            "an autoencoder gives images, expected \"mean_squared_error\"; leave it out",
        );
    }
    check_labels(config, problems);
    check_network(config, problems);
    check_monitors(config, problems);
    check_pixels(config, problems);
}

/// Refuses what has no effect without classes.
fn check_labels(config: &Config, problems: &mut Problems) {
    const LABELS: &str = "labels play no part in the training of an autoencoder; leave it out";
    const SEVERAL: &str = "trains several networks to compare their accuracy, which an \
                           autoencoder has none of; leave it out";
    let train = &config.train;
    for (key, is_set, why) in [
        (
            "train.class_weights",
            train.class_weights != ClassWeights::None,
            LABELS,
        ),
        ("train.sampler", train.sampler == Sampler::Balanced, LABELS),
        (
            "train.label_smoothing",
            train.label_smoothing != 0.0,
            LABELS,
        ),
        ("train.folds", train.folds.is_some(), SEVERAL),
        ("train.repeats", train.repeats.is_some(), SEVERAL),
        (
            "train.learning_curve",
            !train.learning_curve.is_empty(),
            SEVERAL,
        ),
    ] {
        if is_set {
            problems.bad(key, why);
        }
    }
}

/// Refuses a head, weights from elsewhere and frozen layers.
fn check_network(config: &Config, problems: &mut Problems) {
    const HEAD: &str = "an autoencoder has no head; leave it out";
    let model = &config.model;
    let phases = &config.train.phases;
    for (key, is_set, why) in [
        ("model.pooling", model.pooling != Pooling::Flatten, HEAD),
        ("model.hidden", !model.hidden.widths().is_empty(), HEAD),
        ("model.head_norm", model.head_norm, HEAD),
        ("model.dropout", model.dropout != 0.0, HEAD),
        (
            "model.weights",
            model.weights() != Weights::None,
            "an autoencoder is trained from scratch; leave it out",
        ),
        (
            "train.phases.freeze",
            phases.iter().any(|phase| phase.freeze != Freeze::None),
            "an autoencoder is trained as a whole, expected \"none\"",
        ),
        (
            "train.phases.layer_factor",
            phases.iter().any(|phase| phase.layer_factor != 1.0),
            "an autoencoder is trained as a whole; leave it out",
        ),
    ] {
        if is_set {
            problems.bad(key, why);
        }
    }
}

/// Refuses to monitor what an autoencoder has no number for.
fn check_monitors(config: &Config, problems: &mut Problems) {
    let train = &config.train;
    let stopping = train.early_stopping.as_ref().map(|rule| &rule.monitor);
    let plateau = match &train.schedule {
        Schedule::Plateau { monitor, .. } => Some(monitor),
        _ => None,
    };
    for (key, monitor) in [
        ("train.checkpoint.monitor", Some(&train.checkpoint.monitor)),
        ("train.early_stopping.monitor", stopping),
        ("train.schedule.monitor", plateau),
    ] {
        if let Some(metric) = monitor.filter(|metric| !matches!(metric, Metric::Loss(_))) {
            let expected = "\"val_loss\" or \"loss\": an autoencoder predicts no class";
            problems.require(false, key, metric, expected);
        }
    }
}

/// Checks the size of images, and that the network's output can be turned back into pixels.
fn check_pixels(config: &Config, problems: &mut Problems) {
    for (key, mixes) in [
        ("augment.mixup", config.augment.common().mixup.is_some()),
        ("augment.cutmix", config.augment.common().cutmix.is_some()),
    ] {
        if mixes {
            problems.bad(
                key,
                "an autoencoder would be trained to give mixtures, which no image is; leave it out",
            );
        }
    }
    let mixes_values = match &config.data.normalize {
        Normalize::Samplewise => true,
        Normalize::Keras(keras) => {
            keras.samplewise_center || keras.samplewise_std_normalization || keras.zca_whitening
        }
        _ => false,
    };
    if mixes_values {
        problems.bad(
            "data.normalize",
            "what an autoencoder gives must be turned back into pixels, expected a normalization \
             that is the same for each image, such as \"unit\" or \"dataset\"",
        );
    }
    let blocks = config.model.channels().len();
    let sides = config.data.image_size;
    // More blocks than that leave nothing of any image, which is said elsewhere.
    let Some(step) = 1usize
        .checked_shl(blocks as u32)
        .filter(|step| *step <= 4096)
    else {
        return;
    };
    let nearest = sides.map(|side| ((side + step / 2) / step).max(1) * step);
    let expected = format!(
        "multiples of {step}, such as {nearest:?}: each of the {blocks} blocks halves the image"
    );
    problems.require(
        nearest == sides,
        "data.image_size",
        format!("{sides:?}"),
        &expected,
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Loss, text::parse};

    fn parsed(changes: &[&str]) -> Result<Config, String> {
        let text = "name = 'x'\n[data]\ntrain = 'images'\nimage_size = [64, 48]\n[model]\n\
                    architecture = 'autoencoder'\n";
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        parse(text, Path::new("recipe.toml"), &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_hang_on_the_architecture_and_are_written_out() {
        let config = parsed(&["train.checkpoint.every_steps=3"]).expect("valid");
        let (train, model) = (&config.train, &config.model);
        assert_eq!(train.loss, Loss::MeanSquaredError);
        assert_eq!(train.checkpoint.monitor.to_string(), "val_loss");
        assert_eq!(train.checkpoint.every_steps, 3);
        assert!(model.hidden.widths().is_empty() && model.dropout == 0.0);
        assert_eq!(model.channels(), [32, 64, 16]);
        assert!(config.data.takes_unlabeled);
        let again = parse(&config.to_toml(), Path::new("config.toml"), &[]).expect("reads back");
        assert_eq!(again, config);
    }

    #[test]
    fn what_an_autoencoder_cannot_use_names_its_key() {
        for (change, expected) in [
            (
                "train.loss=focal",
                "`train.loss`: an autoencoder gives images",
            ),
            ("model.architecture=small_cnn", ""),
            (
                "train.class_weights=balanced",
                "`train.class_weights`: labels play no part",
            ),
            ("train.sampler=balanced", "`train.sampler`"),
            ("train.label_smoothing=0.1", "`train.label_smoothing`"),
            ("train.focal_gamma=2", "`train.focal_gamma`"),
            ("train.folds=3", "`train.folds`: trains several networks"),
            ("train.learning_curve=[0.5, 1.0]", "`train.learning_curve`"),
            (
                "model.hidden=8",
                "`model.hidden`: an autoencoder has no head",
            ),
            ("model.dropout=0.5", "`model.dropout`"),
            ("model.pooling=average", "`model.pooling`"),
            ("model.head_norm=true", "`model.head_norm`"),
            ("model.weights=a.safetensors", "`model.weights`"),
            ("model.freeze=backbone", "`model.freeze`"),
            (
                "train.phases=[{ epochs = 1, freeze = 'none', layer_factor = 0.5 }]",
                "`train.phases.layer_factor`",
            ),
            (
                "train.checkpoint.monitor=val_accuracy",
                "`train.checkpoint.monitor`: found val_accuracy, expected \"val_loss\"",
            ),
            (
                "train.early_stopping={ monitor = 'val_macro_f1' }",
                "`train.early_stopping.monitor`",
            ),
            ("augment.mixup={ alpha = 0.2 }", "`augment.mixup`"),
            ("augment.cutmix={ alpha = 1.0 }", "`augment.cutmix`"),
            ("data.normalize=samplewise", "`data.normalize`"),
            (
                "data.image_size=[150, 146]",
                "`data.image_size`: found [150, 146], expected multiples of 8, such as [152, 144]",
            ),
            ("model.channels=[4, 4, 4, 4, 4, 4, 4]", "`model.channels`"),
        ] {
            match parsed(&[change]) {
                Err(error) => assert!(error.contains(expected), "{change}: {error}"),
                Ok(_) => assert!(expected.is_empty(), "{change}"),
            }
        }
        let error = parsed(&[
            "model.architecture=small_cnn",
            "train.loss=mean_squared_error",
        ]);
        let error = error.expect_err("a classifier");
        assert!(
            error.contains("`train.loss`: mean_squared_error compares images"),
            "{error}"
        );
    }
}
