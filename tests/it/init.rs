//! `init`: what it sees in folders and lists, and the recipes that it writes.

use crate::support::Place;

#[test]
fn init_recognizes_splits_color_size_and_imbalance() {
    type Case<'a> = (&'a [(&'a str, &'a [usize])], &'a [&'a str]);
    let cases: [Case; 3] = [
        (
            &[
                ("set/Training", &[15, 3]),
                ("set/VALID", &[2, 2]),
                ("set/Testing", &[2, 2]),
            ],
            &[
                "train = 'set/Training'",
                "validation = 'set/VALID'",
                "test = 'set/Testing'",
                "class_weights = \"balanced\"",
                "monitor = \"val_macro_f1\"",
            ],
        ),
        (
            &[("set", &[6, 6, 6])],
            &[
                "train = 'set'",
                "validation = 0.2",
                "image_size = [22, 26]",
                "color = \"rgb\"",
            ],
        ),
        (
            &[("set/train", &[6, 6]), ("set/validation", &[2, 2])],
            &["train = 'set/train'", "validation = 'set/validation'"],
        ),
    ];
    for (folders, expected) in cases {
        let place = Place::new();
        for (folder, counts) in folders {
            place.classes(folder, counts);
        }
        place.done("init set");
        let text = place.read("set.toml").replace('"', "'");
        for part in expected {
            assert!(text.contains(&part.replace('"', "'")), "{part}: {text}");
        }
        place.done("train --config set.toml --dry-run --device cpu");
        assert!(
            !place.path("checkpoints").exists(),
            "a dry run writes nothing"
        );
        let again = place.run("init set");
        again.exits(2, "already exists");
    }
}

/// Images may be of patients: whoever keeps files from others keeps these from them too.
#[cfg(unix)]
#[test]
fn files_have_the_permissions_that_the_users_mask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    for (mask, mode) in [("077", 0o600), ("002", 0o664)] {
        let place = Place::new();
        place.classes("images", &[4, 4]);
        let command = format!(
            "umask {mask}; exec '{}' init images",
            env!("CARGO_BIN_EXE_emberlens")
        );
        let status = std::process::Command::new("sh")
            .current_dir(place.path(""))
            .args(["-c", &command])
            .output()
            .expect("run")
            .status;
        assert!(status.success());
        let found = std::fs::metadata(place.path("images.toml"))
            .expect("written")
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(found, mode, "{found:o}");
    }
}

/// Lists, what the recipe of each says, and how many of 16 images it trains on.
const LISTS: [(&str, &[&str], u32); 3] = [
    (
        "labels.csv",
        &["train = 'labels.csv'", "validation = 0.2"],
        12,
    ),
    (
        "split.csv",
        &[
            "train = 'split.csv'",
            "itself has 4 validation images",
            "itself has 2 test images",
        ],
        10,
    ),
    (
        "train.csv",
        &[
            "train = 'train.csv'",
            "validation = 'val.csv'",
            "# No test images",
        ],
        12,
    ),
];

#[test]
fn init_takes_lists_of_images_and_leaves_their_split_as_it_is() {
    let place = Place::new();
    place.classes("images", &[8, 8]);
    let lines = |names: std::ops::Range<usize>, split: &str| -> String {
        names
            .flat_map(|at| {
                ["a", "b"].map(|class| format!("images/{class}/{at:03}.png,{class}{split}\n"))
            })
            .collect()
    };
    let list = |header: &str, parts: &[String]| format!("{header}\n{}", parts.concat());
    place.write("labels.csv", &list("path,label", &[lines(0..8, "")]));
    place.write(
        "split.csv",
        &list(
            "path,label,split",
            &[
                lines(0..5, ",train"),
                lines(5..7, ",val"),
                lines(7..8, ",test"),
            ],
        ),
    );
    place.write("train.csv", &list("path,label", &[lines(0..6, "")]));
    place.write("val.csv", &list("path,label", &[lines(6..8, "")]));
    for (list, expected, trained) in LISTS {
        place.done(&["init", list]);
        let text = place.read(&list.replace(".csv", ".toml")).replace('"', "'");
        for part in expected {
            assert!(text.contains(part), "{part}: {text}");
        }
        let out = place.done(&["train", list, "--dry-run", "--device", "cpu"]);
        assert!(
            out.err
                .contains(&format!("Found {trained} images belonging to 2 classes.")),
            "{trained}: {} {}",
            out.out,
            out.err
        );
    }
    let ran = place.run("init images/a/000.png");
    ran.exits(2, "found no folder, CSV or tar file images/a/000.png");
}

#[test]
fn init_refuses_weights_of_no_known_network_and_tries_what_there_is() {
    let place = Place::new();
    place.classes("set", &[6, 6]);
    place.write("notes.pth", "no weights");
    let ran = place.run("init set --weights notes.pth");
    ran.exits(
        2,
        "found no weights of a known network there, expected those of vgg16",
    );
    assert!(!place.path("set.toml").exists());
    place.classes("train", &[6, 6]);
    place.recipe("", "epochs = 1");
    for option in [
        &["--yes"][..],
        &["--quick-trials"],
        &["--weights", "notes.pth"],
    ] {
        let ran = place.run(&[&["train", "small.toml"], option].concat());
        ran.exits(2, "small.toml is no folder, CSV or tar file of images");
    }
    // Without weights there is nothing to compare, and no time is spent.
    let out = place.done("init set --quick-trials").out;
    assert!(out.contains("A network from scratch"), "{out}");
    assert!(
        place
            .read("set.toml")
            .contains("architecture = \"small_cnn\"")
    );
}

/// SqueezeNet's weights under torchvision's names, drawn so that features neither vanish nor
/// explode.
fn squeezenet() -> Vec<u8> {
    use emberlens::architecture::{Architecture, Kind, Source, Traits, Variant};
    use safetensors::{Dtype, tensor::TensorView};
    let architecture = Architecture::find("squeezenet1_1").expect("listed");
    let Source::Table(build) = architecture.entry().source else {
        panic!("a table")
    };
    let network = build(&Variant {
        inputs: 3,
        width: 1.0,
        traits: Traits::TORCH,
    });
    let mut tensors = Vec::new();
    for (layer, inputs) in network.modules() {
        let Kind::Conv(conv) = &layer.kind else {
            panic!("all have weights: {layer:?}")
        };
        let shape = conv.weight_shape(inputs).to_vec();
        let count: usize = shape.iter().product();
        let scale = (6.0 / (count / shape[0]) as f32).sqrt();
        let value = |at: usize| ((at * 7919 + at * at % 1013) % 2003) as f32 / 1001.0 - 1.0;
        let name = layer
            .foreign_names
            .torchvision
            .as_deref()
            .expect("torchvision has it");
        let bytes: Vec<u8> = (0..count)
            .flat_map(|at| (value(at) * scale).to_le_bytes())
            .collect();
        tensors.push((format!("{name}.weight"), shape, bytes));
        tensors.push((
            format!("{name}.bias"),
            vec![conv.outputs],
            vec![0; 4 * conv.outputs],
        ));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("fits"),
        )
    });
    safetensors::serialize(views, None).expect("written")
}

#[test]
fn init_finds_weights_and_quick_trials_compare_them_with_a_network_from_scratch() {
    let place = Place::new();
    place.classes("set", &[10, 10, 10]);
    std::fs::create_dir(place.path("weights")).expect("created");
    std::fs::write(place.path("weights/of_mine.safetensors"), squeezenet()).expect("written");
    std::fs::write(place.path("weights/others.pth"), "no weights").expect("written");
    let run = |line: &str| {
        let output = place
            .command(line)
            .env("EMBERLENS_WEIGHTS", place.path("weights"))
            .output()
            .expect("started");
        let texts = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(output.status.code(), Some(0), "{texts:?}");
        texts.concat()
    };
    let list = run("weights list");
    assert!(
        list.lines()
            .any(|line| line.contains("squeezenet1_1") && line.contains("of_mine.safetensors")),
        "{list}"
    );
    let named = run("init set --weights weights/of_mine.safetensors --out named.toml");
    assert!(
        named.contains("Pretrained backbone: squeezenet1_1"),
        "{named}"
    );
    assert!(place.read("named.toml").contains("of_mine.safetensors"));
    run("train --config named.toml --dry-run --device cpu");
    // Classes of single letters are taken for signs, unless trials say otherwise.
    let tried = run("init set --quick-trials");
    assert!(
        tried.contains("best validation result: a network from scratch ")
            && tried.contains(", squeezenet1_1 "),
        "{tried}"
    );
    let taken = if tried.contains("Taken: squeezenet1_1") {
        "squeezenet1_1"
    } else {
        "small_cnn"
    };
    assert!(
        place
            .read("set.toml")
            .contains(&format!("architecture = \"{taken}\"")),
        "{tried}"
    );
    assert!(!place.path("checkpoints").exists(), "trials leave nothing");
}
