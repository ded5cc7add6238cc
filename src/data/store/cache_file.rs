//! Decoded images in a file in the user's cache folder, which the next run on the same images finds there; beside it what was found of them.
//! What is read again is held against digests: a damaged cache is made anew.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use mapped_file::MappedFile;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::format::{Format, Read, read_image};
use crate::{
    base::io::{
        cache,
        files::{self, PartialFile},
    },
    data::{
        error::DataError,
        pixels::{
            image_stats::ImageStats,
            memory,
            thumbnail::{THUMBNAIL_BYTES, Thumbnail},
        },
    },
};

/// Part of the key: raise it when decoding or resizing changes its pixels.
const VERSION: &str = "emberlens pixels 8";

/// Images that are decoded at a time, so that memory stays bounded whatever their number.
const CHUNK: usize = 128;

/// Where each image begins and ends, nowhere for one that can't be read.
pub(in crate::data) type Spans = Vec<Range<usize>>;

/// Images one behind the other.
pub(in crate::data) struct CacheFile {
    /// Their bytes.
    pub file: MappedFile,
    /// Of each.
    pub spans: Spans,
    /// CRC-32C of each, to be compared when it is read: a few microseconds an image.
    pub sums: Vec<u32>,
    /// Where the file is.
    pub path: PathBuf,
}

/// What stands beside a cache file, one entry an image; the looks have a file of their own.
#[derive(Serialize, Deserialize)]
struct Index {
    /// BLAKE3 of the looks, in hexadecimal.
    looks: String,
    /// Bytes that decoding might take: with other ones, other images may be too large.
    decode_limit: u64,
    images: Vec<Indexed>,
}

#[derive(Serialize, Deserialize)]
enum Indexed {
    /// What was found, and the CRC-32C of the pixels.
    Good(ImageStats, u32),
    Bad(String),
}

/// A cache by the names of its files.
struct Names {
    pixels: PathBuf,
    looks: PathBuf,
    index: PathBuf,
}

impl Names {
    fn of(pixels: &Path) -> Self {
        Self { pixels: pixels.to_owned(), looks: pixels.with_extension("look"), index: pixels.with_extension("json") }
    }
}

/// Reads all images of `paths` through the file for their contents and these settings: the one that is there, or a new one.
///
/// # Errors
/// It can't be written, or not opened.
pub(in crate::data) fn read(paths: &[&Path], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(CacheFile, Vec<Read>), DataError> {
    let folder = cache::folder("pixels").ok_or_else(|| DataError::Missing {
        expected: "cache folder of the user",
        path: PathBuf::from("~/.cache"),
        hint: "set data.cache to \"memory\" or \"off\"".to_owned(),
    })?;
    fs::create_dir_all(&folder).map_err(|error| DataError::io("create the folder of the pixel cache", &folder, error))?;
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

/// Says that a cache is damaged and throws it away, so that the next one who wants it makes it anew.
pub(in crate::data) fn discard(pixels: &Path, reason: &str) {
    log::warn!("the pixel cache is damaged and is made anew: {reason}: {}", pixels.display());
    remove(pixels);
}

fn remove(pixels: &Path) {
    let Names { pixels, looks, index } = Names::of(pixels);
    // The index first: without it there is no cache. What can't be removed is replaced.
    [index, looks, pixels].iter().for_each(|path| _ = fs::remove_file(path));
}

/// The sum that an image's pixels are known by.
pub(in crate::data) fn sum(pixels: &[u8]) -> u32 {
    crc32c::crc32c(pixels)
}

fn write(names: &Names, paths: &[&Path], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(CacheFile, Vec<Read>), DataError> {
    let failed = |error| DataError::io("write the pixel cache", &names.pixels, error);
    let mut writer = BufWriter::new(PartialFile::new(&names.pixels).map_err(failed)?);
    let (mut reads, mut sums) = (Vec::with_capacity(paths.len()), Vec::with_capacity(paths.len()));
    for chunk in paths.chunks(CHUNK) {
        let decoded: Vec<_> =
            chunk.par_iter().map(|path| read_image(path, format, done).map(|(facts, pixels)| (facts, sum(&pixels), pixels))).collect();
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
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.commit().map_err(failed)?;
    let looks = reads.iter().filter_map(Read::facts).map(|facts| facts.look.bytes()).collect::<Vec<_>>().concat();
    files::write_atomic(&names.looks, &looks).map_err(failed)?;
    let images = reads.iter().zip(&sums).map(|(read, sum)| match read {
        Read::Good(facts) => Indexed::Good(ImageStats::clone(facts), *sum),
        Read::Bad(reason) => Indexed::Bad(reason.clone()),
    });
    let index = Index { looks: digest(&looks), decode_limit: memory::limit(), images: images.collect() };
    let index = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
    files::write_atomic(&names.index, &[digest(&index).as_bytes(), b"\n", &index].concat()).map_err(failed)?;
    let file = MappedFile::open(&names.pixels).map_err(|error| DataError::io("map", &names.pixels, error))?;
    Ok((CacheFile { file, spans: spans(&reads, format), sums, path: names.pixels.clone() }, reads))
}

fn digest(bytes: &[u8]) -> String {
    files::hex(blake3::hash(bytes).as_bytes())
}

/// Where each image is in a cache file: one behind the other.
fn spans(reads: &[Read], format: Format) -> Spans {
    let [height, width, _] = format.shape();
    let mut end = 0;
    let span = |read: &Read| {
        let start = end;
        end += read.facts().map_or(0, |facts| height * width * facts.channels);
        start..end
    };
    reads.iter().map(span).collect()
}

/// The settings and the content of every file, in order.
fn key_of(paths: &[&Path], format: Format) -> String {
    let contents: Vec<[u8; 32]> = paths.par_iter().map(|path| file_digest(path)).collect();
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{VERSION} {format:?}").as_bytes());
    contents.iter().for_each(|content| _ = hash.update(content));
    files::hex(hash.finalize().as_bytes())
}

/// BLAKE3 of a file; zeros where it can't be read, which decoding will report.
fn file_digest(path: &Path) -> [u8; 32] {
    let digest = || {
        let mut hash = blake3::Hasher::new();
        hash.update_reader(File::open(path)?)?;
        Ok::<_, io::Error>(hash.finalize().into())
    };
    // A file that is too long isn't read when it is decoded either.
    if memory::is_too_long(path) { [0; 32] } else { digest().unwrap_or([0; 32]) }
}

/// The cache that an earlier run left, unless it lacks images that might be read with what decoding may take now; or what is wrong with it. Its
/// pixels are looked at when they are read.
fn open(names: &Names, count: usize, format: Format) -> Result<Option<(CacheFile, Vec<Read>)>, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let index = read(&names.index)?;
    let (expected, index) = index.split_at_checked(64).ok_or("its index is cut off")?;
    let index = index.strip_prefix(b"\n").filter(|index| digest(index).as_bytes() == expected).ok_or("its index has changed")?;
    let index: Index = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    if index.decode_limit != memory::limit() && index.images.iter().any(|image| matches!(image, Indexed::Bad(_))) {
        return Ok(None);
    }
    let looks = read(&names.looks)?;
    if digest(&looks) != index.looks {
        return Err("its looks have changed".to_owned());
    }
    let mut looks = looks.chunks_exact(THUMBNAIL_BYTES);
    let (mut reads, mut sums) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for entry in index.images {
        let (read, sum) = match entry {
            Indexed::Bad(reason) => (Read::Bad(reason), sum(&[])),
            Indexed::Good(facts, sum) => {
                let look = looks.next().and_then(Thumbnail::from_bytes).ok_or("a look is missing")?;
                (Read::Good(Arc::new(ImageStats { look, ..facts })), sum)
            }
        };
        reads.push(read);
        sums.push(sum);
    }
    if reads.len() != count {
        return Err(format!("found {} images in its index, expected {count}", reads.len()));
    }
    let file = MappedFile::open(&names.pixels).map_err(|error| error.to_string())?;
    let spans = spans(&reads, format);
    let length = spans.last().map_or(0, |span| span.end);
    if file.len() != length {
        return Err(format!("found {} bytes, expected {length}", file.len()));
    }
    Ok(Some((CacheFile { file, spans, sums, path: names.pixels.clone() }, reads)))
}
