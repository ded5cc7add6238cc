//! `import`: notebooks and scripts of our own, which repeat what those of many people do, become
//! recipes, and what is wrong with them is named. Snapshots hold both.

use std::{collections::BTreeMap, fs};

use serde_json::json;

use crate::support::{Place, json, root};

/// The sources below `tests/notebooks` by their names. Where cells are separated by `# %%`, it is a
/// notebook, else a script.
fn sources() -> BTreeMap<String, String> {
    let found: BTreeMap<_, _> = fs::read_dir(root().join("tests/notebooks"))
        .expect("listed")
        .map(|entry| entry.expect("read").path())
        .map(|path| {
            let name = path.file_stem().expect("a name").display().to_string();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect();
    assert!(found.len() >= 30, "{} notebooks", found.len());
    found
}

/// Writes a source as a notebook or script, and returns its file's name.
fn write(place: &Place, name: &str, code: &str) -> String {
    const CELL: &str = "# %%\n";
    if !code.contains(CELL) {
        place.write(&format!("{name}.py"), code);
        return format!("{name}.py");
    }
    let mut cells: Vec<_> = code
        .split(CELL)
        .map(|code| {
            let lines: Vec<_> = code.split_inclusive('\n').collect();
            json!({ "cell_type": "code", "source": lines, "outputs": [] })
        })
        .collect();
    // A text cell isn't counted.
    cells.insert(1, json!({ "cell_type": "markdown", "source": "# Data" }));
    let notebook = json!({ "cells": cells, "nbformat": 4, "nbformat_minor": 5 });
    place.write(&format!("{name}.ipynb"), &notebook.to_string());
    format!("{name}.ipynb")
}

#[test]
fn notebooks_become_recipes_and_their_mistakes_are_named() {
    let place = Place::new();
    for (name, code) in sources() {
        let file = write(&place, &name, &code);
        let ran = place.run(&format!("import {file} --out {name}.toml"));
        if ran.code == Some(2) {
            insta::assert_snapshot!(format!("import_{name}"), ran.err);
            continue;
        }
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
        let recipe = place.read(&format!("{name}.toml"));
        insta::assert_snapshot!(format!("import_{name}"), format!("{}\n{recipe}", ran.out));
    }
}

/// Every key came from a line of the notebook, but the recipe's name.
#[test]
fn each_key_tells_the_line_that_it_comes_from() {
    let place = Place::new();
    for (name, code) in sources() {
        let file = write(&place, &name, &code);
        let ran = place.run(&format!("import {file}"));
        let unit = if file.ends_with(".py") {
            "# line "
        } else {
            "# cell "
        };
        for line in ran.out.lines() {
            let is_key = line.contains(" = ") && !line.ends_with('[') && !line.starts_with('#');
            let has_place = line.contains(unit) || line.starts_with("name = ");
            assert!(!is_key || has_place, "{name}: {line}");
        }
    }
}

#[test]
fn findings_and_recipe_are_json_too() {
    let place = Place::new();
    let code = &sources()["not_rescaled_early_stopping"];
    let file = write(&place, "n", code);
    let ran = place.done(&format!("import {file} --json"));
    let found = json(&ran.out);
    assert!(found["recipe"].as_str().expect("text").contains("[train]"));
    let first = &found["findings"][0];
    assert_eq!(
        (
            &first["kind"],
            &first["mistake"],
            &first["cell"],
            &first["line"]
        ),
        (
            &json!("mistake"),
            &json!("not_scaled"),
            &json!(2),
            &json!(2)
        )
    );
    assert!(first["what"].is_string() && first["here"].is_string());
}

#[test]
fn what_is_no_notebook_and_what_is_there_already_is_refused() {
    let place = Place::new();
    place.write("a.ipynb", "model.fit(x)");
    place.write("b.py", "print(1)");
    place.write("c.txt", "");
    let code = &sources()["first_data_format"];
    let file = write(&place, "d", code);
    place.write("d.toml", "mine");
    for (arguments, expected) in [
        ("import a.ipynb", "found no notebook"),
        ("import b.py", "found no network that is trained"),
        (
            "import c.txt",
            "expected a notebook (.ipynb), a script (.py) or a saved model",
        ),
        ("import missing.py", "can't read the file"),
        (&format!("import {file} --out d.toml"), "already exists"),
        (&format!("import {file} --data nowhere"), "found no folder"),
    ] {
        let ran = place.run(arguments);
        assert!(
            ran.code != Some(0) && ran.err.contains(expected),
            "{arguments}: {}",
            ran.err
        );
    }
    assert_eq!(place.read("d.toml"), "mine");
}

/// Folders are found by how they end, and class weights get the names of class folders.
#[test]
fn images_are_found_below_the_folder_that_the_user_names() {
    let place = Place::new();
    place.classes("here/xray/train", &[4, 4, 4]);
    place.classes("here/xray/test", &[2, 2, 2]);
    let file = write(&place, "n", &sources()["vgg_top_frozen_by_slice"]);
    let recipe = place.done(&format!("import {file} --data here")).out;
    for part in [
        "train = \"here/xray/train\"",
        "test = \"here/xray/test\"",
        "[train.class_weights]",
        "b = 2.5",
        "c = 0.7",
    ] {
        assert!(recipe.contains(part), "{part}: {recipe}");
    }
}

/// Recipes of small networks train as they are, on images where the notebook has them.
#[test]
fn recipes_of_notebooks_train() {
    for (name, folders) in [
        ("first_data_format", &["data/train", "data/validation"][..]),
        ("phases_from_scratch", &["m/train", "m/val"]),
        ("scaled_twice", &["coins"]),
        ("featurewise", &["k/train", "k/val"]),
        ("softmax_of_one", &["a/train"]),
        ("functional_branches", &["leaves"]),
        ("mnist_pixels_by_hand", &["shapes"]),
        ("torch_own_class", &["shapes/train", "shapes/test"]),
    ] {
        let place = Place::new();
        for folder in folders {
            place.classes(folder, &[6, 6]);
        }
        // The classes that a notebook names.
        if name == "featurewise" {
            for folder in folders {
                for (old, new) in [("a", "cat"), ("b", "dog")] {
                    let path = |name: &str| place.path(&format!("{folder}/{name}"));
                    fs::rename(path(old), path(new)).expect("renamed");
                }
            }
        }
        let file = write(&place, name, &sources()[name]);
        place.done(&format!("import {file} --out recipe.toml"));
        let short = match name {
            "phases_from_scratch" => {
                "--set train.phases=[{epochs=1,freeze='none'},{epochs=1,freeze='none'}]"
            }
            _ => "--set train.epochs=1",
        };
        place.done(&format!(
            "train --config recipe.toml --out run --device cpu {short}"
        ));
        let history = place.read("run/history.csv");
        assert!(history.lines().count() >= 2, "{name}: {history}");
    }
}
