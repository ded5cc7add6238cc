//! A cache file in the user's cache folder: decoded images and what was measured of them, for later
//! runs on the same images. All that is read back is checked against digests, and a damaged cache
//! is written anew.

use std::{
    fs,
    io::{self, BufWriter, IntoInnerError, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::format::{Format, Read, read_image};
use crate::{
    base::io::{
        cache,
        files::{self, PartialFile},
        positioned::PositionedFile,
    },
    data::{
        error::DataError,
        pixels::{
            image_stats::ImageStats,
            memory,
            thumbnail::{THUMBNAIL_BYTES, Thumbnail},
        },
        shards::Place,
    },
};

/// Part of the key. Raise it when decoding or resizing gives other pixels.
const VERSION: &str = "emberlens pixels 8";

/// Number of images that are decoded at a time, which bounds the memory for any number of images.
const CHUNK: usize = 128;

/// Position of each image in the bytes; empty for one that can't be decoded.
pub(in crate::data) type Spans = Vec<Range<usize>>;

/// An open cache file, in which images follow one another.
pub(in crate::data) struct CacheFile {
    /// The bytes of all images.
    pub file: PositionedFile,
    /// Position of each image.
    pub spans: Spans,
    /// CRC-32C of each image, checked when it is read; takes a few microseconds.
    pub sums: Vec<u32>,
    /// Path of the file.
    pub path: PathBuf,
}

/// What is kept beside a cache file, with an entry for each image. Thumbnails have a file of their
/// own.
#[derive(Serialize, Deserialize)]
struct Index {
    /// BLAKE3 digest of the thumbnails, in hexadecimal.
    looks: String,
    /// Memory budget of decoding in bytes. With another one, other images may be too large.
    decode_limit: u64,
    /// The images in order.
    images: Vec<Indexed>,
}

/// An image in the index.
#[derive(Serialize, Deserialize)]
enum Indexed {
    /// Its statistics, and the CRC-32C of its pixels.
    Good(ImageStats, u32),
    /// The reason why it can't be decoded.
    Bad(String),
}

/// Paths of the files of a cache.
struct Names {
    pixels: PathBuf,
    looks: PathBuf,
    index: PathBuf,
}

impl Names {
    /// Returns the paths that belong to the file of the pixels.
    fn of(pixels: &Path) -> Self {
        Self {
            pixels: pixels.to_owned(),
            looks: pixels.with_extension("look"),
            index: pixels.with_extension("json"),
        }
    }
}

/// Reads the images of `paths` through the cache file for their contents and `format`. Uses an
/// existing file, or writes a new one. `done` is called with the number of images that were read.
///
/// # Errors
/// Returns an error if there is no cache folder, or if the file can't be written or opened.
pub(in crate::data) fn read(
    paths: &[&Path],
    format: Format,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(CacheFile, Vec<Read>), DataError> {
    let folder = cache::folder("pixels").ok_or_else(|| DataError::Missing {
        expected: "cache folder of the user",
        path: PathBuf::from("~/.cache"),
        hint: "set data.cache to \"memory\" or \"off\"".to_owned(),
    })?;
    fs::create_dir_all(&folder)
        .map_err(|error| DataError::io("create the folder of the pixel cache", &folder, error))?;
    let names = Names::of(&folder.join(format!("{}.u8", key_of(paths, format))));
    if names.index.exists() {
        match open(&names, paths.len(), format) {
            Ok(Some(found)) => {
                done(paths.len());
                return Ok(found);
            }
            Ok(None) => remove(&names.pixels),
            Err(reason) => discard(&names.pixels, &reason),
        }
    }
    write(&names, paths, format, done)
}

/// Logs that a cache is damaged and removes it, so that the next run that needs it writes it anew.
pub(in crate::data) fn discard(pixels: &Path, reason: &str) {
    log::warn!(
        "the pixel cache is damaged and is rebuilt: {reason}: {}",
        pixels.display()
    );
    remove(pixels);
}

/// Removes the files of a cache.
fn remove(pixels: &Path) {
    let Names {
        pixels,
        looks,
        index,
    } = Names::of(pixels);
    // The index first: without it, there is no cache. Files that can't be removed are replaced
    // later.
    [index, looks, pixels]
        .iter()
        .for_each(|path| _ = fs::remove_file(path));
}

/// Returns the checksum of an image's pixels.
pub(in crate::data) fn sum(pixels: &[u8]) -> u32 {
    crc32c::crc32c(pixels)
}

/// Decodes all images and writes the cache.
fn write(
    names: &Names,
    paths: &[&Path],
    format: Format,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(CacheFile, Vec<Read>), DataError> {
    let failed = |error| DataError::io("write the pixel cache", &names.pixels, error);
    let (reads, sums) = write_pixels(&names.pixels, paths, format, done)?;
    // The index is written last, since a cache counts as complete once it has one.
    let looks = write_looks(&names.looks, &reads).map_err(failed)?;
    write_index(&names.index, &reads, &sums, looks).map_err(failed)?;
    let file = PositionedFile::open(&names.pixels)
        .map_err(|error| DataError::io("read", &names.pixels, error))?;
    Ok((
        CacheFile {
            file,
            spans: spans(&reads, format),
            sums,
            path: names.pixels.clone(),
        },
        reads,
    ))
}

/// Decodes all images and writes their pixels. Returns what was read and the checksums.
fn write_pixels(
    path: &Path,
    paths: &[&Path],
    format: Format,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(Vec<Read>, Vec<u32>), DataError> {
    let failed = |error| DataError::io("write the pixel cache", path, error);
    let mut writer = BufWriter::new(PartialFile::new(path).map_err(failed)?);
    let mut reads = Vec::with_capacity(paths.len());
    let mut sums = Vec::with_capacity(paths.len());
    for chunk in paths.chunks(CHUNK) {
        let read = |path: &&Path| {
            let read = read_image(path, format, done)?;
            Ok(read.map(|(facts, pixels)| (facts, sum(&pixels), pixels)))
        };
        let decoded: Vec<_> = chunk
            .par_iter()
            .map(read)
            .collect::<Result<_, DataError>>()?;
        for result in decoded {
            let (read, sum) = match result {
                Ok((facts, sum, pixels)) => {
                    writer.write_all(&pixels).map_err(failed)?;
                    (Read::Good(Arc::new(facts)), sum)
                }
                Err(reason) => (Read::Bad(reason), sum(&[])),
            };
            reads.push(read);
            sums.push(sum);
        }
    }
    let file = writer.into_inner().map_err(IntoInnerError::into_error);
    file.and_then(PartialFile::commit).map_err(failed)?;
    Ok((reads, sums))
}

/// Writes the thumbnails of the images and returns their digest.
fn write_looks(path: &Path, reads: &[Read]) -> io::Result<String> {
    let looks = reads
        .iter()
        .filter_map(Read::facts)
        .map(|facts| facts.look.bytes())
        .collect::<Vec<_>>()
        .concat();
    files::write_atomic(path, &looks)?;
    Ok(digest(&looks))
}

/// Writes the index with a digest of itself in its first line. `looks` is the digest of the
/// thumbnails.
fn write_index(path: &Path, reads: &[Read], sums: &[u32], looks: String) -> io::Result<()> {
    let images = reads.iter().zip(sums).map(|(read, sum)| match read {
        Read::Good(facts) => Indexed::Good(ImageStats::clone(facts), *sum),
        Read::Bad(reason) => Indexed::Bad(reason.clone()),
    });
    let index = Index {
        looks,
        decode_limit: memory::limit(),
        images: images.collect(),
    };
    let index = serde_json::to_vec(&index)?;
    files::write_atomic(path, &[digest(&index).as_bytes(), b"\n", &index].concat())
}

/// Returns the BLAKE3 digest in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    files::hex(blake3::hash(bytes).as_bytes())
}

/// Returns the position of each image in a cache file, from the number of its channels.
fn spans(reads: &[Read], format: Format) -> Spans {
    let [height, width, _] = format.shape();
    let mut end = 0;
    let span = |read: &Read| {
        let start = end;
        end += read
            .facts()
            .map_or(0, |facts| height * width * facts.channels);
        start..end
    };
    reads.iter().map(span).collect()
}

/// Returns the digest of the settings and of the content of each file, in order.
fn key_of(paths: &[&Path], format: Format) -> String {
    // Contents rather than paths and times, so that images that were moved or copied keep their
    // cache.
    let contents: Vec<[u8; 32]> = paths.par_iter().map(|path| file_digest(path)).collect();
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{VERSION} {format:?}").as_bytes());
    contents.iter().for_each(|content| _ = hash.update(content));
    files::hex(hash.finalize().as_bytes())
}

/// Returns the BLAKE3 digest of a file, or zeros if it can't be read, which decoding will report.
fn file_digest(path: &Path) -> [u8; 32] {
    let digest = || {
        let mut hash = blake3::Hasher::new();
        let place = Place::of(path)?;
        if let Some(digest) = place.digest() {
            return Ok(digest);
        }
        // A longer file isn't decoded either.
        if place.len() <= memory::limit() {
            hash.update_reader(place.open()?)?;
        }
        Ok::<_, io::Error>(hash.finalize().into())
    };
    digest().unwrap_or([0; 32])
}

/// Opens the cache of an earlier run. Returns `None` if it lacks images that the present memory
/// budget may allow to decode, and an error that says what is wrong with a damaged one. Pixels are
/// checked when they are read.
fn open(
    names: &Names,
    count: usize,
    format: Format,
) -> Result<Option<(CacheFile, Vec<Read>)>, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let index = read(&names.index)?;
    let (expected, index) = index.split_at_checked(64).ok_or("its index is cut off")?;
    let index = index
        .strip_prefix(b"\n")
        .filter(|index| digest(index).as_bytes() == expected)
        .ok_or("its index has changed")?;
    let index: Index = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    if index.decode_limit != memory::limit()
        && index
            .images
            .iter()
            .any(|image| matches!(image, Indexed::Bad(_)))
    {
        return Ok(None);
    }
    let looks = read(&names.looks)?;
    if digest(&looks) != index.looks {
        return Err("its thumbnails have changed".to_owned());
    }
    let mut looks = looks.chunks_exact(THUMBNAIL_BYTES);
    let (mut reads, mut sums) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for entry in index.images {
        let (read, sum) = match entry {
            Indexed::Bad(reason) => (Read::Bad(reason), sum(&[])),
            Indexed::Good(facts, sum) => {
                let look = looks
                    .next()
                    .and_then(Thumbnail::from_bytes)
                    .ok_or("a thumbnail is missing")?;
                (Read::Good(Arc::new(ImageStats { look, ..facts })), sum)
            }
        };
        reads.push(read);
        sums.push(sum);
    }
    if reads.len() != count {
        return Err(format!(
            "found {} images in its index, expected {count}",
            reads.len()
        ));
    }
    let file = PositionedFile::open(&names.pixels).map_err(|error| error.to_string())?;
    let spans = spans(&reads, format);
    let length = spans.last().map_or(0, |span| span.end);
    if file.len() != length {
        return Err(format!("found {} bytes, expected {length}", file.len()));
    }
    Ok(Some((
        CacheFile {
            file,
            spans,
            sums,
            path: names.pixels.clone(),
        },
        reads,
    )))
}
