//! The written reference is the program's own. `EMBERLENS_WRITE_DOCS=1 cargo test --release docs`
//! writes it anew.

use std::collections::BTreeSet;

use emberlens::{
    augment::examples_markdown,
    cli,
    config::{
        Counterpart, KERAS_LAYERS, KERAS_NETWORKS, KERAS_SOURCES, KERAS_TRAINING, keras_markdown,
        reference_markdown, schema_json,
    },
};
use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Place, json, root};

fn is_writing() -> bool {
    std::env::var_os("EMBERLENS_WRITE_DOCS").is_some()
}

/// Holds a file against what it should be, or writes it.
#[track_caller]
fn assert_written(file: &str, text: &str) {
    let path = root().join(file);
    if is_writing() {
        std::fs::write(&path, text).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "{file} is out of date: run EMBERLENS_WRITE_DOCS=1 cargo test --release docs"
    );
}

#[test]
fn the_reference_and_the_schema_are_those_of_the_source() {
    assert_written("docs/configuration.md", &reference_markdown());
    assert_written("configs/schema.json", &schema_json());
    assert_written("docs/commands.md", &cli::reference_markdown());
}

/// The paths of all keys below a part of the schema, `prefix` before each.
fn add_keys(keys: &mut BTreeSet<String>, schema: &Value, at: &Value, prefix: &str) {
    if let Some(name) = at["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a last part");
        add_keys(keys, schema, &schema["$defs"][name], prefix);
    }
    for (key, value) in at["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        add_keys(keys, schema, value, &format!("{path}."));
        keys.insert(path);
    }
    for form in ["anyOf", "oneOf"]
        .iter()
        .flat_map(|name| at[*name].as_array().into_iter().flatten())
    {
        add_keys(keys, schema, form, prefix);
    }
}

fn schema_keys() -> BTreeSet<String> {
    let schema = json(&schema_json());
    let mut keys = BTreeSet::new();
    add_keys(&mut keys, &schema, &schema, "");
    keys
}

#[test]
fn every_key_of_a_recipe_is_in_the_reference() {
    let page = reference_markdown();
    for key in schema_keys() {
        let is_section = ["data", "augment", "model", "train"].contains(&key.as_str());
        if !is_section && key.split('.').count() < 3 {
            assert!(page.contains(&format!("| `{key}` |")), "{key} has no theme");
        }
    }
}

#[test]
fn every_argument_of_keras_leads_to_a_key_or_a_command() {
    let page = read("docs/coming-from-keras.md");
    let (head, _) = page.split_once("<!-- tables").expect("a mark");
    let note = "<!-- tables: made from src/config/keras by EMBERLENS_WRITE_DOCS=1 cargo test \
                --release docs -->";
    let page = format!("{head}{note}\n\n{}", keras_markdown());
    assert_written("docs/coming-from-keras.md", &page);
    let keys = schema_keys();
    let place = Place::new();
    let calls = [KERAS_SOURCES, KERAS_TRAINING, KERAS_LAYERS, KERAS_NETWORKS].concat();
    for argument in calls.iter().flat_map(|call| call.arguments) {
        match argument.here {
            Counterpart::Keys(named) => {
                for key in named {
                    assert!(keys.contains(*key), "{}: {key}", argument.name);
                }
            }
            Counterpart::Command(line) => {
                let (command, option) = line.split_once(' ').expect("an option");
                place.done(&format!("{command} --help")).prints(option);
            }
            Counterpart::Fixed | Counterpart::Missing => {}
        }
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).expect("the page")
}

/// The page on augmentation, with the part on families as the source has it.
fn augmentation_page() -> String {
    let page = read("docs/augmentation.md");
    let (head, rest) = page.split_once("<!-- families").expect("a first mark");
    let (note, rest) = rest.split_once("-->\n").expect("the end of the mark");
    let (_, tail) = rest.split_once("<!-- end").expect("a second mark");
    let families = examples_markdown();
    format!("{head}<!-- families{note}-->\n\n{families}<!-- end{tail}")
}

/// A house beside a tree under the sun: nothing in it is symmetric.
fn landscape(is_night: bool) -> RgbImage {
    RgbImage::from_fn(64, 48, |x, y| {
        let (column, row) = (x as i32, y as i32);
        let in_circle =
            |cx: i32, cy: i32, r: i32| (column - cx).pow(2) + (row - cy).pow(2) <= r * r;
        if is_night {
            let star = (column * 7 + row * 13) % 61 == 0 && row < 26;
            return if in_circle(48, 12, 8) {
                Rgb([230, 230, 210])
            } else if star {
                Rgb([255, 255, 255])
            } else {
                Rgb([20 + y as u8, 20, 60 + 2 * y as u8])
            };
        }
        match (column, row) {
            _ if in_circle(10, 9, 6) => Rgb([250, 210, 40]),
            _ if in_circle(15, 27, 7) => Rgb([20, 110, 40]),
            (14..=16, 32..=40) => Rgb([100, 60, 30]),
            (43..=48, 31..=40) => Rgb([60, 40, 90]),
            (34..=54, 22..=40) => Rgb([200, 60, 50]),
            (30..=58, 10..=21) if (column - 44).abs() <= (row - 8) => Rgb([90, 50, 40]),
            (_, 41..) => Rgb([90, 160 + (x % 5) as u8 * 6, 60]),
            _ => Rgb([110 + 2 * y as u8, 170 + y as u8, 240]),
        }
    })
}

#[test]
fn every_example_of_the_augmentation_page_looks_as_shown() {
    let page = augmentation_page();
    assert_written("docs/augmentation.md", &page);
    let place = Place::new();
    for (name, is_night) in [("day", false), ("night", true)] {
        for part in ["train", "val"] {
            let folder = place.path(&format!("{part}/{name}"));
            std::fs::create_dir_all(&folder).expect("created");
            let saved = landscape(is_night).save(folder.join("a.png"));
            saved.expect("saved");
        }
    }
    place.write(
        "x.toml",
        "name = \"x\"\n[data]\ntrain = \"train\"\nvalidation = \"val\"\nimage_size = [48, 64]\n",
    );
    let mut examples = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(settings) = line
            .strip_prefix("### `")
            .and_then(|line| line.strip_suffix('`'))
        else {
            continue;
        };
        let image = lines
            .by_ref()
            .find_map(|line| {
                line.split_once("](")
                    .and_then(|(_, rest)| rest.strip_suffix(')'))
            })
            .expect("an image for each");
        let out = format!("{examples}.png");
        let set = format!("augment={{ {settings} }}");
        let image_and_epochs = "--image train/day/a.png --epochs 5";
        let line = format!("preview --config x.toml {image_and_epochs} --out {out} --set");
        place.done(&(line.as_str(), set.as_str()));
        let path = root().join("docs").join(image);
        if is_writing() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            std::fs::copy(place.path(&out), &path).expect("copied");
        }
        let shown = image::open(&path)
            .unwrap_or_else(|error| panic!("{image}: {error}"))
            .to_rgb8();
        let made = image::open(place.path(&out))
            .expect("just written")
            .to_rgb8();
        assert_eq!(shown.dimensions(), made.dimensions(), "{image}");
        // Sines and powers differ in their last bits from one system to the next.
        let differing = shown
            .pixels()
            .zip(made.pixels())
            .filter(|(a, b)| (0..3).any(|channel| a[channel].abs_diff(b[channel]) > 2))
            .count();
        assert!(
            differing * 200 < made.pixels().len(),
            "{image} is out of date: run EMBERLENS_WRITE_DOCS=1 cargo test --release docs"
        );
        examples += 1;
    }
    assert!(examples >= 30, "{examples}");
}
