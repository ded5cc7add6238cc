//! Small inputs of every kind that the readers know.

use std::{fs, io::Cursor, path::Path};

use image::{DynamicImage, ImageFormat};
use safetensors::SafeTensors;

fn file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files with this ending in a file of goldens that are at most `most` bytes long.
fn goldens(path: &str, ending: &str, most: usize) -> Vec<Vec<u8>> {
    let bytes = file(path);
    let tensors = SafeTensors::deserialize(&bytes).expect("whole");
    let mut found: Vec<_> = tensors
        .iter()
        .filter(|(name, view)| name.ends_with(ending) && view.data().len() <= most)
        .map(|(name, view)| (name, view.data().to_vec()))
        .collect();
    // `iter` has no fixed order.
    found.sort();
    found.into_iter().map(|(_, bytes)| bytes).collect()
}

/// Notebooks and scripts that train.
pub(crate) fn notebooks() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notebooks");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("notebooks")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("nothing_trained.py"))
        .collect();
    paths.sort();
    let scripts = paths.iter().map(|path| fs::read(path).expect("a script"));
    scripts
        .flat_map(|script| {
            let text = String::from_utf8(script.clone()).expect("text");
            let cells: Vec<_> = text
                .split("# %%\n")
                .map(|code| serde_json::json!({ "cell_type": "code", "source": code }))
                .collect();
            let notebook = serde_json::json!({ "cells": cells }).to_string();
            [script, notebook.into_bytes()]
        })
        .collect()
}

/// Images: those that the `image` crate writes, those that it doesn't, JPEGs and TIFFs.
pub(crate) fn images() -> Vec<Vec<u8>> {
    let levels = |x: u32, y: u32| [x * 11, y * 15, x * y, 255 - x * 3].map(|level| level as u8);
    let rgba = image::RgbaImage::from_fn(13, 9, |x, y| image::Rgba(levels(x, y)));
    let rgba = DynamicImage::ImageRgba8(rgba);
    let modes: [fn(&DynamicImage) -> DynamicImage; 6] = [
        |image| image.to_luma8().into(),
        |image| image.to_luma_alpha8().into(),
        |image| image.to_rgb8().into(),
        |image| image.to_rgba8().into(),
        |image| image.to_luma16().into(),
        |image| image.to_rgb16().into(),
    ];
    let mut found = Vec::new();
    for format in [
        ImageFormat::Png,
        ImageFormat::Gif,
        ImageFormat::Bmp,
        ImageFormat::Pnm,
        ImageFormat::WebP,
    ] {
        for mode in modes {
            let mut bytes = Cursor::new(Vec::new());
            // Not every format has every mode.
            if mode(&rgba).write_to(&mut bytes, format).is_ok() {
                found.push(bytes.into_inner());
            }
        }
    }
    assert!(found.len() > 12, "{} modes and formats", found.len());
    found.extend(
        [
            "P1 3 2 010101",
            "P2 3 2 9 1 2 3 4 5 6",
            "P3 1 2 9 1 2 3 4 5 6",
        ]
        .map(Vec::from),
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutated/seeds");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    found.extend(paths.iter().map(|path| fs::read(path).expect("a seed")));
    found.extend(goldens(
        "crates/tiff-pixels/tests/golden.safetensors",
        ".tif",
        700,
    ));
    found.extend(goldens(
        "crates/jpeg-pixels/tests/golden.safetensors",
        ".jpg",
        700,
    ));
    found
}

/// Recipes: one with most keys, those of the project, and some with `--set` after a zero byte.
pub(crate) fn recipes() -> Vec<Vec<u8>> {
    let full = file("tests/full.toml");
    let mut found = vec![
        b"name = 'x'\n[data]\ntrain = 'images'\0train.epochs=3\0augment.hue={ range = [-9, 9] }"
            .to_vec(),
        b"name = 'x'\n[data]\ntrain = 'a'\n[model]\narchitecture = 'layers'\n[[model.layers]]\n\
          conv = 8\nkernel = 3\nstride = 2\n[[model.layers]]\nmax_pool = 2\n[[model.layers]]\n\
          separable_conv = 9\nactivation = 'relu'\0model.layers=[{ conv = 4 }]"
            .to_vec(),
        b"name = 'x'\n[data]\ntrain = 'a'\n[model]\narchitecture = 'vgg16'\nweights = 'w.pth'\n\
          [[train.phases]]\nepochs = 2\nfreeze = 'backbone'\n[[train.phases]]\nepochs = 3\n\
          freeze = 'blocks:2'\0seed=7\0data.test=0.2"
            .to_vec(),
        full,
    ];
    let mut names: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"))
        .expect("recipes")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    names.sort();
    found.extend(names.iter().map(|path| fs::read(path).expect("a recipe")));
    found
}

/// Lists as people and programs write them.
pub(crate) fn lists() -> Vec<Vec<u8>> {
    [
        &b"path,label\n1.png,cat\n2.png,dog\n"[..],
        b"path,label,split,group,weight\n1.png, cat ,Training,p1,\n2.png,dog,val,,2.5\n",
        b"sep=;\r\n\"image\nname\";class;weight\r\n\"1.png\";\"a;b\";0,5\r\nb;c;1\r\n",
        b"\xEF\xBB\xBFfilename\tclass\tset\n1\ta\ttest\n.\\2.png\tb\ttrain\n",
        b"1.png,cat\n2.png,dog\n",
        b"path,label\n\"1.png\",\"a\"\"b\"\n\n\n,\n2.png,\"c\nd\"\n",
        b"path,label\n1.png,caf\xE9\n\\x32.png,x\n",
        b"\xFF\xFEp\0a\0t\0h\0,\0l\0a\0b\0e\0l\0\n\x001\0.\0p\0n\0g\0,\0a\0\n\0",
        b"path,label,class,split,group,blake3,weight,copy_of\n1.png,0,a,train,,00,1,\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Files with weights in each format, with a `.keras` archive of one of them.
pub(crate) fn weights() -> Vec<Vec<u8>> {
    let mut found: Vec<_> = [
        "vgg.pth",
        "vgg_nested.pth",
        "vgg_bare_f16.safetensors",
        "vgg_keras.h5",
        "vgg_keras.weights.h5",
        "vgg_keras_published.h5",
    ]
    .map(|name| file(&format!("tests/golden/{name}")))
    .to_vec();
    found.push(keras_archive(&file("tests/golden/vgg_keras.weights.h5")));
    found.push(safetensors(&[0, 0, 0x80, 0x3F, 0, 0, 0, 0x40]));
    found
}

/// Returns a safetensors file with one small tensor, whose header is easily hit.
fn safetensors(values: &[u8]) -> Vec<u8> {
    let header = br#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, values].concat()
}

/// Returns a ZIP archive with the weights of a Keras model, as `model.save` writes it, not packed.
fn keras_archive(weights: &[u8]) -> Vec<u8> {
    let name = b"model.weights.h5";
    let length = (weights.len() as u32).to_le_bytes();
    let common = [
        &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &length,
        &length,
        &[name.len() as u8, 0, 0, 0],
    ]
    .concat();
    let local = [b"PK\x03\x04", &common[..], name, weights].concat();
    let directory = [b"PK\x01\x02\x14\0", &common[..], &[0; 14], name].concat();
    let lengths = [directory.len(), local.len()].map(|length| (length as u32).to_le_bytes());
    let end = [
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0",
        &lengths.concat()[..],
        &[0, 0],
    ]
    .concat();
    [local, directory, end].concat()
}
