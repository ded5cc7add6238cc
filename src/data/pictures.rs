//! Listed pictures in, decoded and resized bytes out, kept where the configuration says: memory, a mapped file, or nowhere.

use std::{
    borrow::Cow,
    fmt, fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use mapped_file::MappedFile;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    DataError,
    decode::{Pixels, decode},
    facts::{Facts, look_at},
    look::{LOOK_BYTES, Look},
    resize::resize,
};
use crate::{
    base::files,
    config::{Cache, Color, Data, Interpolation, Resize},
};

/// Part of the cache key: raise it when decoding or resizing changes its pixels.
const CACHE_VERSION: &str = "emberlens pixels 5";

/// Pictures that are decoded at a time, so that memory stays bounded whatever their number.
const CHUNK: usize = 128;

/// What each picture becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Height and width.
    pub image_size: [usize; 2],
    /// One channel or three.
    pub color: Color,
    /// How a picture gets to that size.
    pub resize: Resize,
    /// The filter of that.
    pub interpolation: Interpolation,
}

impl Format {
    /// Height, width and channels.
    pub fn shape(self) -> [usize; 3] {
        [self.image_size[0], self.image_size[1], self.color.channels()]
    }

    /// Bytes a picture.
    pub fn num_bytes(self) -> usize {
        self.shape().iter().product()
    }

    /// The format that `[data]` asks for.
    pub fn of(data: &Data) -> Self {
        Self { image_size: data.image_size, color: data.color, resize: data.resize, interpolation: data.interpolation }
    }
}

/// Where decoded pictures are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// The user's choice.
    pub cache: Cache,
    /// MiB of memory that `auto` may use.
    pub memory_mb: usize,
}

/// One picture as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// Decoded.
    Good {
        /// What was found.
        facts: Arc<Facts>,
        /// Where its bytes are in the store.
        slot: usize,
    },
    /// Not decoded, and why.
    Bad(String),
}

/// Decoded, resized pictures, `[height, width, channels]` bytes each; or what a network's first layers made of them, as `f32`.
pub struct Store {
    format: Format,
    /// Bytes of each.
    size: usize,
    place: Place,
}

enum Place {
    Memory(Vec<u8>),
    /// One file, or several of equal length one after the other.
    Disk(Vec<Arc<MappedFile>>, PathBuf),
    /// Decoded again at each look; the paths by slot.
    Nowhere(Vec<PathBuf>),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("format", &self.format).field("place", &self.place()).finish()
    }
}

impl Store {
    fn pictures(format: Format, place: Place) -> Self {
        Self { format, size: format.num_bytes(), place }
    }

    /// The bytes of one picture.
    ///
    /// # Errors
    /// Only where nothing is kept: the file may have changed since it was read first.
    pub fn pixels(&self, slot: usize) -> Result<Cow<'_, [u8]>, DataError> {
        if let Place::Nowhere(paths) = &self.place {
            let path = &paths[slot];
            let bytes = fs::read(path).map_err(|error| DataError::io("read", path, error))?;
            let pixels = decode(&bytes, self.format.color).map(|pixels| resized(&pixels, self.format));
            return Ok(Cow::Owned(pixels.map_err(|reason| DataError::Picture { path: path.clone(), reason })?));
        }
        Ok(Cow::Borrowed(self.kept(slot).expect("a slot of this store")))
    }

    /// The bytes of one picture, if they are kept.
    pub fn kept(&self, slot: usize) -> Option<&[u8]> {
        let (bytes, slot): (&[u8], usize) = match &self.place {
            Place::Memory(bytes) => (bytes, slot),
            Place::Disk(maps, _) => {
                let (map, slot) = self.in_map(maps, slot)?;
                (map, slot)
            }
            Place::Nowhere(_) => return None,
        };
        bytes.get(slot * self.size..(slot + 1) * self.size)
    }

    fn in_map<'a>(&self, maps: &'a [Arc<MappedFile>], slot: usize) -> Option<(&'a MappedFile, usize)> {
        let of_map = maps.first()?.len() / self.size;
        Some((maps.get(slot.checked_div(of_map)?)?, slot % of_map))
    }

    /// Features in files of this many bytes a picture, of pictures of `format`.
    pub fn of_features(format: Format, size: usize, files: Vec<Arc<MappedFile>>, folder: &Path) -> Self {
        Self { format, size, place: Place::Disk(files, folder.to_owned()) }
    }

    /// Bytes that a batch takes for each of these, as `f32`.
    pub fn prepared_bytes(&self) -> usize {
        if self.size == self.format.num_bytes() { self.size * size_of::<f32>() } else { self.size }
    }

    /// Has the pictures' bytes read ahead where they are on disk, so that a set larger than memory streams.
    pub fn will_need(&self, slot: usize) {
        if let Place::Disk(maps, _) = &self.place
            && let Some((map, slot)) = self.in_map(maps, slot)
        {
            map.will_need(slot * self.size, self.size);
        }
    }

    /// What each picture became.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where the pictures are, for the log.
    pub fn place(&self) -> String {
        match &self.place {
            Place::Memory(bytes) => format!("{} MiB in memory", bytes.len() >> 20),
            Place::Disk(maps, path) => {
                format!("{} MiB in {}", maps.iter().map(|map| map.len()).sum::<usize>() >> 20, path.display())
            }
            Place::Nowhere(_) => "not kept, decoded each epoch".to_owned(),
        }
    }
}

/// Reads all pictures of `paths`. `done` hears how many more are read.
///
/// # Errors
/// The cache file can't be written or read. A picture that can't be read is no error here, but [`Read::Bad`].
pub fn read(paths: &[&Path], format: Format, keep: Keep, done: &(dyn Fn(usize) + Sync)) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let fits = format.num_bytes().saturating_mul(paths.len()) <= keep.memory_mb << 20;
    match keep.cache {
        Cache::Memory => read_to_memory(paths, format, done),
        Cache::Auto if fits => read_to_memory(paths, format, done),
        Cache::Auto | Cache::Disk => read_to_disk(paths, format, done),
        Cache::Off => {
            let mut good = Vec::new();
            let reads = read_chunks(paths, format, done, |index, _| {
                good.push(paths[index].to_owned());
                Ok(())
            })?;
            Ok((Arc::new(Store::pictures(format, Place::Nowhere(good))), reads))
        }
    }
}

/// Each picture into its place, whether it can be read or not: its slot is its position.
fn read_to_memory(paths: &[&Path], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let mut kept = vec![0; paths.len() * format.num_bytes()];
    let places = kept.par_chunks_exact_mut(format.num_bytes());
    let read = |(slot, (path, place)): (usize, (&&Path, &mut [u8]))| match read_picture(path, format, done) {
        Ok((facts, pixels)) => {
            place.copy_from_slice(&pixels);
            Read::Good { facts: Arc::new(facts), slot }
        }
        Err(reason) => Read::Bad(reason),
    };
    let reads = paths.par_iter().zip(places).enumerate().map(read).collect();
    Ok((Arc::new(Store::pictures(format, Place::Memory(kept))), reads))
}

/// Decodes in parallel and hands the pixels to `put` one by one, in order.
fn read_chunks(
    paths: &[&Path],
    format: Format,
    done: &(dyn Fn(usize) + Sync),
    mut put: impl FnMut(usize, &[u8]) -> Result<(), DataError>,
) -> Result<Vec<Read>, DataError> {
    let mut reads = Vec::with_capacity(paths.len());
    let mut next_slot = 0;
    for chunk in paths.chunks(CHUNK) {
        let decoded: Vec<_> = chunk.par_iter().map(|path| read_picture(path, format, done)).collect();
        for result in decoded {
            reads.push(match result {
                Ok((facts, pixels)) => {
                    put(reads.len(), &pixels)?;
                    next_slot += 1;
                    Read::Good { facts: Arc::new(facts), slot: next_slot - 1 }
                }
                Err(reason) => Read::Bad(reason),
            });
        }
    }
    Ok(reads)
}

/// A file to what is to say of the picture, and its resized bytes.
fn read_picture(path: &Path, format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(Facts, Vec<u8>), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string());
    let read = bytes.and_then(|bytes| {
        let (facts, pixels) = look_at(&bytes, format.color)?;
        Ok((facts, resized(&pixels, format)))
    });
    done(1);
    read
}

fn resized(pixels: &Pixels, format: Format) -> Vec<u8> {
    let bytes = resize(pixels, format.image_size, format.resize, format.interpolation);
    let [height, width] = format.image_size;
    Pixels { height, width, channels: pixels.channels, bytes }.into_color(format.color)
}

/// What stands beside a cache file: one line a picture; the looks have a file of their own.
#[derive(Serialize, Deserialize)]
enum Indexed {
    Good(Facts),
    Bad(String),
}

/// The mapped file for these file contents and settings: the one that is there, or a new one.
fn read_to_disk(paths: &[&Path], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let folder = dirs::cache_dir().map(|folder| folder.join("emberlens").join("pixels")).ok_or_else(|| DataError::Missing {
        expected: "cache folder of the user",
        path: PathBuf::from("~/.cache"),
        hint: "set data.cache to \"memory\" or \"off\"".to_owned(),
    })?;
    fs::create_dir_all(&folder).map_err(|error| DataError::io("create", &folder, error))?;
    let key = cache_key(paths, format);
    let [pixels_path, looks_path, index_path] = ["u8", "look", "json"].map(|ending| folder.join(format!("{key}.{ending}")));
    if let Some((map, reads)) = open_cache([&pixels_path, &looks_path, &index_path], paths.len(), format) {
        done(paths.len());
        return Ok((Arc::new(Store::pictures(format, Place::Disk(vec![Arc::new(map)], pixels_path))), reads));
    }
    let failed = |error| DataError::io("write the pixel cache", &pixels_path, error);
    let file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
    let mut writer = BufWriter::new(file);
    let reads = read_chunks(paths, format, done, |_, pixels| writer.write_all(pixels).map_err(failed))?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&pixels_path).map_err(|error| failed(error.error))?;
    let looks: Vec<&[u8]> = reads
        .iter()
        .filter_map(|read| match read {
            Read::Good { facts, .. } => Some(facts.look.bytes()),
            Read::Bad(_) => None,
        })
        .collect();
    files::write_atomic(&looks_path, &looks.concat()).map_err(|error| DataError::io("write the pixel cache", &looks_path, error))?;
    let index: Vec<_> = reads
        .iter()
        .map(|read| match read {
            Read::Good { facts, .. } => Indexed::Good(Facts::clone(facts)),
            Read::Bad(reason) => Indexed::Bad(reason.clone()),
        })
        .collect();
    let index = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
    files::write_atomic(&index_path, &index).map_err(|error| DataError::io("write the pixel cache", &index_path, error))?;
    let map = MappedFile::open(&pixels_path).map_err(|error| DataError::io("map", &pixels_path, error))?;
    Ok((Arc::new(Store::pictures(format, Place::Disk(vec![Arc::new(map)], pixels_path))), reads))
}

/// The settings and the content of every file, in order.
fn cache_key(paths: &[&Path], format: Format) -> String {
    let contents: Vec<[u8; 32]> = paths.par_iter().map(|path| file_digest(path)).collect();
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{CACHE_VERSION} {format:?}").as_bytes());
    contents.iter().for_each(|content| _ = hash.update(content));
    files::hex(hash.finalize().as_bytes())
}

/// BLAKE3 of a file; zeros where it can't be read, which decoding will report.
fn file_digest(path: &Path) -> [u8; 32] {
    fs::read(path).map_or([0; 32], |bytes| blake3::hash(&bytes).into())
}

/// The cache that an earlier run left, if it is whole.
fn open_cache([pixels, looks, index]: [&Path; 3], count: usize, format: Format) -> Option<(MappedFile, Vec<Read>)> {
    let index: Vec<Indexed> = serde_json::from_slice(&fs::read(index).ok()?).ok()?;
    let looks = fs::read(looks).ok()?;
    let mut next_slot = 0;
    let reads: Option<Vec<_>> = index
        .into_iter()
        .map(|entry| match entry {
            Indexed::Bad(reason) => Some(Read::Bad(reason)),
            Indexed::Good(facts) => {
                let look = Look::from_bytes(looks.get(next_slot * LOOK_BYTES..(next_slot + 1) * LOOK_BYTES)?)?;
                next_slot += 1;
                Some(Read::Good { facts: Arc::new(Facts { look, ..facts }), slot: next_slot - 1 })
            }
        })
        .collect();
    let reads = reads.filter(|reads| reads.len() == count)?;
    let map = MappedFile::open(pixels).ok()?;
    (map.len() == next_slot * format.num_bytes()).then_some((map, reads))
}

/// A digest written in hexadecimal.
pub fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format =
        Format { image_size: [4, 6], color: Color::Rgb, resize: Resize::Stretch, interpolation: Interpolation::Bilinear };

    fn pictures(folder: &Path) -> Vec<PathBuf> {
        let paths: Vec<_> = (0..5u8).map(|index| folder.join(format!("{index}.png"))).collect();
        for (index, path) in paths.iter().enumerate() {
            let picture = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([(index * 40) as u8, (x * 20) as u8, (y * 30) as u8]));
            picture.save(path).expect("written");
        }
        fs::write(&paths[2], b"not a picture").expect("written");
        paths
    }

    #[test]
    fn memory_and_nowhere_hold_the_same_pixels_and_name_the_same_bad_picture() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = pictures(folder.path());
        let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let read = |cache| read(&paths, FORMAT, Keep { cache, memory_mb: 1 }, &|_| {}).expect("read");
        let (memory, reads) = read(Cache::Memory);
        let (nowhere, other_reads) = read(Cache::Off);
        assert_eq!(reads, other_reads);
        assert!(matches!(&reads[2], Read::Bad(reason) if reason.contains("not a picture")), "{:?}", reads[2]);
        for slot in 0..4 {
            assert_eq!(memory.pixels(slot).expect("kept"), nowhere.pixels(slot).expect("decoded"));
        }
        assert_ne!(memory.pixels(0).expect("kept"), memory.pixels(1).expect("kept"));
    }

    #[test]
    fn a_picture_that_changes_while_nothing_is_kept_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = pictures(folder.path());
        let borrowed: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let (store, _) = read(&borrowed, FORMAT, Keep { cache: Cache::Off, memory_mb: 1 }, &|_| {}).expect("read");
        fs::write(&paths[4], b"").expect("written");
        let error = store.pixels(3).expect_err("emptied").to_string();
        assert!(error.contains("4.png") && error.contains("empty"), "{error}");
    }

    #[test]
    fn digests_survive_hexadecimal() {
        let digest = std::array::from_fn(|index| index as u8 * 7);
        assert_eq!(digest_from_hex(&files::hex(&digest)), Some(digest));
        assert_eq!(digest_from_hex("zz"), None);
    }
}
