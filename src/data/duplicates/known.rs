//! What a run knows, kept in its folder: the looks of its training and validation images beside `split.csv`; and which of other images are
//! copies of those.

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

/// The looks, in the order of the training and validation rows of `split.csv`.
pub const LOOKS: &str = "looks.safetensors";

/// The rows of a run's `split.csv`.
const SPLIT: &str = "split.csv";

/// Of a digest.
const DIGEST_BYTES: usize = 32;

/// What a run knows.
#[derive(Debug)]
pub struct Known {
    rows: Vec<SplitRow>,
    /// Of the training and validation rows; `None` where an older version wrote the run.
    looks: Option<Vec<Thumbnail>>,
}

/// What another image is a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCopy {
    /// An image of the run, as `split.csv` names it.
    pub path: String,
    /// Equal pixels, or much the same to the eye.
    pub likeness: Likeness,
}

/// Returns what [`LOOKS`] holds of the images that a run knows: 4 KiB each, and the digests of their pixels.
pub fn looks_to_bytes(known: &[&ScannedImage]) -> Vec<u8> {
    let pixels: Vec<u8> = known.iter().flat_map(|seen| seen.facts.pixels).collect();
    let looks: Vec<u8> = known.iter().flat_map(|seen| seen.facts.look.bytes()).copied().collect();
    let digest = HashMap::from([("blake3".to_owned(), digest(&pixels, &looks))]);
    let view = |shape: &[usize], bytes| TensorView::new(Dtype::U8, shape.to_vec(), bytes).expect("as many bytes as the shape says");
    let tensors = [("pixels", view(&[known.len(), DIGEST_BYTES], &pixels)), ("looks", view(&[known.len(), SIDE, SIDE], &looks))];
    safetensors::serialize(tensors, Some(digest)).expect("memory takes every byte")
}

fn digest(pixels: &[u8], looks: &[u8]) -> String {
    files::hex(blake3::Hasher::new().update(pixels).update(looks).finalize().as_bytes())
}

impl Known {
    /// Reads what the run in this folder knows; `None` where there is no `split.csv`.
    ///
    /// # Errors
    /// A file that was cut off or changed, or looks that aren't those of the images in `split.csv`.
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
                "found {found}, expected the looks of the images in {SPLIT}; put back the file that the run wrote, or remove it: copies are then \
                 told by equal pixels only"
            ),
            path,
        })?;
        Ok(Some(Self { rows, looks: Some(looks) }))
    }

    /// Are near copies told of any image? In runs of older versions only of those in their own `split.csv`.
    pub fn has_looks(&self) -> bool {
        self.looks.is_some()
    }

    /// Of each image with these pixels, what it is a copy of among the `parts` of the run: by equal pixels; by its look, where `facts` (one an
    /// image, or none at all) tell it; or because the run itself took it for a copy.
    pub fn copies(&self, parts: &[Part], pixels: &[[u8; DIGEST_BYTES]], facts: &[Arc<ImageStats>]) -> Vec<Option<KnownCopy>> {
        let is_known = |row: &SplitRow| parts.iter().any(|part| row.split == part.name());
        let known: Vec<&SplitRow> = self.rows.iter().filter(|row| is_known(row)).collect();
        let paths: std::collections::BTreeSet<&str> = known.iter().map(|row| row.path.as_str()).collect();
        let copy = |path: &str, likeness| KnownCopy { path: path.to_owned(), likeness };
        let mut found = BTreeMap::new();
        for row in known.iter().rev() {
            found.extend(digest_from_hex(&row.blake3).map(|pixels| (pixels, copy(&row.path, Likeness::Pixels))));
        }
        for row in self.rows.iter().filter(|row| paths.contains(row.copy_of.as_str())) {
            if let Some(pixels) = digest_from_hex(&row.blake3) {
                found.entry(pixels).or_insert_with(|| copy(&row.copy_of, Likeness::Near));
            }
        }
        let mut copies: Vec<Option<KnownCopy>> = pixels.iter().map(|pixels| found.get(pixels).cloned()).collect();
        for (index, row) in self.near(&is_known, facts) {
            copies[index].get_or_insert_with(|| copy(&row.path, Likeness::Near));
        }
        copies
    }

    /// Positions of images that are copies of known ones by their looks, each with the known one that it is most like.
    fn near(&self, is_known: &dyn Fn(&SplitRow) -> bool, facts: &[Arc<ImageStats>]) -> Vec<(usize, &SplitRow)> {
        let Some(looks) = &self.looks else { return Vec::new() };
        let of_looks = self.rows.iter().filter(|row| row.split != Part::Test.name()).zip(looks);
        let known: Vec<(&SplitRow, &Thumbnail)> = of_looks.filter(|(row, _)| is_known(row)).collect();
        let pixels = |row: &SplitRow| digest_from_hex(&row.blake3).unwrap_or_default();
        let of_known: Vec<_> = known.iter().map(|(row, look)| Candidate { file: None, pixels: pixels(row), look }).collect();
        let new: Vec<_> = facts.iter().map(|facts| Candidate { file: None, ..Candidate::from(&**facts) }).collect();
        let sources = duplicates::sources(&of_known, &new).into_iter().enumerate();
        sources.filter_map(|(index, source)| Some((index, known[source?.0].0))).collect()
    }
}

/// The looks of these rows, or what was found instead.
fn read_looks(bytes: &[u8], rows: &[SplitRow]) -> Result<Vec<Thumbnail>, String> {
    let in_words = |error: safetensors::SafeTensorError| format!("a file that is cut off or damaged ({error})");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(in_words)?;
    let file = SafeTensors::deserialize(bytes).map_err(in_words)?;
    let [pixels, looks] = [file.tensor("pixels").map_err(in_words)?, file.tensor("looks").map_err(in_words)?];
    let written = metadata.metadata().as_ref().and_then(|metadata| metadata.get("blake3"));
    if written != Some(&digest(pixels.data(), looks.data())) {
        return Err("bytes that were changed (their BLAKE3 isn't the one that they were written with)".to_owned());
    }
    let known: Vec<_> = rows.iter().filter(|row| row.split != Part::Test.name()).collect();
    let is_of = |(pixels, row): (&[u8; DIGEST_BYTES], &&SplitRow)| digest_from_hex(&row.blake3) == Some(*pixels);
    let (of_file, looks) = (pixels.data().as_chunks().0, looks.data().chunks_exact(THUMBNAIL_BYTES));
    if of_file.len() != known.len() || looks.len() != known.len() || !of_file.iter().zip(&known).all(is_of) {
        return Err(format!("{} looks of other images than the {} that are trained on and chosen by", looks.len(), known.len()));
    }
    Ok(looks.filter_map(Thumbnail::from_bytes).collect())
}
