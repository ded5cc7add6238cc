//! Copies, leaks and odd images, found before anybody trains.

use serde_json::Value;

use crate::support::{Place, json};

/// An image of its own for each number: blobs of random places and colors, 90 wide and 70 high.
fn scene(number: u32) -> image::RgbImage {
    let mut state = number.wrapping_mul(7919) + 11;
    let mut draw = |limit: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % limit
    };
    let mut image = image::RgbImage::from_pixel(
        90,
        70,
        image::Rgb([draw(120) as u8, draw(120) as u8, draw(120) as u8]),
    );
    for _ in 0..10 {
        let (x, y, size) = (draw(90), draw(70), 5 + draw(22));
        let color = image::Rgb([draw(220) as u8, draw(220) as u8, draw(220) as u8]);
        for (column, row, pixel) in image.enumerate_pixels_mut() {
            if column.abs_diff(x).pow(2) + row.abs_diff(y).pow(2) < size * size {
                *pixel = color;
            }
        }
    }
    image
}

/// Two classes for training and for test, with known copies between them; how many test images are
/// copies: three of eight.
fn leaky(place: &Place) {
    for (folder, first, count) in [
        ("data/train/a", 0, 12),
        ("data/train/b", 100, 12),
        ("data/test/a", 200, 3),
        ("data/test/b", 300, 2),
    ] {
        std::fs::create_dir_all(place.path(folder)).expect("created");
        for index in 0..count {
            scene(first + index)
                .save(place.path(&format!("{folder}/{index:02}.png")))
                .expect("saved");
        }
    }
    std::fs::copy(
        place.path("data/train/a/03.png"),
        place.path("data/test/a/same.png"),
    )
    .expect("copied");
    let mirrored = image::imageops::flip_horizontal(&scene(105));
    mirrored
        .save(place.path("data/test/b/mirrored.jpg"))
        .expect("saved");
    // The same image under the other label, half as large again.
    let larger =
        image::imageops::resize(&scene(1), 135, 105, image::imageops::FilterType::CatmullRom);
    larger
        .save(place.path("data/test/b/larger.bmp"))
        .expect("saved");
}

/// Beside [`leaky`] images: one that can't be read, a hidden file and a black image.
fn odd_images() -> Place {
    let place = Place::new();
    leaky(&place);
    place.write("data/train/b/broken.jpg", "just text");
    place.write("data/train/b/.hidden.png", "x");
    image::RgbImage::from_pixel(90, 70, image::Rgb([3, 3, 3]))
        .save(place.path("data/train/b/black.png"))
        .expect("saved");
    place
}

#[track_caller]
fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn an_inspection_tells_copies_leaks_and_what_cannot_be_read() {
    let found = odd_images().done("inspect data --json").json();
    assert_eq!(
        (
            &found["images"],
            &found["classes"]["b"]["train"],
            &found["classes"]["a"]["test"]
        ),
        (&json("33"), &json("13"), &json("4"))
    );
    let mut leaked: Vec<&str> = list(&found["leaked_test_images"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    leaked.sort_unstable();
    assert_eq!(
        leaked,
        [
            "data/test/a/same.png",
            "data/test/b/larger.bmp",
            "data/test/b/mirrored.jpg"
        ]
    );
    let copies = &found["copies"];
    assert_eq!(
        (&copies["across_splits"], &copies["conflicting_labels"]),
        (&json("3"), &json("1"))
    );
    let kinds: Vec<&Value> = list(&copies["groups"])
        .iter()
        .map(|group| &group["likeness"])
        .collect();
    assert_eq!(kinds, ["near", "file", "near"]);
    for (value, words) in [
        (&found["unreadable"][0]["path"], "broken.jpg"),
        (&found["suspects"]["dark"][0]["path"], "black.png"),
        (&found["passed_over"][0], "hidden files and folders, 1"),
    ] {
        let text = value.as_str().unwrap_or_default();
        assert!(text.contains(words), "{words}: {found}");
    }
}

#[test]
fn what_is_to_be_done_comes_before_lists_on_the_page_and_in_the_text_of_an_inspection() {
    let place = odd_images();
    place.done("inspect data --json --html page.html");
    let page = place.read("page.html");
    assert!(
        page.contains("Copies across splits")
            && page.contains("data:image/jpeg;base64,")
            && !page.contains("http://"),
        "{page:.600}"
    );
    insta::assert_snapshot!("inspection", place.done("inspect data").out);
    let again = place.run("inspect data --html page.html");
    again.exits(2, "already exists");
    let missing = place.run("inspect nowhere");
    missing.exits(1, "nowhere");
}

/// One group of everything: the same pixels and changed ones, one label and two.
#[test]
fn words_on_copies_count_images_and_tell_the_same_pixels_from_changed_ones() {
    let place = Place::new();
    leaky(&place);
    let copy = |from: &str, to: &str| {
        std::fs::copy(place.path(from), place.path(to))
            .map(|_| ())
            .expect("copied")
    };
    // The training image, once to the pixel and once mirrored: one of the two is changed, though
    // all three are one group.
    copy("data/train/b/05.png", "data/test/b/same.png");
    let finding = |place: &Place, what: &str| {
        let found = place.done("inspect data --json").json();
        let mut findings = found["findings"].as_array().expect("a list").clone();
        findings.retain(|finding| {
            finding["what"]
                .as_str()
                .is_some_and(|words| words.contains(what))
        });
        findings
            .iter()
            .map(|finding| format!("{}: {}", finding["what"], finding["advice"]))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let leak = finding(&place, "test images");
    assert!(
        leak.contains("4 of 9 test images are copies") && leak.contains(", 2 of them saved again"),
        "{leak}"
    );
    // A changed image may have another label for a reason; the same pixels can't have two.
    let conflict = finding(&place, "more than one label");
    assert!(
        conflict.starts_with("\"1 group of copies has") && conflict.contains("perhaps on purpose"),
        "{conflict}"
    );
    assert!(!conflict.contains("at least one label"), "{conflict}");
    copy("data/train/b/07.png", "data/train/a/07-too.png");
    let conflicts = finding(&place, "more than one label");
    assert!(
        conflicts.starts_with("\"1 group of copies with the same pixels has more than one label"),
        "{conflicts}"
    );
    assert!(
        conflicts.contains("at least one label of each is wrong") && conflicts.ends_with(&conflict),
        "{conflicts}"
    );
}

/// The second look at many images takes all from the cache folder, and none of it where one of them
/// has changed.
#[test]
fn a_second_look_finds_the_same_and_a_changed_image_is_seen() {
    let place = Place::new();
    for class in ["a", "b"] {
        std::fs::create_dir_all(place.path(&format!("data/{class}"))).expect("created");
    }
    for number in 0..520u32 {
        let image = image::imageops::thumbnail(&scene(number / 4 * 4), 24 + number % 4, 18);
        image
            .save(place.path(&format!(
                "data/{}/{number:03}.png",
                ["a", "b"][number as usize / 260]
            )))
            .expect("saved");
    }
    let first = place.done("inspect data --json").out;
    let groups = |text: &str| {
        json(text)["copies"]["groups"]
            .as_array()
            .expect("a list")
            .clone()
    };
    assert!(groups(&first).len() >= 100, "{}", groups(&first).len());
    assert_eq!(place.done("inspect data --json").out, first);
    // Another image under the same name.
    std::fs::copy(place.path("data/b/519.png"), place.path("data/a/000.png")).expect("copied");
    let changed = place.done("inspect data --json").out;
    let has = |group: &Value, name: &str| {
        group["members"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|member| {
                member["path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with(name))
            })
    };
    assert!(
        groups(&changed)
            .iter()
            .any(|group| has(group, "a/000.png") && has(group, "b/519.png")),
        "{changed:.300}"
    );
    assert!(
        !groups(&first)
            .iter()
            .any(|group| has(group, "a/000.png") && has(group, "b/519.png"))
    );
}

#[test]
fn a_clean_list_trains_as_it_is_and_has_no_copies() {
    let place = Place::new();
    leaky(&place);
    std::fs::copy(
        place.path("data/train/b/04.png"),
        place.path("data/train/b/twice.png"),
    )
    .expect("copied");
    for (keep, tests) in [("test", 7), ("train", 5)] {
        let (csv, run) = (format!("{keep}.csv"), format!("run-{keep}"));
        let ran = place.done(&["inspect", "data", "--write-clean", &csv, "--keep", keep]);
        // 12 + 13 + 8 images; two under two labels; three groups of two.
        assert!(
            ran.err.contains("28 images in")
                && ran
                    .err
                    .contains("3 copies of them, 2 whose copies have another label"),
            "{}",
            ran.err
        );
        let list = place.read(&csv);
        let count = |split: &str| {
            list.lines()
                .filter(|line| line.contains(&format!(",{split},")))
                .count()
        };
        assert_eq!(
            (list.lines().next(), count("test")),
            (Some("path,label,split,group"), tests),
            "{list}"
        );
        assert!(
            count("val") > 2 && count("train") + count("val") + count("test") == 28,
            "{list}"
        );
        let again = json(&place.done(&["inspect", &csv, "--json"]).out);
        assert_eq!(
            (
                &again["images"],
                again["copies"]["groups"].as_array().map(Vec::len)
            ),
            (&json("28"), Some(0)),
            "{}",
            again["copies"]
        );
        place.recipe("", "epochs = 1");
        let recipe = place
            .read("small.toml")
            .replace("train = \"train\"", &format!("train = '{csv}'"));
        place.write("small.toml", &recipe);
        let ran = place.done(&["train", "--config", "small.toml", "--out", &run]);
        assert!(
            !ran.err.contains("are copies of") && !ran.err.contains("is a copy of"),
            "{}",
            ran.err
        );
    }
    let again = place.run("inspect data --write-clean test.csv");
    again.exits(2, "already exists");
}

#[test]
fn training_says_leaves_out_or_refuses_leaks() {
    let place = Place::new();
    leaky(&place);
    place.recipe("test = 'data/test'", "epochs = 1");
    place.replace("small.toml", "train = \"train\"", "train = 'data/train'");
    let ran = place.done("train --config small.toml --out warned");
    ran.tells(
        "warning: 3 of 8 test images are copies of training or validation images, 2 of them saved \
         again",
    );
    ran.tells("warning: 1 group of copies has more than one label; the first: data/train/a/01.png");
    let split = place.read("warned/split.csv");
    let marked: Vec<_> = split
        .lines()
        .filter(|line| line.contains(",test,") && !line.ends_with(','))
        .collect();
    assert!(
        marked.len() == 3 && marked.iter().all(|line| line.contains("data/train/")),
        "{split}"
    );
    assert_eq!(
        split.lines().filter(|line| line.contains(",test,")).count(),
        8
    );

    never_seen_leaves_out_near_copies(&place);
    copies_are_found_among_other_images_too(&place);

    let known = |run: &str| {
        place
            .read(&format!("{run}/split.csv"))
            .lines()
            .filter(|line| !line.contains(",test,"))
            .count()
    };
    let ran = place.done("train --config small.toml --out clean --set data.on_leak=exclude");
    ran.tells("left out (data.on_leak");
    assert!(
        !ran.err.contains("are copies of images that are trained on"),
        "what is left out is no leak any more: {}",
        ran.err
    );
    // Three training or validation images have a copy among the test images.
    assert_eq!(known("clean") + 3, known("warned"));
    let split = place.read("clean/split.csv");
    assert!(
        split.lines().skip(1).all(|line| line.ends_with(',')),
        "no copy is left to be marked: {split}"
    );
    // The same images are left out again.
    place.done("train --resume clean --set train.epochs=2");

    let ran = place.run("train --config small.toml --out never --set data.on_leak=error");
    assert!(
        ran.code == Some(1)
            && ran.err.contains("data.on_leak = \"exclude\"")
            && ran.err.contains("data/test/"),
        "{}",
        ran.err
    );
    assert!(!place.path("never").exists());
}

const EVALUATE_WARNED: &str = "evaluate --checkpoint warned --json --device cpu";

/// Images that are none of the training's, and how many are left out as copies of those, exact and
/// near.
fn unseen(found: &Value) -> [u64; 3] {
    ["count", "exact_copies", "near_copies"]
        .map(|key| found["unseen"][key].as_u64().expect("a count"))
}

/// Of the run `warned` on [`leaky`] images: what `evaluate` calls never seen, on its own test
/// images.
fn never_seen_leaves_out_near_copies(place: &Place) {
    let at_end = json(&place.read("warned/evaluation/test/metrics.json"));
    let again = place.done(EVALUATE_WARNED).json();
    assert_eq!([unseen(&at_end), unseen(&again)], [[5, 1, 2]; 2]);
    let copies = place.read("warned/evaluation/test/copies.csv");
    assert_eq!(copies.lines().next(), Some("path,copy_of,likeness"));
    let row = |image: &str| {
        copies
            .lines()
            .find(|line| line.starts_with(image))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        row("data/test/a/same.png").ends_with("data/train/a/03.png,pixels"),
        "{copies}"
    );
    assert!(
        row("data/test/b/larger.bmp").ends_with("data/train/a/01.png,near"),
        "{copies}"
    );
}

/// Images that the run has no list of: all of the training images saved again, beside new ones.
fn copies_are_found_among_other_images_too(place: &Place) {
    for (class, first) in [("a", 0), ("b", 100)] {
        std::fs::create_dir_all(place.path(&format!("elsewhere/test/{class}"))).expect("created");
        for index in 0..12 {
            let copy = scene(first + index);
            copy.save(place.path(&format!("elsewhere/test/{class}/again{index}.jpg")))
                .expect("saved");
            scene(first + index + 500)
                .save(place.path(&format!("elsewhere/test/{class}/new{index}.png")))
                .expect("saved");
        }
    }
    let evaluate = format!("{EVALUATE_WARNED} --data elsewhere/test");
    let found = place.done(&evaluate).json();
    assert_eq!(
        (unseen(&found), &found["images"]),
        ([24, 0, 24], &json("48"))
    );
    // Neither the run's own evaluation nor anybody else's is replaced by that of other images of
    // the same name.
    let written = |name: &str| {
        let metrics = place.read(&format!("warned/evaluation/{name}/metrics.json"));
        unseen(&json(&metrics))
    };
    assert_eq!(
        (written("test"), written("data-test")),
        ([5, 1, 2], [24, 0, 24])
    );
    place.done(&evaluate);
    assert!(
        !place.path("warned/evaluation/data-test-2").exists(),
        "the same images have one place"
    );
    // Without the training images at hand, and with looks that somebody changed.
    std::fs::rename(place.path("data/train"), place.path("away")).expect("moved");
    assert_eq!(unseen(&place.done(&evaluate).json()), [24, 0, 24]);
    let looks = place.bytes("warned/looks.safetensors");
    let mut changed = looks.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(place.path("warned/looks.safetensors"), changed).expect("written");
    let ran = place.run("evaluate --checkpoint warned --data elsewhere/test --device cpu");
    assert!(
        ran.code == Some(1) && ran.err.contains("looks.safetensors") && ran.err.contains("BLAKE3"),
        "{}",
        ran.err
    );
    std::fs::write(place.path("warned/looks.safetensors"), looks).expect("written");
    std::fs::rename(place.path("away"), place.path("data/train")).expect("moved back");
}

#[test]
fn a_pattern_keeps_a_patients_images_on_one_side() {
    let place = Place::new();
    for (class, first) in [("a", 0), ("b", 100)] {
        std::fs::create_dir_all(place.path(&format!("train/{class}"))).expect("created");
        for index in 0..12 {
            let name = format!(
                "train/{class}/patient{}_{index}.png",
                first / 100 * 4 + index / 3
            );
            scene(first + index).save(place.path(&name)).expect("saved");
        }
    }
    place.recipe(
        "group = 'regex:^(patient\\d+)'\nvalidation = 0.3",
        "epochs = 1",
    );
    place.done("train --config small.toml --out run");
    let split = place.read("run/split.csv");
    let mut sides = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    for line in split.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        sides
            .entry(fields[4].to_owned())
            .or_default()
            .insert(fields[3].to_owned());
    }
    assert_eq!(
        sides.keys().collect::<Vec<_>>(),
        [
            "patient0", "patient1", "patient2", "patient3", "patient4", "patient5", "patient6",
            "patient7"
        ]
    );
    assert!(
        sides.values().all(|sides| sides.len() == 1)
            && sides.values().any(|sides| sides.contains("val")),
        "{sides:?}"
    );
    for (group, expected) in [
        ("^(patient)", "expected `regex:` and a pattern"),
        ("regex:patient", "expected one with a capture group"),
        ("regex:(", "found the pattern `(`"),
        ("regex:(case\\d+)", "found no file that data.group"),
    ] {
        let ran = place.run(&format!(
            "train --config small.toml --out never --set data.group='{group}'"
        ));
        assert!(
            ran.code != Some(0) && ran.err.contains(expected),
            "{group}: {}",
            ran.err
        );
    }
}

#[test]
fn a_group_on_two_sides_is_told() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("data")).expect("created");
    let mut list = "path,label,split,group\n".to_owned();
    for (index, split) in ["train", "train", "test", "train", "train", "test"]
        .iter()
        .enumerate()
    {
        scene(index as u32)
            .save(place.path(&format!("data/{index}.png")))
            .expect("saved");
        // Ada's images are for training and for test, Ben's and Cy's aren't.
        let group = ["ada", "ben", "ada", "ben", "", "cy"][index];
        list.push_str(&format!(
            "data/{index}.png,{},{split},{group}\n",
            ["x", "y"][index % 2]
        ));
    }
    place.write("list.csv", &list);
    let text = place.done("inspect list.csv").out;
    assert!(
        text.contains("1 group has images in more than one split; the first: ada (train and test)"),
        "{text}"
    );
    for (keep, expected) in [("test", ["ada", "test"]), ("train", ["ada", "train"])] {
        let csv = format!("{keep}.csv");
        let ran = place.done(&["inspect", "list.csv", "--write-clean", &csv, "--keep", keep]);
        assert!(
            ran.err.contains("5 images in") && ran.err.contains("1 whose group is on another side"),
            "{}",
            ran.err
        );
        let ada: Vec<String> = place
            .read(&csv)
            .lines()
            .filter(|line| line.ends_with(expected[0]))
            .map(str::to_owned)
            .collect();
        assert!(
            ada.len() == 1 && ada[0].contains(&format!(",{},", expected[1])),
            "{ada:?}"
        );
    }
}

/// The images whose labels are doubted.
pub(crate) fn doubted(labels: &Value) -> Vec<&str> {
    list(&labels["suspects"])
        .iter()
        .filter_map(|suspect| suspect["path"].as_str())
        .collect()
}

/// A tenth of the labels of two clearly different classes turned round: the page, the list and the
/// training warning name them.
#[test]
fn turned_labels_are_doubted() {
    let place = Place::new();
    let mut list = "path,label\n".to_owned();
    std::fs::create_dir_all(place.path("data")).expect("created");
    let mut turned = Vec::new();
    for index in 0..240u32 {
        // Bright on the left or on the right, in many ways.
        let is_left = index % 2 == 0;
        let mut image = scene(1000 + index);
        for (x, _, pixel) in image.enumerate_pixels_mut() {
            pixel.0 = pixel
                .0
                .map(|level| level / 3 + if (x < 45) == is_left { 110 } else { 0 });
        }
        let path = format!("data/{index}.png");
        image.save(place.path(&path)).expect("saved");
        let is_turned = index % 20 == 7;
        if is_turned {
            turned.push(path.clone());
        }
        let label = if is_left == is_turned {
            "right"
        } else {
            "left"
        };
        list.push_str(&format!("{path},{label}\n"));
    }
    place.write("list.csv", &list);
    let found = place
        .done("inspect list.csv --json --html page.html")
        .json();
    let labels = &found["labels"];
    let doubted = doubted(labels);
    let is_right = doubted
        .iter()
        .all(|path| turned.iter().any(|turned| turned == path));
    assert!(
        is_right && doubted.len() >= 9 && labels["balanced_accuracy"].as_f64() > Some(0.85),
        "{labels}"
    );
    assert!(place.read("page.html").contains("Doubtful labels"));
    place.recipe("", "epochs = 1");
    place.write(
        "small.toml",
        &place
            .read("small.toml")
            .replace("train = \"train\"", "train = 'list.csv'"),
    );
    let ran = place.done("train --config small.toml --out run");
    let count = doubted.len();
    ran.tells(&format!("warning: {count} of 240 labels are doubtful"));
}
