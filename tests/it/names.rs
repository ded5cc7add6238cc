//! Names that no system and no format likes lose nobody a report, a manifest or a map.

use crate::support::Place;

/// Classes of a CSV, which may be called anything.
const CLASSES: [&str; 2] = ["\u{1b}[31mred|\"x\" <b>/..", "\u{e9}"];

#[test]
fn classes_and_files_of_any_name_are_reported_explained_and_written() {
    let place = Place::new();
    place.classes("train", &[10, 10]);
    let long = "\u{e9}".repeat(120);
    let mut list = csv_line(&["path", "label"]);
    for (index, folder) in ["a", "b"].iter().enumerate() {
        let class = CLASSES[index].repeat([1, 200][index]);
        for number in 0..10 {
            let name = if number == 0 {
                format!("{long}.png")
            } else {
                format!("n{number:03} (1).png")
            };
            std::fs::rename(
                place.path(&format!("train/{folder}/{number:03}.png")),
                place.path(&format!("train/{folder}/{name}")),
            )
            .expect("renamed");
            list += &csv_line(&[&format!("train/{folder}/{name}"), &class]);
        }
    }
    place.write("list.csv", &list);
    place.recipe("", "epochs = 1\nschedule = { kind = 'constant' }");
    place.replace("small.toml", "train = \"train\"", "train = \"list.csv\"");
    place.done("train --config small.toml --out run");
    for file in ["run/report.html", "run/plots/confusion_matrix.svg"] {
        let text = place.read(file);
        assert!(
            text.contains("\\x1B[31mred") && !text.contains('\u{1b}'),
            "{file}"
        );
    }
    assert!(place.path("run/plots/confusion_matrix.png").is_file());
    place.done("evaluate --checkpoint run --data list.csv --device cpu");
    place.done("explain --checkpoint run train --out maps --device cpu");
    assert_eq!(place.read("maps/explanations.jsonl").lines().count(), 20);
    place.done("augment --config small.toml --out new --per-image 1");
    let rows = csv::Reader::from_path(place.path("new/manifest.csv"))
        .expect("a manifest")
        .into_records()
        .count();
    assert_eq!(
        rows,
        16 + 20,
        "old and new training images, and those held back"
    );
    for folder in ["maps", "new"] {
        for entry in std::fs::read_dir(place.path(folder)).expect("listed") {
            let name = entry
                .expect("read")
                .file_name()
                .to_string_lossy()
                .into_owned();
            assert!(
                !name.contains(char::is_control) && name.len() < 200,
                "{name:?}"
            );
        }
    }
}

fn csv_line(fields: &[&str]) -> String {
    let quoted: Vec<_> = fields
        .iter()
        .map(|field| format!("\"{}\"", field.replace('"', "\"\"")))
        .collect();
    quoted.join(",") + "\n"
}
