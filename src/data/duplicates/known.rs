//! The thumbnails of a run's training and validation images, kept in its folder beside `split.csv`,
//! by which copies of them are found on any images, wherever the run's own images are by then.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{Candidate, Likeness, scan::ScannedImage};
use crate::{
    base::io::files::{self, digest_from_hex},
    data::{
        duplicates,
        error::DataError,
        listing::Part,
        pixels::{
            image_stats::ImageStats,
            thumbnail::{SIDE, THUMBNAIL_BYTES, Thumbnail},
        },
        table::{SplitRow, read_split},
    },
};

/// File of the thumbnails, in the order of the training and validation rows of `split.csv`.
pub const LOOKS: &str = "looks.safetensors";

/// File of the rows.
const SPLIT: &str = "split.csv";

/// Length of a digest.
const DIGEST_BYTES: usize = 32;

/// The images that a run knows.
#[derive(Debug)]
pub struct Known {
    rows: Vec<SplitRow>,
    /// Thumbnails of the training and validation rows; `None` if an older version wrote the run.
    looks: Option<Vec<Thumbnail>>,
}

/// What an image is a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCopy {
    /// Path of the run's image in `split.csv`.
    pub path: String,
    /// How the two are copies of one another.
    pub likeness: Likeness,
}

/// Returns the content of [`LOOKS`] for the images of a run: a thumbnail of 4 KiB and the digest of
/// the pixels for each.
pub fn looks_to_bytes(known: &[&ScannedImage]) -> Vec<u8> {
    let pixels: Vec<u8> = known.iter().flat_map(|seen| seen.facts.pixels).collect();
    let looks: Vec<u8> = known
        .iter()
        .flat_map(|seen| seen.facts.look.bytes())
        .copied()
        .collect();
    let digest = HashMap::from([("blake3".to_owned(), digest(&pixels, &looks))]);
    let view = |shape: &[usize], bytes| {
        TensorView::new(Dtype::U8, shape.to_vec(), bytes).expect("as many bytes as the shape says")
    };
    let tensors = [
        ("pixels", view(&[known.len(), DIGEST_BYTES], &pixels)),
        ("looks", view(&[known.len(), SIDE, SIDE], &looks)),
    ];
    safetensors::serialize(tensors, Some(digest)).expect("memory takes every byte")
}

/// Returns the digest that covers both tensors.
fn digest(pixels: &[u8], looks: &[u8]) -> String {
    files::hex(
        blake3::Hasher::new()
            .update(pixels)
            .update(looks)
            .finalize()
            .as_bytes(),
    )
}

impl Known {
    /// Reads the images that a run knows from its folder. Returns `None` if there is no
    /// `split.csv`.
    ///
    /// # Errors
    /// Returns an error if a file is cut off or was changed, or if the thumbnails are of other
    /// images than those in `split.csv`.
    pub fn open(run: &Path) -> Result<Option<Self>, DataError> {
        let (split, path) = (run.join(SPLIT), run.join(LOOKS));
        if !split.is_file() {
            return Ok(None);
        }
        let rows = read_split(&split)?;
        if !path.is_file() {
            return Ok(Some(Self { rows, looks: None }));
        }
        let bytes = std::fs::read(&path).map_err(|error| DataError::io("read", &path, error))?;
        let looks = read_looks(&bytes, &rows).map_err(|found| DataError::Damaged {
            message: format!(
                "found {found}, expected the thumbnails of the images in {SPLIT}; restore the file \
                 that the run wrote, or remove it: copies are then found by equal pixels only"
            ),
            path,
        })?;
        Ok(Some(Self {
            rows,
            looks: Some(looks),
        }))
    }

    /// Returns whether near-duplicates are found among any images. Runs of older versions know only
    /// those in their own `split.csv`.
    pub fn has_looks(&self) -> bool {
        self.looks.is_some()
    }

    /// Returns for each image, given by its digest, the image in `parts` that it is a copy of: one
    /// with equal pixels, one that the run itself found it to be a copy of, or one with a similar
    /// thumbnail. `facts` has one entry per image, or none at all.
    pub fn copies(
        &self,
        parts: &[Part],
        pixels: &[[u8; DIGEST_BYTES]],
        facts: &[Arc<ImageStats>],
    ) -> Vec<Option<KnownCopy>> {
        let is_known = |row: &SplitRow| parts.iter().any(|part| row.split == part.name());
        let known: Vec<&SplitRow> = self.rows.iter().filter(|row| is_known(row)).collect();
        let paths: std::collections::BTreeSet<&str> =
            known.iter().map(|row| row.path.as_str()).collect();
        let copy = |path: &str, likeness| KnownCopy {
            path: path.to_owned(),
            likeness,
        };
        let mut found = BTreeMap::new();
        // In reverse, so that the first of equal images is kept.
        for row in known.iter().rev() {
            found.extend(
                digest_from_hex(&row.blake3)
                    .map(|pixels| (pixels, copy(&row.path, Likeness::Pixels))),
            );
        }
        for row in self
            .rows
            .iter()
            .filter(|row| paths.contains(row.copy_of.as_str()))
        {
            if let Some(pixels) = digest_from_hex(&row.blake3) {
                found
                    .entry(pixels)
                    .or_insert_with(|| copy(&row.copy_of, Likeness::Near));
            }
        }
        let mut copies: Vec<Option<KnownCopy>> = pixels
            .iter()
            .map(|pixels| found.get(pixels).cloned())
            .collect();
        for (index, row) in self.near(&is_known, facts) {
            // Equal pixels and the run's own finding are more certain than a thumbnail.
            copies[index].get_or_insert_with(|| copy(&row.path, Likeness::Near));
        }
        copies
    }

    /// Returns the positions of images that are near-duplicates of known ones, with the most
    /// similar row.
    fn near(
        &self,
        is_known: &dyn Fn(&SplitRow) -> bool,
        facts: &[Arc<ImageStats>],
    ) -> Vec<(usize, &SplitRow)> {
        let Some(looks) = &self.looks else {
            return Vec::new();
        };
        let of_looks = self
            .rows
            .iter()
            .filter(|row| row.split != Part::Test.name())
            .zip(looks);
        let known: Vec<(&SplitRow, &Thumbnail)> =
            of_looks.filter(|(row, _)| is_known(row)).collect();
        let pixels = |row: &SplitRow| digest_from_hex(&row.blake3).unwrap_or_default();
        let of_known: Vec<_> = known
            .iter()
            .map(|(row, look)| Candidate {
                file: None,
                pixels: pixels(row),
                look,
            })
            .collect();
        let new: Vec<_> = facts
            .iter()
            .map(|facts| Candidate {
                file: None,
                ..Candidate::from(&**facts)
            })
            .collect();
        let sources = duplicates::sources(&of_known, &new).into_iter().enumerate();
        sources
            .filter_map(|(index, source)| Some((index, known[source?.0].0)))
            .collect()
    }
}

/// Reads the thumbnails of these rows, or says what was found instead.
fn read_looks(bytes: &[u8], rows: &[SplitRow]) -> Result<Vec<Thumbnail>, String> {
    let in_words = |error: safetensors::SafeTensorError| {
        format!("a file that is cut off or damaged ({error})")
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(in_words)?;
    let file = SafeTensors::deserialize(bytes).map_err(in_words)?;
    let [pixels, looks] = [
        file.tensor("pixels").map_err(in_words)?,
        file.tensor("looks").map_err(in_words)?,
    ];
    let written = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get("blake3"));
    // The format checks shapes only.
    if written != Some(&digest(pixels.data(), looks.data())) {
        return Err(
            "bytes that were changed (their BLAKE3 isn't the one that they were written with)"
                .to_owned(),
        );
    }
    let known: Vec<_> = rows
        .iter()
        .filter(|row| row.split != Part::Test.name())
        .collect();
    let is_of = |(pixels, row): (&[u8; DIGEST_BYTES], &&SplitRow)| {
        digest_from_hex(&row.blake3) == Some(*pixels)
    };
    let (of_file, looks) = (
        pixels.data().as_chunks().0,
        looks.data().chunks_exact(THUMBNAIL_BYTES),
    );
    if of_file.len() != known.len()
        || looks.len() != known.len()
        || !of_file.iter().zip(&known).all(is_of)
    {
        return Err(format!(
            "{} thumbnails of other images than the {} for training and validation",
            looks.len(),
            known.len()
        ));
    }
    Ok(looks.filter_map(Thumbnail::from_bytes).collect())
}
