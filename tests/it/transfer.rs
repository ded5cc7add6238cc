//! Transfer learning end to end, on small networks: a run's weights are another's backbone.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::SafeTensors;

use crate::support::{Place, Ran};

/// A folder with images, their own validation images, and the run `first`, whose backbone the
/// others take.
fn place() -> Place {
    let place = Place::new();
    place.classes("train", &[17, 13]);
    place.classes("val", &[5, 4]);
    place.recipe("validation = \"val\"", "");
    place.done("train --config small.toml --out first --set train.epochs=2");
    place
}

const WEIGHTS: &str = "model.weights=first/best/model.safetensors";
const PLAIN: [&str; 3] = [
    "augment.rotation_range=0",
    "augment.width_shift_range=0",
    "augment.horizontal_flip=false",
];

/// `train` of a run `out` on the backbone of `first`.
fn training<'a>(out: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let settings = [WEIGHTS].into_iter().chain(settings.iter().copied());
    ["train", "--config", "small.toml", "--out", out]
        .into_iter()
        .chain(settings.flat_map(|setting| ["--set", setting]))
        .collect()
}

fn transfer(place: &Place, out: &str, settings: &[&str]) -> Ran {
    place.done(&training(out, settings))
}

fn tensors(place: &Place, file: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = place.bytes(file);
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    file.iter()
        .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
        .collect()
}

fn features(place: &Place) -> Vec<(String, std::time::SystemTime)> {
    let folder = place.path("cache/emberlens/features");
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("listed")
        .map(|entry| {
            let entry = entry.expect("read");
            let changed = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .expect("known");
            (entry.file_name().to_string_lossy().into_owned(), changed)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_frozen_backbone_keeps_its_bytes_and_has_no_optimizer_state() {
    let place = place();
    transfer(&place, "run", &["model.freeze=backbone", "train.epochs=3"]);
    let (source, head) = (
        tensors(&place, "first/best/model.safetensors"),
        tensors(&place, "run/last/model.safetensors"),
    );
    assert!(
        head.keys().all(|name| name.starts_with("head.")) && head.len() == 4,
        "{:?}",
        head.keys()
    );
    assert!(
        head.iter().all(|(name, values)| source[name] != *values),
        "the head starts anew and is trained"
    );
    for folder in ["best", "last"] {
        let backbone = tensors(&place, &format!("run/{folder}/backbone.safetensors"));
        assert_eq!(backbone.len() + head.len(), source.len());
        assert!(
            backbone
                .iter()
                .all(|(name, values)| source[name] == *values),
            "{folder}"
        );
    }
    let state = tensors(&place, "run/last/optimizer.safetensors");
    assert!(
        !state.is_empty() && state.keys().all(|name| name.starts_with("optimizer.head.")),
        "{:?}",
        state.keys()
    );
    // A checkpoint by itself, elsewhere, with nothing of the run beside it.
    copy(&place.path("run/best"), &place.path("alone"));
    let [alone, run] = ["alone", "run"].map(|checkpoint| {
        let line = format!("evaluate --checkpoint {checkpoint} --data val --json");
        place.done(&line).json()
    });
    assert_eq!(alone["loss"], run["loss"]);
    let predicted = place
        .done("predict --checkpoint alone val/a --format jsonl")
        .out;
    assert_eq!(predicted.lines().count(), 5);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("read").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

#[test]
fn damaged_features_are_computed_anew_and_change_nothing() {
    let place = place();
    let frozen = [&PLAIN[..], &["model.freeze=backbone", "train.epochs=2"]].concat();
    transfer(&place, "whole", &frozen);
    for (round, at) in [0, usize::MAX].into_iter().enumerate() {
        for (name, _) in features(&place) {
            let path = place.path(&format!("cache/emberlens/features/{name}"));
            let mut bytes = fs::read(&path).expect("read");
            // A value of the first image, and the sum of the last.
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("written");
        }
        let out = format!("run{round}");
        let ran = transfer(&place, &out, &frozen);
        assert_eq!(
            ran.err
                .matches("the cached features are damaged and are computed again")
                .count(),
            2,
            "{}",
            ran.err
        );
        assert!(place.result(&out) == place.result("whole"));
    }
}

#[test]
fn cached_features_give_the_same_bytes_as_fresh_ones() {
    let place = place();
    let frozen = ["model.freeze=backbone", "train.epochs=3"];
    transfer(&place, "fresh", &frozen);
    let after_fresh = features(&place);
    assert_eq!(after_fresh.len(), 1, "those of the validation images");
    transfer(
        &place,
        "cached",
        &[&frozen[..], &["train.feature_cache=3"]].concat(),
    );
    assert!(
        place.result("fresh") == place.result("cached"),
        "as many augmentations as epochs"
    );
    let after_cached = features(&place);
    assert_eq!(after_cached.len(), 4);
    transfer(
        &place,
        "again",
        &[&frozen[..], &["train.feature_cache=3"]].concat(),
    );
    assert!(place.result("again") == place.result("cached"));
    assert_eq!(
        features(&place),
        after_cached,
        "nothing is computed or written again"
    );
    transfer(
        &place,
        "fewer",
        &[&frozen[..], &["train.feature_cache=2"]].concat(),
    );
    assert_eq!(features(&place), after_cached, "two of the three are there");
    assert!(
        place.result("fewer") != place.result("cached"),
        "the third epoch sees the first augmentation again"
    );
    for (change, more) in [
        ("seed=7", 2),
        ("augment.rotation_range=11", 2),
        ("data.normalize=samplewise", 3),
        ("train.sampler=balanced", 0),
    ] {
        let before = features(&place).len();
        transfer(
            &place,
            &change.replace(['=', '.'], "_"),
            &[&frozen[..], &["train.feature_cache=2", change]].concat(),
        );
        assert_eq!(features(&place).len() - before, more, "{change}");
    }
}

#[test]
fn averaged_features_are_cached_after_the_pooling_and_give_the_same_bytes() {
    let place = place();
    let frozen = [
        "model.freeze=backbone",
        "train.epochs=2",
        "model.pooling=average",
    ];
    transfer(&place, "fresh", &frozen);
    transfer(
        &place,
        "cached",
        &[&frozen[..], &["train.feature_cache=2"]].concat(),
    );
    assert!(place.result("fresh") == place.result("cached"));
    let folder = place.path("cache/emberlens/features");
    let sizes: Vec<_> = fs::read_dir(folder)
        .expect("listed")
        .map(|entry| entry.expect("read").metadata().expect("known").len())
        .collect();
    // Eight channels of four bytes, and a checksum of four: nine validation images, and thirty of
    // each augmentation.
    assert!(
        sizes.len() == 3 && sizes.iter().all(|size| [9 * 36, 30 * 36].contains(size)),
        "{sizes:?}"
    );
}

/// The averages of weights lag behind the weights, in layers too that are frozen after they were
/// trained.
#[test]
fn layers_that_an_earlier_phase_trained_give_the_features_that_steps_compute() {
    let place = place();
    let phases =
        "train.phases=[{ epochs = 2, freeze = 'none' }, { epochs = 2, freeze = 'backbone' }]";
    let start = [phases, "train.ema_decay=0.9"];
    transfer(&place, "fresh", &start);
    transfer(
        &place,
        "cached",
        &[&start[..], &["train.feature_cache=4"]].concat(),
    );
    assert!(
        features(&place).len() > 1,
        "training and validation features"
    );
    assert!(
        place.result("cached") == place.result("fresh"),
        "as many augmentations as epochs"
    );
}

#[test]
fn without_augmentation_training_features_are_computed_once_and_blocks_can_be_frozen() {
    let place = place();
    for freeze in ["backbone", "blocks:1"] {
        let before = features_or_none(&place);
        let freeze = format!("model.freeze={freeze}");
        transfer(
            &place,
            &freeze,
            &[&PLAIN[..], &[&freeze, "train.epochs=3"]].concat(),
        );
        assert_eq!(
            features_or_none(&place) - before,
            2,
            "{freeze}: training and validation images"
        );
    }
    let trained = tensors(&place, "model.freeze=blocks:1/last/model.safetensors");
    assert!(
        trained.contains_key("backbone.blocks.1.conv.weight")
            && !trained.contains_key("backbone.blocks.0.conv.weight")
    );
    let source = tensors(&place, "first/best/model.safetensors");
    assert_ne!(
        trained["backbone.blocks.1.conv.weight"], source["backbone.blocks.1.conv.weight"],
        "the second block is trained"
    );
}

fn features_or_none(place: &Place) -> usize {
    if place.path("cache/emberlens/features").is_dir() {
        features(place).len()
    } else {
        0
    }
}

const PHASES: &str = "train.phases=[{ epochs = 2, freeze = 'backbone' }, { epochs = 2, freeze = \
                      'blocks:1', learning_rate = 1e-4, layer_factor = 0.5 }, { epochs = 2, freeze \
                      = 'none' }]";

#[test]
fn phases_are_resumed_exactly_and_a_run_without_them_is_another() {
    let place = place();
    let more = ["train.ema_decay=0.9", "train.schedule={ kind = 'cosine' }"];
    transfer(&place, "whole", &[&more[..], &[PHASES]].concat());
    let whole = place.result("whole");
    assert_eq!(whole.2.len(), 7);
    // The last phase cut short, then given back.
    let last = |epochs: u32| format!("{{ epochs = {epochs}, freeze = 'none' }}");
    let short = PHASES.replace(&last(2), &last(1));
    transfer(
        &place,
        "short",
        &[&more[..], &[&short, "train.schedule={ kind = 'constant' }"]].concat(),
    );
    transfer(
        &place,
        "long",
        &[&more[..], &[PHASES, "train.schedule={ kind = 'constant' }"]].concat(),
    );
    place.done(&("train --resume short --set", PHASES));
    assert!(
        place.result("short") == place.result("long"),
        "a longer last phase"
    );
    let other = PHASES.replace("blocks:1", "none");
    let refused = place.run(&("train --resume short --set", other.as_str()));
    refused.exits(2, "train.phases");
    let rates: Vec<_> = place
        .result("long")
        .2
        .iter()
        .skip(1)
        .map(|line| line.rsplit(',').next().expect("a rate").to_owned())
        .collect();
    assert_eq!(
        rates,
        ["0.001", "0.001", "0.0001", "0.0001", "0.001", "0.001"]
    );
}

/// Nothing improves by a hundred: each phase ends after its second epoch, and the next begins.
#[test]
fn a_phase_ends_early_too_and_the_next_begins() {
    let place = place();
    let stopping = "train.early_stopping={ monitor = 'val_loss', min_delta = 100.0, patience = 1 }";
    let ran = transfer(&place, "early", &[PHASES, stopping]);
    assert!(
        ran.err.matches("early stopping").count() == 3 && ran.err.contains("Phase 3 of 3"),
        "{}",
        ran.err
    );
}

#[test]
fn a_run_with_phases_killed_and_resumed_ends_with_the_same_bytes() {
    let place = place();
    let more = [
        "train.checkpoint={ every_steps = 1 }",
        "train.feature_cache=2",
        PHASES,
    ];
    transfer(&place, "whole", &more);
    for kill in 0..8u64 {
        let arguments = if kill == 0 {
            training("killed", &more)
        } else {
            vec!["train", "--resume", "killed"]
        };
        let mut child = place
            .command(&arguments)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("started");
        let deadline = std::time::Instant::now()
            + std::time::Duration::from_millis(if kill == 0 { 20_000 } else { 60 + 70 * kill });
        while child.try_wait().expect("asked").is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(2));
            // The first time, as soon as there is something to go on with.
            if kill == 0 && place.path("killed/last/state.json").is_file() {
                break;
            }
        }
        let _ = child.kill();
        child.wait().expect("waited for");
    }
    place.done("train --resume killed");
    assert!(place.result("whole") == place.result("killed"));
}

#[test]
fn a_checkpoint_without_its_backbone_needs_the_same_file() {
    let place = place();
    let more = ["model.freeze=backbone", "train.epochs=2"];
    transfer(
        &place,
        "run",
        &[
            &more[..],
            &["train.checkpoint={ include_backbone = false }"],
        ]
        .concat(),
    );
    assert!(!place.path("run/best/backbone.safetensors").exists());
    let evaluate = "evaluate --checkpoint run --data val --json";
    place.done(evaluate);
    place.done("train --resume run --set train.epochs=3");
    let source = place.path("first/best/model.safetensors");
    let moved = place.path("moved.safetensors");
    fs::rename(&source, &moved).expect("moved");
    let ran = place.run(evaluate);
    assert!(
        ran.code == Some(1)
            && ran.err.contains("first/best/model.safetensors")
            && ran.err.contains("no such file"),
        "{}",
        ran.err
    );
    #[cfg(feature = "serve")]
    place
        .run("serve run --port 0 --device cpu")
        .exits(1, "first/best/model.safetensors");
    // The weights of another run under its name.
    place.done("train --config small.toml --out second --set train.epochs=1 --set seed=3");
    fs::copy(place.path("second/best/model.safetensors"), &source).expect("copied");
    let ran = place.run(evaluate);
    ran.exits(1, "differ from those");
    fs::rename(&moved, &source).expect("moved back");
    place.done(evaluate);
}

#[test]
fn weights_are_listed_and_a_failed_download_says_what_to_do_by_hand() {
    let place = Place::new();
    let list = place.done("weights list").out;
    insta::assert_snapshot!("weights_list", place.masked(&list));
    let ran = place.run("weights fetch vgg61");
    ran.exits(2, "expected one of");
    // A proxy on loopback, the only way to a host that isn't there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = format!("http://{}", listener.local_addr().expect("bound"));
    let served = std::thread::Builder::new()
        .spawn(move || asked(&listener))
        .expect("started");
    let output = place
        .command("weights fetch squeezenet1_1 --mirror http://weights.invalid/models/")
        .env("HTTP_PROXY", &proxy)
        .env("ALL_PROXY", &proxy)
        .env("NO_PROXY", "")
        .output()
        .expect("started");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for expected in [
        "418",
        "squeezenet1_1-b8a52dc0.pth",
        "4958839 bytes",
        "b8a52dc049b6",
        "cache/emberlens/weights",
        "model.weights",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert!(served.join().expect("served").contains("weights.invalid"));
    // A recipe that needs them fails the same way before anything is written.
    place.classes("train", &[6, 6]);
    place.write(
        "t.toml",
        "name = 't'\ndevice = 'cpu'\n[data]\ntrain = 'train'\nimage_size = [40, 48]\n[model]\n\
         architecture = 'squeezenet1_1'\n",
    );
    let output = place
        .command("train --config t.toml")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .output();
    let output = output.expect("started");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1)
            && error.contains("put the file squeezenet1_1-b8a52dc0.pth"),
        "{error}"
    );
    assert!(!place.path("checkpoints").exists());
}

/// Answers one tunnel or request with a refusal; what was asked for.
fn asked(listener: &std::net::TcpListener) -> String {
    use std::io::{BufRead, BufReader, Write};
    let mut asked = String::new();
    let (mut stream, _) = listener.accept().expect("a request");
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    for _ in 0..2 {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n")
            && reader.read_line(&mut head).is_ok_and(|count| count > 0)
        {}
        asked += &head;
        let is_tunnel = head.starts_with("CONNECT");
        let answer = if is_tunnel {
            "HTTP/1.1 200 OK\r\n\r\n"
        } else {
            "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        };
        stream.write_all(answer.as_bytes()).expect("answered");
        if !is_tunnel {
            break;
        }
    }
    asked
}
