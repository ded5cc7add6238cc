//! Checks the rules of `[[model.layers]]` and of the keys that go with it.

use crate::config::{Config, rules::Problems};

/// Checks the keys that belong to a list of layers. Returns whether shapes can be computed from the
/// list.
pub(super) fn check_layers(config: &Config, problems: &mut Problems) -> bool {
    let model = &config.model;
    let name = model.architecture.name();
    let keys = [
        ("layers", !model.layers.is_empty()),
        ("activation", model.activation.is_some()),
        ("norm_epsilon", model.norm_epsilon.is_some()),
        ("norm_momentum", model.norm_momentum.is_some()),
    ];
    if !model.architecture.is_list() {
        for (key, _) in keys.into_iter().filter(|(_, is_set)| *is_set) {
            let message = format!(
                "has no effect on {name}; set model.architecture = \"layers\" or leave it out"
            );
            problems.bad(&format!("model.{key}"), message);
        }
        return true;
    }
    if let Some(fault) = model.layers_fault(config.data.color.channels()) {
        problems.bad(
            &format!("model.{}", fault.key),
            format!("found {}, expected {}", fault.found, fault.expected),
        );
        return false;
    }
    for (key, is_set) in keys.into_iter().filter(|(key, _)| key.starts_with("norm")) {
        if is_set && !model.layers.iter().any(|layer| layer.has_norm()) {
            problems.bad(
                &format!("model.{key}"),
                "has no effect where no layer has batch_norm = true or is a norm; set that or \
                 leave it out",
            );
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, text::parse};

    const HEAD: &str = "name = 'x'\n[data]\ntrain = 'images'\n[model]\narchitecture = 'layers'\n";

    fn parsed(layers: &[&str], changes: &[&str]) -> Result<Config, String> {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| format!("[[model.layers]]\n{layer}\n"))
            .collect();
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        parse(
            &format!("{HEAD}{}", layers.concat()),
            Path::new("recipe.toml"),
            &changes,
        )
        .map_err(|error| error.to_string())
    }

    /// Asserts that each list of layers is refused with these words.
    #[track_caller]
    fn assert_refused(cases: &[(&[&str], &str)]) {
        for (layers, expected) in cases {
            let error = parsed(layers, &[]).expect_err(layers.last().unwrap_or(&"none"));
            assert!(error.contains(expected), "{layers:?}: {error}");
        }
    }

    #[test]
    fn a_layer_or_key_that_is_none_is_told_by_its_entry_and_line() {
        assert_refused(&[
            (
                &["conv = 4", "maxpool = 2"],
                "`model.layers (entry 2).maxpool`: no such layer; did you mean `max_pool`?: line 9 \
                 of recipe.toml",
            ),
            (
                &["Conv2D = 4"],
                "`model.layers (entry 1).Conv2D`: no such layer; did you mean `conv`?: line 7 of \
                 recipe.toml",
            ),
            (
                &["filters = 4\nkernel = 3"],
                "`model.layers (entry 1).filters`: no such layer; did you mean `conv`?",
            ),
            (
                &["conv = 4", "flatten = true"],
                "`model.layers (entry 2).flatten`: no such layer: the list ends before it; \
                 model.pooling, model.hidden and model.dropout are what follows",
            ),
            (
                &["conv = 4", "dense = 10"],
                "`model.layers (entry 2).dense`: no such layer: the list ends before it",
            ),
            (
                &["batch_norm = true"],
                "`model.layers (entry 1)`: found no layer, expected one of conv, separable_conv, \
                 max_pool, average_pool, norm or dropout",
            ),
            (
                &["wavelet = 2"],
                "`model.layers (entry 1).wavelet`: no such layer, expected one of conv, \
                 separable_conv, max_pool, average_pool, norm or dropout",
            ),
            (
                &["conv = 4\nmax_pool = 2"],
                "`model.layers (entry 1)`: found conv and max_pool in one layer; begin each with \
                 [[model.layers]]",
            ),
            (
                &["conv = 4\nkernal = 3"],
                "`model.layers (entry 1).kernal`: no such key; did you mean `kernel`?: line 8 of \
                 recipe.toml",
            ),
            (
                &["max_pool = 2\nkernel = 3"],
                "`model.layers (entry 1).kernel`: max_pool has no such key; it belongs to conv and \
                 separable_conv",
            ),
        ]);
    }

    #[test]
    fn a_value_that_a_layer_cannot_have_is_told_by_its_entry_and_line() {
        assert_refused(&[
            (
                &["conv = '4'"],
                "`model.layers (entry 1).conv`: found \"4\", expected a whole number of 0 or more; \
                 did you mean 4, without quotes?",
            ),
            (
                &["conv = 4\npadding = 'full'"],
                "`model.layers (entry 1).padding`: found \"full\", expected \"same\" or \"valid\"",
            ),
            (
                &["conv = 4\nactivation = 'relo'"],
                "`model.layers (entry 1).activation`: found \"relo\", expected \"relu\", \"relu6\"",
            ),
            (
                &["conv = 0"],
                "`model.layers (entry 1).conv`: found 0, expected 1 to 65536 channels: line 7 of \
                 recipe.toml",
            ),
            (
                &["conv = 4", "conv = 4\nkernel = 8"],
                "`model.layers (entry 2).kernel`: found 8, expected 1 to 7 pixels: line 10 of \
                 recipe.toml",
            ),
            (
                &["conv = 4\nstride = 0"],
                "`model.layers (entry 1).stride`: found 0, expected 1 to 7 pixels",
            ),
            (
                &["conv = 4", "max_pool = 2\nstride = 0"],
                "`model.layers (entry 2).stride`: found 0, expected 1 to 64 pixels",
            ),
            (
                &["conv = 4", "average_pool = 65"],
                "`model.layers (entry 2).average_pool`: found 65",
            ),
            (
                &["conv = 4", "dropout = 1.0"],
                "`model.layers (entry 2).dropout`: found 1, expected a fraction from 0 to below 1",
            ),
            (&["max_pool = 2"], "`model.layers`: found no convolution"),
            (
                &[],
                "`model.layers`: found no layers, expected [[model.layers]] with conv = 32, say",
            ),
            (
                &["conv = 65536", "conv = 65536"],
                "`model.layers`: found convolutions of 38656475136 weights, expected fewer than \
                 268 million",
            ),
        ]);
    }

    #[test]
    fn an_image_of_which_too_little_is_left_is_told_by_the_layer_and_both_sizes() {
        let layers = [
            "conv = 4",
            "max_pool = 4",
            "conv = 4\nbatch_norm = true",
            "max_pool = 8",
            "max_pool = 4",
            "dropout = 0.5",
            "max_pool = 2",
        ];
        let error = parsed(&layers, &["data.image_size=[150, 150]"]).expect_err("too many");
        let expected = "`model.layers (entry 7)`: layer 7, max_pool 2: 1 x 1 is left of 150 x 150, \
                        expected fewer pools before it or larger images";
        assert!(error.contains(expected), "{error}");
        let error = parsed(
            &[
                "conv = 4\nstride = 4",
                "conv = 8\nkernel = 5\npadding = 'valid'",
            ],
            &["data.image_size=[9, 80]"],
        )
        .expect_err("small");
        assert!(
            error.contains("layer 2, conv 8 (kernel 5): 3 x 20 is left of 9 x 80"),
            "{error}"
        );
    }

    #[test]
    fn a_key_without_effect_is_named() {
        for (layers, change, expected) in [
            (
                &["conv = 4"][..],
                "model.channels=[4]",
                "`model.channels`: has no effect on layers, which are listed in [[model.layers]]; \
                 leave it out",
            ),
            (
                &["conv = 4"],
                "model.batch_norm=true",
                "`model.batch_norm`: has no effect on layers",
            ),
            (
                &["conv = 4"],
                "model.norm_epsilon=0.001",
                "`model.norm_epsilon`: has no effect where no layer has batch_norm = true",
            ),
            (
                &["conv = 4\nbatch_norm = true"],
                "model.norm_epsilon=0",
                "`model.norm_epsilon`: found 0, expected a number above 0, at most 1",
            ),
            (
                &["conv = 4"],
                "model.architecture=small_cnn",
                "`model.layers`: has no effect on small_cnn; set model.architecture = \"layers\"",
            ),
            (
                &["conv = 4"],
                "model.weights=imagenet",
                "`model.weights`: there are no published weights for layers",
            ),
            (
                &["conv = 4"],
                "model.freeze='blocks:2'",
                "`model.freeze`: found blocks:2, expected blocks:1 to blocks:1",
            ),
            (
                &["conv = 4"],
                "model.init=xavier",
                "`model.init`: found \"xavier\", expected \"he\" or \"glorot_uniform\"",
            ),
        ] {
            let error = parsed(layers, &[change]).expect_err(change);
            assert!(error.contains(expected), "{change}: {error}");
        }
        let error = parse(
            "name = 'x'\n[data]\ntrain = 'images'\n[model]\nactivation = 'elu'\n",
            Path::new("recipe.toml"),
            &[],
        );
        assert!(
            error
                .expect_err("small_cnn")
                .to_string()
                .contains("`model.activation`: has no effect on small_cnn")
        );
    }

    #[test]
    fn the_resolved_recipe_lists_the_same_layers() {
        let layers = [
            "conv = 4\npadding = 'valid'\nactivation = 'gelu'",
            "average_pool = 3\nstride = 2",
            "separable_conv = 8\nbatch_norm = true",
            "norm = 'batch'",
            "dropout = 0",
        ];
        let config = parsed(
            &layers,
            &["model.norm_momentum=0.01", "model.init=glorot_uniform"],
        )
        .expect("parsed");
        let again = parse(&config.to_toml(), Path::new("config.toml"), &[]).expect("reads back");
        assert_eq!(again, config);
        assert_eq!(config.model.layers.len(), 5);
    }

    /// Values of every type.
    const VALUES: [&str; 14] = [
        "true",
        "0",
        "-1",
        "0.5",
        "nan",
        "9223372036854775807",
        "'x'",
        "'same'",
        "''",
        "[]",
        "[1, 2]",
        "{}",
        "{ conv = 3 }",
        "1979-05-27",
    ];

    /// Every key of every layer with values of every type: what is wrong is found before serde
    /// finds it.
    #[test]
    fn no_wrong_layer_reaches_serde() {
        let mut refused = 0;
        let keys = "conv separable_conv max_pool average_pool norm dropout kernel stride padding \
                    batch_norm activation surplus";
        for head in [
            "",
            "conv = 4, ",
            "separable_conv = 4, ",
            "max_pool = 2, ",
            "average_pool = 2, ",
            "norm = 'batch', ",
            "dropout = 0.5, ",
        ] {
            for (key, value) in keys
                .split(' ')
                .flat_map(|key| VALUES.iter().map(move |value| (key, value)))
            {
                if head.starts_with(&format!("{key} ")) {
                    continue;
                }
                let change = format!("model.layers=[{{ {head}{key} = {value} }}]");
                let Err(error) = parse(
                    HEAD,
                    Path::new("recipe.toml"),
                    std::slice::from_ref(&change),
                ) else {
                    continue;
                };
                refused += 1;
                let is_ours = matches!(error, crate::config::ConfigError::Values(_));
                assert!(
                    is_ours && !error.to_string().contains("variant"),
                    "{change}: {error}"
                );
            }
        }
        for value in VALUES {
            let change = format!("model.layers={value}");
            let error = parse(
                HEAD,
                Path::new("recipe.toml"),
                std::slice::from_ref(&change),
            )
            .expect_err("no list of layers");
            assert!(
                matches!(error, crate::config::ConfigError::Values(_)),
                "{change}: {error}"
            );
        }
        assert!(refused > 500, "{refused}");
    }
}
