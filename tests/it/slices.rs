//! Figures by slice: `evaluate --by`.

use std::collections::BTreeMap;

use crate::support::Place;

/// A list of twenty-four images of two classes in `images/a` and `images/b`, whose every third is
/// of scanner B, and the rest of A.
fn place_with_list() -> Place {
    let place = Place::new();
    place.classes("images", &[24, 24]);
    let line = |class: &str, index: usize| {
        let scanner = if index.is_multiple_of(3) { "B" } else { "A" };
        let split = if index.is_multiple_of(2) {
            "train"
        } else {
            "test"
        };
        format!(
            "images/{class}/{index:03}.png,{class},{split},{scanner},{}\n",
            20 + index
        )
    };
    let lines: String = ["a", "b"]
        .into_iter()
        .flat_map(|class| (0..24).map(move |index| line(class, index)))
        .collect();
    place.write(
        "list.csv",
        &format!("path,label,split,Scanner Type,age\n{lines}"),
    );
    place.recipe("", "epochs = 1");
    place.replace("small.toml", "train = \"train\"", "train = \"list.csv\"");
    place
}

/// Images and right ones by scanner, of a CSV of predictions.
fn counts_of_scanners(predictions: &str) -> BTreeMap<&str, [f64; 2]> {
    let mut counts: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for row in predictions.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let index: usize = fields[0][fields[0].len() - 7..][..3]
            .parse()
            .expect("a number");
        let counts = counts
            .entry(if index.is_multiple_of(3) { "B" } else { "A" })
            .or_default();
        counts[0] += 1.0;
        counts[1] += f64::from(u8::from(fields[1] == fields[2]));
    }
    counts
}

#[test]
fn slices_have_the_figures_of_their_rows_in_tables_files_and_the_report() {
    let place = place_with_list();
    place.done("train --config small.toml --out run");
    // By the lists of the run's own recipe, and by another list.
    let evaluate = "evaluate --checkpoint run --device cpu --out results";
    let by = "--by scanner_type --by age --by size";
    let ran = place.done(&format!("{evaluate} {by} --json"));
    let found = ran.json();
    let of_list = place
        .done(&format!("{evaluate} {by} --json --data list.csv"))
        .json();
    assert_eq!(of_list["slices"], found["slices"]);

    let predictions = place.read("results/predictions.csv");
    let counts = counts_of_scanners(&predictions);
    let sliced = found["slices"].as_array().expect("a list");
    assert_eq!(sliced.len(), 3);
    for slice in sliced[0]["slices"].as_array().expect("a list") {
        let [images, right] = counts[slice["name"].as_str().expect("a name")];
        assert_eq!(slice["images"].as_f64(), Some(images));
        assert_eq!(slice["too_small"].as_bool(), Some(images < 10.0));
        let accuracy = slice["metrics"]["accuracy"]["value"]
            .as_f64()
            .expect("a number");
        assert!((accuracy - right / images).abs() < 1e-9, "{slice}");
    }
    let names: Vec<_> = sliced[1]["slices"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|slice| &slice["name"])
        .collect();
    assert_eq!(names, ["21 to 25", "27 to 31", "33 to 37", "39 to 43"]);
    assert_eq!(
        sliced[2]["words"][0],
        "There is one slice, 22 x 26, of 24 images: there is nothing to compare."
    );

    let table = place.done(&format!("{evaluate} --by scanner_type"));
    table.prints("| By scanner_type | Images |");
    table.prints("too small");
    table.prints("Too small to tell anything, with fewer than 10 images: B (8 images).");
    let csv = place.read("results/slices.csv");
    assert!(
        csv.starts_with("by,slice,images,class,metric,value,low,high\n"),
        "{csv}"
    );
    assert!(
        csv.contains("\nscanner_type,A,16,,accuracy,")
            && csv.contains("\nscanner_type,B,4,a,recall,"),
        "{csv}"
    );
    let page = place.read("results/report.html");
    assert!(page.contains("Accuracy by scanner_type") && page.contains("<h2>Slices</h2>"));
    assert!(place.read("results/plots/slices.svg").contains("B (8)"));
}

#[test]
fn what_images_cannot_be_sliced_by_is_refused_before_anything_is_measured() {
    let place = place_with_list();
    place.done("train --config small.toml --out run");
    let evaluate = "evaluate --checkpoint run --device cpu --out results";
    let ran = place.run(&format!("{evaluate} --by scanner_typ"));
    ran.exits(
        2,
        "--by: found no `scanner_typ`, expected a column of the CSV (path, label, split, Scanner \
         Type, age), or group, format, size, brightness, folder; did you mean `Scanner Type`?",
    );
    let ran = place.run(&format!("{evaluate} --by scanner --data images"));
    ran.exits(
        2,
        "and there is no CSV, or group, format, size, brightness, folder",
    );
    assert!(!place.path("results").exists());
    // Beside classes, images lie in folders of their own.
    place.images("sites/north/a", 0, 10);
    place.images("sites/south/a", 0, 11);
    place.images("sites/south/b", 1, 2);
    let rows = ["north/a", "south/a", "south/b"].map(|folder| {
        let images = std::fs::read_dir(place.path(&format!("sites/{folder}"))).expect("listed");
        let class = &folder[folder.len() - 1..];
        let row = |image: std::fs::DirEntry| {
            format!("sites/{folder}/{},{class}\n", image.file_name().display())
        };
        images
            .map(|image| row(image.expect("read")))
            .collect::<String>()
    });
    place.write("sites.csv", &format!("path,label\n{}", rows.concat()));
    let found = place
        .done(&format!(
            "{evaluate} --data sites.csv --by folder --by brightness --by format --json"
        ))
        .json();
    let folders = &found["slices"][0]["slices"];
    assert_eq!(
        (&folders[0]["name"], &folders[1]["name"]),
        (&"north".into(), &"south".into())
    );
    assert_eq!(folders[1]["images"], 13);
    assert_eq!(
        found["slices"][1]["slices"].as_array().map(Vec::len),
        Some(4)
    );
    assert_eq!(found["slices"][2]["slices"][0]["name"], "png");
}
