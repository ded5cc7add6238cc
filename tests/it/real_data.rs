//! Real images and weights, of `../shared/data` beside the project: files that break readers, and
//! sets whose answer is known. The repository doesn't hold them, so that these tests are ignored
//! unless they are asked for.

use std::{fs, path::PathBuf};

use emberlens::{
    config::Color,
    data::pixels::decode::{Pixels, decode},
};

use crate::{
    inspect::doubted,
    support::{Place, root},
};

/// A file or folder of the images and weights, which has to be there.
fn data(path: &str) -> PathBuf {
    let path = root().join("../shared/data").join(path);
    assert!(path.exists(), "{} isn't there", path.display());
    path
}

/// The files of one folder with what decoding gave.
fn decoded(folder: &str) -> Vec<(String, Result<Pixels, String>)> {
    let folder = data("odd").join(folder);
    let mut found: Vec<_> = fs::read_dir(&folder)
        .expect("listed")
        .map(|entry| entry.expect("read").path())
        .filter(|path| path.extension().is_some())
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, decode(&fs::read(&path).expect("read"), Color::Rgb))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
#[ignore = "needs the real images of ../shared/data"]
fn all_orientations_come_out_upright() {
    let found = decoded("exif-orientation");
    let pixels = |name: &str| {
        let (_, pixels) = found
            .iter()
            .find(|(other, _)| other == name)
            .expect("there");
        pixels.as_ref().expect("decoded")
    };
    let upright = pixels("Portrait_0.jpg");
    for turned in 1..=8 {
        let turned = pixels(&format!("Portrait_{turned}.jpg"));
        assert_eq!(
            (turned.height, turned.width),
            (upright.height, upright.width)
        );
        let difference: u64 = turned
            .bytes
            .iter()
            .zip(&upright.bytes)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        assert!(
            difference / (upright.bytes.len() as u64) < 12,
            "mean difference {}",
            difference / upright.bytes.len() as u64
        );
    }
}

#[test]
#[ignore = "needs the real images of ../shared/data"]
fn the_png_suite_decodes_but_for_what_is_corrupt_on_purpose() {
    let found = decoded("pngsuite");
    assert!(found.len() > 100, "{} files", found.len());
    for (name, result) in found {
        assert_eq!(
            result.is_err(),
            name.starts_with('x'),
            "{name}: {:?}",
            result.map(|pixels| (pixels.height, pixels.width))
        );
    }
}

/// The first pixels are those of Pillow 13, which refuses the same files.
#[test]
#[ignore = "needs the real images of ../shared/data"]
fn broken_jpegs_and_bitmaps_are_errors_and_odd_ones_the_images_that_pillow_sees() {
    let expected: [(&str, Result<[u8; 3], &str>); 14] = [
        ("broken_stream.jpg", Err("")),
        ("cymk.jpg", Ok([4, 55, 173])),
        ("down_sampled_grayscale_prog.jpg", Ok([255, 255, 255])),
        ("four_components.jpg", Ok([172, 8, 9])),
        ("huge_sof_number.jpg", Ok([134, 181, 237])),
        ("incomplete_image.jpg", Err("cut off")),
        ("non_interleaved_420_64x64.jpg", Ok([253, 0, 5])),
        ("Bad_badbitcount.bmp", Err("bit count")),
        ("Bad_clrsUsed.bmp", Err("Palette size")),
        ("Bad_height.bmp", Err("too large")),
        ("Bad_reallybig.bmp", Err("too large")),
        ("Bad_shortfile.bmp", Err("")),
        (
            "Bad_unusual_extend_buffer_usage.bmp",
            Err("don't fit into 253 bytes"),
        ),
        ("Bad_width.bmp", Err("too large")),
    ];
    let found = [decoded("jpeg"), decoded("bmp")].concat();
    assert_eq!(found.len(), expected.len());
    for (name, result) in found {
        let (_, expected) = expected
            .iter()
            .find(|(other, _)| *other == name)
            .unwrap_or_else(|| panic!("{name} isn't in the table"));
        match (result, expected) {
            (Ok(pixels), Ok(first)) => assert_eq!(&pixels.bytes[..3], first, "{name}"),
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{name}: {reason}"),
            (result, expected) => panic!(
                "{name}: {:?}, expected {expected:?}",
                result.map(|pixels| pixels.bytes[..3].to_vec())
            ),
        }
    }
}

/// Every odd file that there is: nothing panics, everything that can't be read has a reason.
#[test]
#[ignore = "needs the real images of ../shared/data"]
fn odd_files_are_looked_at_without_harm() {
    let odd = data("odd").display().to_string();
    let place = Place::new();
    let ran = place.done(&["inspect", &odd, "--json"]);
    let found = ran.json();
    // Whole sentences about the file, no word of a buffer.
    let is_reason =
        |reason: &str| reason.len() > 20 && !reason.contains("buffer") && reason.contains(' ');
    let unreadable = found["unreadable"].as_array().expect("a list");
    assert!(
        unreadable.len() > 10
            && unreadable
                .iter()
                .all(|bad| bad["reason"].as_str().is_some_and(is_reason)),
        "{unreadable:?}"
    );
    assert!(
        found["turned_by_exif"].as_u64() > Some(5) && !ran.err.contains("panicked"),
        "{}",
        ran.err
    );
}

/// A list of ants and bees, one in twenty under the other's name, and which those are.
fn insects_with_turned_labels() -> (String, Vec<String>) {
    let folder = data("hymenoptera/train");
    let (mut list, mut turned) = ("path,label\n".to_owned(), Vec::new());
    let classes = ["ants", "bees"];
    for (number, class) in classes.iter().enumerate() {
        let mut paths: Vec<_> = fs::read_dir(folder.join(class))
            .expect("a folder")
            .map(|entry| entry.expect("read").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jpg"))
            .collect();
        paths.sort();
        for (index, path) in paths.iter().enumerate() {
            let path = path.canonicalize().expect("it is there");
            let path = path.display().to_string();
            let is_turned = index % 20 == 3;
            let label = classes[number ^ usize::from(is_turned)];
            list.push_str(&format!("{path},{label}\n"));
            if is_turned {
                turned.push(path);
            }
        }
    }
    (list, turned)
}

#[test]
#[ignore = "needs the real images of ../shared/data"]
fn a_backbone_judges_the_labels_of_real_images() {
    let weights = data("weights/squeezenet1_1_imagenet_features.safetensors");
    let place = Place::new();
    let (list, turned) = insects_with_turned_labels();
    place.write("list.csv", &list);
    place.recipe("", "epochs = 1");
    place.replace("small.toml", "train = \"train\"", "train = 'list.csv'");
    place.replace("small.toml", "channels = [4, 8]\n", "");
    let settings = [
        "model.architecture=squeezenet1_1".to_owned(),
        format!("model.weights='{}'", weights.display()),
        "data.image_size=[160, 160]".to_owned(),
        "data.color=rgb".to_owned(),
    ];
    let mut args = vec!["inspect", "--config", "small.toml", "--json"];
    settings
        .iter()
        .for_each(|setting| args.extend(["--set", setting]));
    let labels = place.done(&args).json()["labels"].clone();
    assert!(
        labels["features"]
            .as_str()
            .is_some_and(|words| words.contains("SqueezeNet")),
        "{labels}"
    );
    let doubted = doubted(&labels);
    let found = turned
        .iter()
        .filter(|path| doubted.contains(&path.as_str()))
        .count();
    assert!(
        turned.len() == 12 && found >= 6 && doubted.len() <= 18,
        "{found} of {} in {}: {labels}",
        turned.len(),
        doubted.len()
    );
}
