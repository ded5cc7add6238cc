//! Real files that break readers, where the shared folder with them is beside the project; nothing is tested without it.

use std::{fs, path::PathBuf};

use emberlens::{config::Color, data::decode::decode};

use crate::support::root;

/// The files of one folder with what decoding gave.
fn decoded(folder: &str) -> Vec<(String, Result<emberlens::data::decode::Pixels, String>)> {
    let folder: PathBuf = root().join("../shared/data/odd").join(folder);
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("no {} here, nothing tested", folder.display());
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("read").path())
        .filter(|path| path.extension().is_some())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
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
    let pixels = |name: &str| found.iter().find(|(other, _)| other == name).map(|(_, pixels)| pixels.as_ref().expect("decoded"));
    let Some(upright) = pixels("Portrait_0.jpg") else { return };
    for turned in 1..=8 {
        let turned = pixels(&format!("Portrait_{turned}.jpg")).expect("there");
        assert_eq!((turned.height, turned.width), (upright.height, upright.width));
        let difference: u64 = turned.bytes.iter().zip(&upright.bytes).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(difference / (upright.bytes.len() as u64) < 12, "mean difference {}", difference / upright.bytes.len() as u64);
    }
}

#[test]
fn the_png_suite_decodes_but_for_what_is_corrupt_on_purpose() {
    for (name, result) in decoded("pngsuite") {
        assert_eq!(result.is_err(), name.starts_with('x'), "{name}: {:?}", result.map(|pixels| (pixels.height, pixels.width)));
    }
}

#[test]
fn broken_jpegs_and_bitmaps_are_errors_and_odd_ones_pictures() {
    for (name, result) in decoded("jpeg").into_iter().chain(decoded("bmp")) {
        println!("{name}: {:?}", result.map(|pixels| (pixels.height, pixels.width, pixels.bytes[..6].to_vec())));
    }
}
