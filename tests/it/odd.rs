//! Real files that break readers, where the shared folder with them is beside the project; nothing
//! is tested without it.

use std::{fs, path::PathBuf};

use emberlens::{config::Color, data::pixels::decode::decode};

use crate::support::root;

/// The files of one folder with what decoding gave.
fn decoded(
    folder: &str,
) -> Vec<(
    String,
    Result<emberlens::data::pixels::decode::Pixels, String>,
)> {
    let folder: PathBuf = root().join("../shared/data/odd").join(folder);
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("no {} here, nothing tested", folder.display());
        return Vec::new();
    };
    let mut found: Vec<_> = entries
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
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

#[test]
fn all_orientations_come_out_upright() {
    let found = decoded("exif-orientation");
    let pixels = |name: &str| {
        found
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, pixels)| pixels.as_ref().expect("decoded"))
    };
    let Some(upright) = pixels("Portrait_0.jpg") else {
        return;
    };
    for turned in 1..=8 {
        let turned = pixels(&format!("Portrait_{turned}.jpg")).expect("there");
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
fn the_png_suite_decodes_but_for_what_is_corrupt_on_purpose() {
    for (name, result) in decoded("pngsuite") {
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
    for (name, result) in decoded("jpeg").into_iter().chain(decoded("bmp")) {
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
