//! What a person reads on the terminal, as a whole: the results of each command on small runs, and
//! what is said where a command can't do its work.

use std::fmt::Write;

use crate::support::{Place, Ran, masked_numbers};

/// A run that tells its classes apart, `run`, and another of the same images, `other`.
fn place() -> Place {
    let place = Place::new();
    place.classes("train", &[24, 18]);
    place.classes("test", &[6, 4]);
    place.recipe(
        "test = 'test'",
        "epochs = 6\noptimizer = { kind = 'adam', learning_rate = 0.01 }",
    );
    place.done("train --config small.toml --out run");
    place.done("train --config small.toml --out other --set seed=7");
    place
}

/// The commands and what `shown` takes of each, for a snapshot.
fn each(place: &Place, commands: &[&str], shown: fn(&Ran) -> String) -> String {
    let mut text = String::new();
    for command in commands {
        // Which devices there are is the machine's.
        let opens_device = ["predict", "evaluate", "explain", "calibrate"];
        let device = if opens_device.iter().any(|verb| command.starts_with(verb)) {
            " --device cpu"
        } else {
            ""
        };
        let ran = place.run(&format!("{command}{device}"));
        let found = place.masked(&masked_numbers(&shown(&ran)));
        let date = regex_lite::Regex::new("20[0-9]{2}-[0-9]{2}-[0-9]{2}").expect("a pattern");
        let found = date.replace_all(&found, "DATE");
        writeln!(text, "$ emberlens {command}\n{}\n", found.trim_end()).expect("memory");
    }
    text
}

#[test]
fn results_are_tables_and_sentences() {
    let place = place();
    let commands = [
        "predict --checkpoint run test/a/000.png test/b",
        "evaluate --checkpoint run --split val",
        "evaluate --checkpoint run --by format --out sliced",
        "evaluate --checkpoint run --compare other --out compared",
        "explain --checkpoint run test/a/000.png --out explained",
        "calibrate run --sensitivity a=0.5 --coverage 0.5",
        "predict --checkpoint run test/b/001.png --top-k 1 --abstain",
        "runs .",
        "shard test --out packed",
        "index packed",
        "init train --out drafted.toml",
        "recipes",
        "train --config small.toml --folds 3 --out folds --set train.epochs=2",
    ];
    insta::assert_snapshot!(
        "results",
        each(&place, &commands, |ran| {
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            ran.out.clone()
        })
    );
}

#[test]
fn a_command_that_cannot_do_its_work_says_what_it_found_and_what_to_do() {
    let place = place();
    place.write("empty.txt", "");
    std::fs::create_dir(place.path("empty")).expect("made");
    let commands = [
        "predict --checkpoint nowhere test",
        "predict --checkpoint run nowhere.png",
        "predict --checkpoint run empty",
        "predict --checkpoint run empty.txt",
        "predict --checkpoint test test",
        "evaluate --checkpoint run --data empty",
        "evaluate --checkpoint run --data test/a",
        "evaluate --checkpoint run --by scanner",
        "evaluate --checkpoint run --compare nowhere",
        "explain --checkpoint run test/a/000.png --layer 9",
        "explain --checkpoint run test/a/000.png --class c",
        "calibrate run --sensitivity c=0.9",
        "calibrate run --sensitivity a=1.9",
        "calibrate run",
        "train --config nowhere.toml",
        "train --resume nowhere",
        "train --config small.toml --out run",
        "train nowhere",
        "train empty",
        "init nowhere",
        "inspect empty",
        "runs empty",
        "index empty",
        "shard nowhere --out packed",
        "export run",
        "export run --onnx test/a/000.png",
        "import nowhere.ipynb",
        "import empty.txt",
        "weights fetch vgg61",
        "recipes phantm",
        "preview --config small.toml --out train/preview.png",
    ];
    insta::assert_snapshot!(
        "refusals",
        each(&place, &commands, |ran| {
            assert_ne!(ran.code, Some(0), "{}", ran.out);
            format!(
                "{}exit code {}",
                ran.err,
                ran.code.expect("an end of its own")
            )
        })
    );
}
