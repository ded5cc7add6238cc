//! A run as an ONNX model and as a PyTorch module. `tests/onnx_agrees.py` compares the model with
//! `predict` in onnxruntime.

use crate::support::{ON_ITS_SIDE, Place, python, root};

/// A run of one epoch on small color images, in `run`.
fn trained() -> Place {
    let place = Place::with_recipe("epochs = 1");
    place.done("train --config small.toml --out run");
    place
}

#[test]
fn a_run_is_exported_once_and_is_left_as_it_is() {
    let place = trained();
    let before = place.bytes("run/best/meta.json");
    let ran = place.done("export run --onnx model.onnx");
    assert!(
        ran.err.contains("ONNX model, 0.0 MB: model.onnx"),
        "{}",
        ran.err
    );
    assert_eq!(ran.out, "");
    let model = place.bytes("model.onnx");
    for name in [
        "backbone.blocks.0.conv.weight",
        "probabilities",
        "{0: 'a', 1: 'b'}",
    ] {
        assert!(
            model
                .windows(name.len())
                .any(|part| part == name.as_bytes()),
            "{name}"
        );
    }
    place.run("export run --onnx model.onnx").exits(
        2,
        "the file already exists; choose another --onnx: model.onnx",
    );
    place.done("export run/best --onnx again.onnx");
    assert_eq!(
        place.bytes("again.onnx"),
        model,
        "the same run is the same file"
    );
    place.done("export run/last --onnx half.onnx --half --preprocess none");
    assert!(place.bytes("half.onnx").len() < model.len());
    let ran = place.done("export run --pytorch model.py");
    assert!(ran.err.contains("PyTorch module: model.py"), "{}", ran.err);
    assert!(place.read("model.py").contains("CLASSES = [\"a\",\"b\"]\n"));
    place
        .run("export run --onnx new.onnx --pytorch model.py")
        .exits(
            2,
            "the file already exists; choose another --pytorch: model.py",
        );
    assert!(!place.path("new.onnx").exists());
    assert_eq!(place.bytes("run/best/meta.json"), before);
}

#[test]
fn a_run_that_has_no_whole_checkpoint_is_refused_with_its_path() {
    let place = trained();
    place.write("empty/config.toml", "name = \"x\"");
    for (run, reason) in [
        ("nowhere", "found no checkpoint"),
        ("empty", "found no checkpoint"),
    ] {
        let ran = place.run(&format!("export {run} --onnx model.onnx"));
        assert!(
            ran.err.contains(reason) && ran.err.contains(run),
            "{}",
            ran.err
        );
        assert_eq!(ran.code, Some(1));
    }
    let mut weights = place.bytes("run/best/model.safetensors");
    let middle = weights.len() / 2;
    weights[middle] ^= 1;
    std::fs::write(place.path("run/best/model.safetensors"), weights).expect("written");
    place
        .run("export run --onnx model.onnx")
        .exits(1, "model.safetensors is cut off or changed");
    std::fs::remove_dir_all(place.path("run/best")).expect("removed");
    place
        .run("export run --onnx model.onnx")
        .exits(1, "best/ is missing");
    assert!(!place.path("model.onnx").exists());
}

/// What a run is trained with, beside the recipe.
const CASES: [&[&str]; 15] = [
    &["data.resize=pad", "data.interpolation=bicubic"],
    &[
        "data.resize=crop",
        "data.interpolation=lanczos",
        "data.color=grayscale",
    ],
    &[
        "data.resize=pad",
        "data.interpolation=nearest",
        "data.normalize=dataset",
    ],
    &[
        "data.resize=crop",
        "data.interpolation=nearest",
        "data.normalize=tf",
    ],
    &[
        "data.resize=crop",
        "data.interpolation=box",
        "data.normalize=imagenet",
    ],
    &["data.interpolation=hamming", "data.normalize=samplewise"],
    &[
        "data.interpolation=nearest",
        "data.normalize=caffe",
        "model.batch_norm=true",
    ],
    &["data.normalize={ rescale = 0.01, zca_whitening = true, zca_epsilon = 1.0 }"],
    &[
        "data.normalize={ rescale = 0.01, samplewise_center = true }",
        "model.pooling=average",
    ],
    &["train.loss=binary_cross_entropy", "data.color=grayscale"],
    &[
        "train.loss=focal",
        "model.pooling=max_average",
        "model.head_norm=true",
    ],
    &["model.architecture=mobilenet_v3_small"],
    &["model.architecture=densenet121", "data.resize=crop"],
    &["model.architecture=convnext_tiny", "model.hidden=0"],
    &["model.architecture=dinov2_s", "data.image_size=[42, 56]"],
];

#[test]
#[ignore = "needs Python with onnxruntime"]
fn the_lines_of_the_guide_classify_as_predict_does() {
    let place =
        Place::with_recipe("epochs = 10\noptimizer = { kind = 'adam', learning_rate = 0.01 }");
    place.done("train --config small.toml --out flowers");
    place.done("export flowers --onnx flowers.onnx");
    let guide = std::fs::read_to_string(root().join("docs/export.md")).expect("the guide");
    let lines = guide
        .split("```python\n")
        .nth(1)
        .expect("a block of Python");
    let lines = lines.split("```").next().expect("its end");
    place.write("classify.py", lines);
    for (image, class) in [("train/a/002.png", "a"), ("train/b/003.png", "b")] {
        // Turned by a quarter: without its EXIF data the block would stand elsewhere.
        let pixels = image::open(place.path(image)).expect("an image");
        let mut jpeg = std::io::Cursor::new(Vec::new());
        let turned = pixels.rotate270().to_rgb8();
        turned
            .write_to(&mut jpeg, image::ImageFormat::Jpeg)
            .expect("in memory");
        let jpeg = jpeg.into_inner();
        let upright = [&jpeg[..2], ON_ITS_SIDE, &jpeg[2..]].concat();
        std::fs::write(place.path("rose.jpg"), upright).expect("written");
        let predicted = place
            .done("predict --checkpoint flowers --format jsonl rose.jpg")
            .json();
        assert_eq!(predicted["label"], class, "{predicted}");
        assert_eq!(python(&place, &["classify.py"]).trim(), class);
    }
}

#[test]
#[ignore = "needs Python with onnxruntime"]
fn onnxruntime_finds_the_mean_of_folds() {
    let place = Place::with_recipe("epochs = 6");
    let script = root().join("tests/onnx_agrees.py");
    let script = script.to_str().expect("a path of Unicode");
    python(&place, &[script, "images", "odd"]);
    // A mistake, for a temperature.
    let [from, to] = ["train/a/000.png", "train/b/100.png"].map(|name| place.path(name));
    std::fs::rename(from, to).expect("moved");
    place.done("train --config small.toml --out frozen");
    let frozen = "model.weights=frozen/best/model.safetensors";
    let mut checks = vec![script.to_owned()];
    for (run, settings) in [
        ("plain", ["train.loss=focal", "data.color=grayscale"]),
        ("dataset", ["data.normalize=dataset", "train.batch_size=4"]),
        (
            "sigmoid",
            ["train.loss=binary_cross_entropy", "train.batch_size=4"],
        ),
        ("shared", ["model.freeze=backbone", frozen]),
    ] {
        let [first, second] = settings;
        place.done(&format!(
            "train --config small.toml --out {run} --folds 3 --set {first} --set {second}"
        ));
        if run == "dataset" {
            place.done("calibrate dataset --temperature");
        }
        let found = place.done(&format!("predict --checkpoint {run} --format jsonl odd"));
        let predicted = format!("{run}.jsonl");
        place.write(&predicted, &found.out);
        for (form, bound) in [
            ("--preprocess exact", "2e-6"),
            ("--preprocess float32", "2e-2"),
            ("--preprocess none", "2e-6"),
            ("--half", "2e-3"),
        ] {
            let file = format!("{run}{}.onnx", form.replace(' ', "-"));
            place.done(&format!("export {run} --onnx {file} {form}"));
            checks.extend([file, predicted.clone(), bound.to_owned(), "0".to_owned()]);
        }
        place.done(&format!("export {run} --pytorch {run}.py"));
        python(&place, &["-m", "py_compile", &format!("{run}.py")]);
    }
    // All in one process: it takes longer to start than to compare.
    let checks: Vec<&str> = checks.iter().map(String::as_str).collect();
    python(&place, &checks);
    let sizes = ["plain", "shared"].map(|run| place.bytes(&format!("{run}--half.onnx")).len());
    assert!(
        sizes[1] < sizes[0],
        "frozen layers are stored once: {sizes:?}"
    );
}

#[test]
#[ignore = "needs Python with onnxruntime"]
fn onnxruntime_finds_the_probabilities_of_predict() {
    let place = Place::with_recipe("epochs = 1");
    let script = root().join("tests/onnx_agrees.py");
    let script = script.to_str().expect("a path of Unicode");
    let runs = |arguments: &[&str]| python(&place, arguments);
    runs(&[script, "images", "odd"]);
    let of_backbones = place
        .read("small.toml")
        .replace(
            "channels = [4, 8]",
            "weights = \"none\"\npooling = \"average\"",
        )
        .replace("[20, 24]", "[40, 48]");
    place.write("backbone.toml", &of_backbones);
    let mut checks = vec![script.to_owned()];
    for (index, settings) in CASES.iter().enumerate() {
        let is_backbone = settings[0].starts_with("model.architecture");
        let recipe = if is_backbone {
            "backbone.toml"
        } else {
            "small.toml"
        };
        let run = format!("run-{index}");
        let mut train = vec!["train", "--config", recipe, "--out", &run];
        settings
            .iter()
            .for_each(|setting| train.extend(["--set", setting]));
        place.done(&train);
        let found = place.done(&format!("predict --checkpoint {run} --format jsonl odd"));
        let predicted = format!("{run}.jsonl");
        place.write(&predicted, &found.out);
        let is_stretched = !settings
            .iter()
            .any(|setting| setting.starts_with("data.resize"));
        // With `nearest`, float32 takes the pixel beside where an image's side is 7 or 640 pixels,
        // in three of the images, and no other.
        let is_nearest = settings.contains(&"data.interpolation=nearest");
        let float32 = if is_nearest {
            ("2e-6", "3")
        } else {
            ("2e-2", "0")
        };
        let forms = [
            ("exact", ("2e-6", "0")),
            ("float32", float32),
            ("none", ("2e-6", "0")),
        ];
        for (form, (bound, most)) in forms {
            if form == "none" && !is_stretched {
                continue;
            }
            let file = format!("{run}-{form}.onnx");
            place.done(&format!("export {run} --onnx {file} --preprocess {form}"));
            checks.extend([file, predicted.clone(), bound.to_owned(), most.to_owned()]);
        }
        place.done(&format!("export {run} --pytorch {run}.py"));
        runs(&["-m", "py_compile", &format!("{run}.py")]);
    }
    let checks: Vec<&str> = checks.iter().map(String::as_str).collect();
    runs(&checks);
}
