//! Values as the network has them, for other programs: written as a NumPy array or a CSV, by the
//! extension of the file name.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{files::write_atomic, npy::npy};
use crate::base::{
    names::{self, of_text},
    usage::UsageError,
};

/// Output file for raw values.
#[derive(Clone, Debug)]
pub struct RawFile {
    path: PathBuf,
    is_array: bool,
}

impl FromStr for RawFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ending = Path::new(text)
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        let is_array = match ending.as_deref() {
            Some("npy") => true,
            Some("csv") => false,
            _ => return Err("expected a name that ends in .npy or .csv".to_owned()),
        };
        Ok(Self {
            path: text.into(),
            is_array,
        })
    }
}

/// Raw values of a number of images.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Shape of the values of one image.
    pub shape: Vec<usize>,
    /// Values of all images, one image after the other.
    pub values: Vec<f32>,
    /// Path and class of each image.
    pub images: Vec<[String; 2]>,
}

impl RawFile {
    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file doesn't exist, to be called before anything expensive is computed.
    ///
    /// # Errors
    /// Returns an error if the file exists.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.path.exists() {
            Err(UsageError(format!(
                "the file already exists; choose another name: {}",
                names::of_path(&self.path)
            )))
        } else {
            Ok(())
        }
    }

    /// Writes an array of shape `[images, ...]`, or a CSV with a row per image: its path, its class
    /// and a value under each of `columns`.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn write(&self, raw: &Raw, columns: impl Iterator<Item = String>) -> anyhow::Result<()> {
        if self.is_array {
            let shape: Vec<usize> = std::iter::once(raw.images.len())
                .chain(raw.shape.iter().copied())
                .collect();
            return Ok(write_atomic(&self.path, &npy(&shape, &raw.values))?);
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(
            ["path", "class"]
                .map(str::to_owned)
                .into_iter()
                .chain(columns),
        )?;
        let size = raw.shape.iter().product::<usize>().max(1);
        for (image, values) in raw.images.iter().zip(raw.values.chunks_exact(size)) {
            let names = image.iter().map(|name| of_text(name));
            writer.write_record(names.chain(values.iter().map(ToString::to_string)))?;
        }
        Ok(write_atomic(&self.path, &writer.into_inner()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_is_written_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let raw = Raw {
            shape: vec![1, 2],
            values: vec![0.5, -1.0, 2.0, 1e-9],
            images: vec![
                ["a\n.png".to_owned(), "x, y".to_owned()],
                ["b.png".to_owned(), "z".to_owned()],
            ],
        };
        let file = |name: &str| -> RawFile {
            folder
                .path()
                .join(name)
                .display()
                .to_string()
                .parse()
                .expect("an ending")
        };
        for name in ["maps.npy", "maps.CSV"] {
            assert!(file(name).check().is_ok());
            file(name)
                .write(&raw, ["r0c0", "r0c1"].map(str::to_owned).into_iter())
                .expect("written");
            assert!(
                file(name)
                    .check()
                    .expect_err("there")
                    .to_string()
                    .contains("already exists")
            );
        }
        assert_eq!(
            std::fs::read(folder.path().join("maps.npy")).expect("read"),
            npy(&[2, 1, 2], &raw.values)
        );
        let text = std::fs::read_to_string(folder.path().join("maps.CSV")).expect("read");
        assert_eq!(
            text,
            "path,class,r0c0,r0c1\na\\x0A.png,\"x, y\",0.5,-1\nb.png,z,2,0.000000001\n"
        );
        for name in ["maps", "maps.npz", "npy"] {
            assert!(name.parse::<RawFile>().is_err(), "{name}");
        }
    }
}
