//! Decoded pictures in a file in the user's cache folder, which the next run on the same pictures finds there; beside it what was found of them.

use std::{
    fs,
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use mapped_file::MappedFile;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    DataError,
    facts::Facts,
    look::{LOOK_BYTES, Look},
    pictures::{Format, Read, read_picture},
};
use crate::base::files;

/// Part of the key: raise it when decoding or resizing changes its pixels.
const VERSION: &str = "emberlens pixels 6";

/// Pictures that are decoded at a time, so that memory stays bounded whatever their number.
const CHUNK: usize = 128;

/// Where each picture begins and ends, nowhere for one that can't be read.
pub(super) type Spans = Vec<Range<usize>>;

/// Pictures one behind the other.
pub(super) struct CacheFile {
    /// Their bytes.
    pub file: MappedFile,
    /// Of each.
    pub spans: Spans,
    /// Where the file is.
    pub path: PathBuf,
}

/// What stands beside a cache file: one line a picture; the looks have a file of their own.
#[derive(Serialize, Deserialize)]
enum Indexed {
    Good(Facts),
    Bad(String),
}

/// Reads all pictures of `paths` through the file for their contents and these settings: the one that is there, or a new one.
///
/// # Errors
/// It can't be written, or not opened.
pub(super) fn read(paths: &[&Path], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(CacheFile, Vec<Read>), DataError> {
    let folder = dirs::cache_dir().map(|folder| folder.join("emberlens").join("pixels")).ok_or_else(|| DataError::Missing {
        expected: "cache folder of the user",
        path: PathBuf::from("~/.cache"),
        hint: "set data.cache to \"memory\" or \"off\"".to_owned(),
    })?;
    fs::create_dir_all(&folder).map_err(|error| DataError::io("create the folder of the pixel cache", &folder, error))?;
    let key = key_of(paths, format);
    let [pixels_path, looks_path, index_path] = ["u8", "look", "json"].map(|ending| folder.join(format!("{key}.{ending}")));
    if let Some((file, reads)) = open([&pixels_path, &looks_path, &index_path], paths.len(), format) {
        done(paths.len());
        return Ok((CacheFile { file, spans: spans(&reads, format), path: pixels_path }, reads));
    }
    let failed = |error| DataError::io("write the pixel cache", &pixels_path, error);
    let file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
    let mut writer = BufWriter::new(file);
    let mut reads = Vec::with_capacity(paths.len());
    for chunk in paths.chunks(CHUNK) {
        let decoded: Vec<_> = chunk.par_iter().map(|path| read_picture(path, format, done)).collect();
        for result in decoded {
            reads.push(match result {
                Ok((facts, pixels)) => {
                    writer.write_all(&pixels).map_err(failed)?;
                    Read::Good(Arc::new(facts))
                }
                Err(reason) => Read::Bad(reason),
            });
        }
    }
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&pixels_path).map_err(|error| failed(error.error))?;
    let looks: Vec<&[u8]> = reads.iter().filter_map(Read::facts).map(|facts| facts.look.bytes()).collect();
    files::write_atomic(&looks_path, &looks.concat()).map_err(|error| DataError::io("write the pixel cache", &looks_path, error))?;
    let index: Vec<_> = reads
        .iter()
        .map(|read| match read {
            Read::Good(facts) => Indexed::Good(Facts::clone(facts)),
            Read::Bad(reason) => Indexed::Bad(reason.clone()),
        })
        .collect();
    let index = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
    files::write_atomic(&index_path, &index).map_err(|error| DataError::io("write the pixel cache", &index_path, error))?;
    let file = MappedFile::open(&pixels_path).map_err(|error| DataError::io("map", &pixels_path, error))?;
    Ok((CacheFile { file, spans: spans(&reads, format), path: pixels_path }, reads))
}

/// Where each picture is in a cache file: one behind the other.
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
    fs::read(path).map_or([0; 32], |bytes| blake3::hash(&bytes).into())
}

/// The cache that an earlier run left, if it is whole.
fn open([pixels, looks, index]: [&Path; 3], count: usize, format: Format) -> Option<(MappedFile, Vec<Read>)> {
    let index: Vec<Indexed> = serde_json::from_slice(&fs::read(index).ok()?).ok()?;
    let looks = fs::read(looks).ok()?;
    let mut looks = looks.chunks_exact(LOOK_BYTES);
    let reads: Option<Vec<_>> = index
        .into_iter()
        .map(|entry| match entry {
            Indexed::Bad(reason) => Some(Read::Bad(reason)),
            Indexed::Good(facts) => Some(Read::Good(Arc::new(Facts { look: Look::from_bytes(looks.next()?)?, ..facts }))),
        })
        .collect();
    let reads = reads.filter(|reads| reads.len() == count)?;
    let map = MappedFile::open(pixels).ok()?;
    let length = spans(&reads, format).last().map_or(0, |span| span.end);
    (map.len() == length).then_some((map, reads))
}
