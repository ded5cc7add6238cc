//! What the fuzz targets and `tests/mutated` do with any bytes: each function hands them to a
//! reader of the program, asserts what must hold of the result, and returns whether they were
//! accepted. A panic is a fault.

use std::{fs, path::Path, sync::OnceLock};

use emberlens::{
    config::{self, Color},
    data::{
        listing::{self, Exclude},
        pixels::{
            decode::{Wanted, decode_in},
            memory::{Room, set_limit},
        },
    },
    import::{self, Format, ImportError, Setup},
    nn::pretrained,
};

/// Memory in MiB that decoding an image may take here, so that the search is fast.
const IMAGE_MB: usize = 64;

/// Number of values above which a tensor of a file with weights isn't read.
const MOST_VALUES: usize = 1 << 20;

/// Decodes a file as RGB and, repairing it, as gray.
pub(crate) fn images(bytes: &[u8]) -> bool {
    set_limit(Some(IMAGE_MB));
    let mut is_accepted = false;
    for (color, repair) in [(Color::Rgb, false), (Color::Grayscale, true)] {
        match decode_in(bytes, Wanted { color, repair }, &mut Room::open()) {
            Ok(decoded) => {
                let pixels = decoded.pixels;
                let count = pixels.height * pixels.width * pixels.channels;
                assert!(count > 0 && pixels.bytes.len() == count);
                assert!([1, color.channels()].contains(&pixels.channels));
                is_accepted = true;
            }
            // Caught at the door, since a run must go on; a fault of a decoder all the same.
            Err(reason) => assert!(!reason.contains("the decoder failed"), "{reason}"),
        }
    }
    is_accepted
}

/// Reads a recipe; what follows a zero byte is a `--set`. A recipe that is accepted is written and
/// read again.
pub(crate) fn recipes(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0').map(str::to_owned);
    let recipe = parts.next().unwrap_or_default();
    let path = Path::new("recipe.toml");
    let parsed = config::parse(&recipe, path, &parts.collect::<Vec<_>>());
    let is_accepted = parsed.is_ok();
    match parsed {
        Ok(config) => {
            let written = config.to_toml();
            let again = config::parse(&written, path, &[])
                .unwrap_or_else(|error| panic!("{error} in what was written:\n{written}"));
            assert_eq!(again, config);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    is_accepted
}

/// Imports a notebook and a script. A recipe is accepted by the reader of recipes.
pub(crate) fn notebooks(bytes: &[u8]) -> bool {
    let mut is_accepted = false;
    for format in [Format::Notebook, Format::Script] {
        let setup = Setup {
            format,
            file: "notebook".to_owned(),
            name: "notebook".to_owned(),
            data: None,
        };
        match import::read(bytes, &setup) {
            Ok(imported) => {
                let parsed = config::parse(&imported.recipe, Path::new("recipe.toml"), &[]);
                parsed.unwrap_or_else(|error| panic!("{error} in:\n{}", imported.recipe));
                is_accepted = true;
            }
            Err(ImportError::Recipe(error)) => panic!("{error}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    is_accepted
}

/// Lists a CSV in a folder with three files that it may name.
pub(crate) fn lists(bytes: &[u8]) -> bool {
    let list = folder().join("list.csv");
    put(&list, bytes);
    let listed = listing::list(&list, &Exclude::default());
    let is_accepted = listed.is_ok();
    match listed {
        Ok(listing) => {
            assert!(!listing.entries.is_empty());
            for entry in &listing.entries {
                assert!(listing.classes.contains(&entry.class));
                assert!(entry.weight.is_finite() && entry.weight >= 0.0);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    is_accepted
}

/// Reads the tensors of a file with weights, whatever its format, and looks for its architecture.
pub(crate) fn weights(bytes: &[u8]) -> bool {
    let path = folder().join("weights");
    put(&path, bytes);
    let mut is_accepted = false;
    match pretrained::tensors(&path, MOST_VALUES) {
        Ok(tensors) => {
            is_accepted = tensors.values().any(Result::is_ok);
            for tensor in tensors.values().flatten() {
                assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = pretrained::identify(&path);
    is_accepted
}

/// Returns a folder of this process, with files that a list may name.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            for name in ["1.png", "2.png", "b.jpg"] {
                put(&folder.path().join(name), b"");
            }
            folder
        })
        .path()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of a moment, whose writing must be fast"
)]
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}
