//! Listed pictures in, decoded and resized bytes out, kept where the configuration says: memory, a mapped file, or nowhere.

use std::{
    borrow::Cow,
    fmt, fs,
    io::{BufWriter, Read as _, Write},
    ops::Range,
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
const CACHE_VERSION: &str = "emberlens pixels 6";

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
    /// Decoded, and what was found.
    Good(Arc<Facts>),
    /// Not decoded, and why.
    Bad(String),
}

impl Read {
    fn facts(&self) -> Option<&Arc<Facts>> {
        match self {
            Self::Good(facts) => Some(facts),
            Self::Bad(_) => None,
        }
    }
}

/// Decoded, resized pictures; or what a network's first layers made of them, as `f32`. A picture's slot is its position among those that were
/// to be read.
pub struct Store {
    format: Format,
    place: Place,
}

/// Where each picture begins and ends, nowhere for one that can't be read.
type Spans = Vec<Range<usize>>;

enum Place {
    Memory(Vec<u8>, Spans),
    /// A file, and a copy of its first bytes in memory: pictures are drawn in any order, so that a system which keeps what was used last would
    /// seldom have the next one.
    Disk {
        map: MappedFile,
        held: Vec<u8>,
        spans: Spans,
        path: PathBuf,
    },
    /// Decoded again at each look.
    Nowhere(Vec<PathBuf>),
    /// So many bytes each; one file, or several of equal length one after the other.
    Features(Vec<Arc<MappedFile>>, usize, PathBuf),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("format", &self.format).field("place", &self.place()).finish()
    }
}

impl Store {
    /// The bytes of one picture, `[height, width, channels]`; of a grey one `[height, width]`, whatever colours are wanted.
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

    /// The bytes of one picture in the wanted colours, `[height, width, channels]`.
    ///
    /// # Errors
    /// As [`Self::pixels`].
    pub fn colored(&self, slot: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let bytes = self.pixels(slot)?;
        let [height, width, channels] = self.format.shape();
        if bytes.len() == height * width * channels {
            return Ok(bytes);
        }
        Ok(Cow::Owned(Pixels { height, width, channels: 1, bytes: bytes.into_owned() }.into_color(self.format.color)))
    }

    /// The bytes of one picture, if they are kept.
    pub fn kept(&self, slot: usize) -> Option<&[u8]> {
        if let Place::Memory(held, spans) | Place::Disk { held, spans, .. } = &self.place
            && let Some(bytes) = held.get(spans.get(slot)?.clone())
        {
            return Some(bytes);
        }
        let (map, span) = self.in_map(slot)?;
        map.get(span)
    }

    /// Where a picture is that is not in memory.
    fn in_map(&self, slot: usize) -> Option<(&MappedFile, Range<usize>)> {
        match &self.place {
            Place::Disk { map, held, spans, .. } => Some((map, spans.get(slot)?.clone())).filter(|(_, span)| span.end > held.len()),
            Place::Features(maps, size, _) => {
                let of_map = maps.first()?.len() / size;
                let start = slot % of_map * size;
                Some((maps.get(slot.checked_div(of_map)?)?, start..start + size))
            }
            Place::Memory(..) | Place::Nowhere(_) => None,
        }
    }

    /// Features in files of this many bytes a picture, of pictures of `format`.
    pub fn of_features(format: Format, size: usize, files: Vec<Arc<MappedFile>>, folder: &Path) -> Self {
        Self { format, place: Place::Features(files, size, folder.to_owned()) }
    }

    /// Values that a batch has of each of these.
    pub fn num_values(&self) -> usize {
        match &self.place {
            Place::Features(_, size, _) => size / size_of::<f32>(),
            _ => self.format.shape().iter().product(),
        }
    }

    /// Can pictures be read ahead?
    pub fn is_on_disk(&self) -> bool {
        matches!(self.place, Place::Disk { .. } | Place::Features(..))
    }

    /// Has the picture's bytes read ahead where they are on disk, so that a set larger than memory streams. Takes as long as finding memory
    /// for them.
    pub fn will_need(&self, slot: usize) {
        if let Some((map, span)) = self.in_map(slot) {
            map.will_need(span.start, span.len());
        }
    }

    /// What each picture became.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where the pictures are, for the log.
    pub fn place(&self) -> String {
        let of_spans = |spans: &Spans| spans.iter().map(Range::len).sum::<usize>() >> 20;
        match &self.place {
            Place::Memory(_, spans) => format!("{} MiB in memory", of_spans(spans)),
            Place::Disk { held, spans, path, .. } if held.is_empty() => format!("{} MiB in {}", of_spans(spans), path.display()),
            Place::Disk { held, spans, path, .. } => {
                format!("{} MiB in {}, {} of them in memory", of_spans(spans), path.display(), held.len() >> 20)
            }
            Place::Features(maps, _, path) => {
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
    let memory = keep.memory_mb.saturating_mul(1 << 20);
    let fits = format.num_bytes().saturating_mul(paths.len()) <= memory;
    match keep.cache {
        Cache::Memory => read_to_memory(paths, format, done),
        Cache::Auto if fits => read_to_memory(paths, format, done),
        Cache::Auto => read_to_disk(paths, format, memory, done),
        Cache::Disk => read_to_disk(paths, format, 0, done),
        Cache::Off => {
            let read = |path: &&Path| match read_picture(path, format, done) {
                Ok((facts, _)) => Read::Good(Arc::new(facts)),
                Err(reason) => Read::Bad(reason),
            };
            let place = Place::Nowhere(paths.iter().map(|path| path.to_path_buf()).collect());
            Ok((Arc::new(Store { format, place }), paths.par_iter().map(read).collect()))
        }
    }
}

/// Each picture into a place of its own, which has room for all colours and of which a grey one fills a third: what nobody writes to takes
/// no memory.
fn read_to_memory(paths: &[&Path], format: Format, done: &(dyn Fn(usize) + Sync)) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let size = format.num_bytes();
    let mut kept = vec![0; paths.len() * size];
    let read = |(slot, (path, place)): (usize, (&&Path, &mut [u8]))| match read_picture(path, format, done) {
        Ok((facts, pixels)) => {
            place[..pixels.len()].copy_from_slice(&pixels);
            (Read::Good(Arc::new(facts)), slot * size..slot * size + pixels.len())
        }
        Err(reason) => (Read::Bad(reason), 0..0),
    };
    let (reads, spans) = paths.par_iter().zip(kept.par_chunks_exact_mut(size)).enumerate().map(read).unzip();
    Ok((Arc::new(Store { format, place: Place::Memory(kept, spans) }), reads))
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
    resize(pixels, format.image_size, format.resize, format.interpolation)
}

/// What stands beside a cache file: one line a picture; the looks have a file of their own.
#[derive(Serialize, Deserialize)]
enum Indexed {
    Good(Facts),
    Bad(String),
}

/// The mapped file for these file contents and settings: the one that is there, or a new one. So many bytes of it are held in `memory` as well.
fn read_to_disk(
    paths: &[&Path],
    format: Format,
    memory: usize,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(Arc<Store>, Vec<Read>), DataError> {
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
        return Ok((on_disk(map, &reads, format, memory, pixels_path)?, reads));
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
    let map = MappedFile::open(&pixels_path).map_err(|error| DataError::io("map", &pixels_path, error))?;
    Ok((on_disk(map, &reads, format, memory, pixels_path)?, reads))
}

fn on_disk(map: MappedFile, reads: &[Read], format: Format, memory: usize, path: PathBuf) -> Result<Arc<Store>, DataError> {
    let mut held = Vec::with_capacity(memory.min(map.len()));
    let file = fs::File::open(&path).and_then(|file| file.take(memory as u64).read_to_end(&mut held));
    file.map_err(|error| DataError::io("read", &path, error))?;
    Ok(Arc::new(Store { format, place: Place::Disk { map, held, spans: spans(reads, format), path } }))
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

    /// The third can't be read, the last is grey.
    fn pictures(folder: &Path) -> Vec<PathBuf> {
        let paths: Vec<_> = (0..5u8).map(|index| folder.join(format!("{index}.png"))).collect();
        for (index, path) in paths.iter().enumerate() {
            let level =
                |x: u32, y: u32| if index == 4 { [(x * 20 + y) as u8; 3] } else { [(index * 40) as u8, (x * 20) as u8, (y * 30) as u8] };
            image::RgbImage::from_fn(9, 7, |x, y| image::Rgb(level(x, y))).save(path).expect("written");
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
        for slot in [0, 1, 3, 4] {
            assert_eq!(memory.pixels(slot).expect("kept"), nowhere.pixels(slot).expect("decoded"));
            assert_eq!(memory.pixels(slot).expect("kept").len(), if slot == 4 { 24 } else { 72 });
            assert_eq!(memory.colored(slot).expect("kept").len(), 72);
        }
        assert_eq!(
            memory.colored(4).expect("kept")[66..],
            [memory.pixels(4).expect("kept")[22], memory.pixels(4).expect("kept")[23]].map(|level| [level; 3]).concat()
        );
        assert_ne!(memory.pixels(0).expect("kept"), memory.pixels(1).expect("kept"));
    }

    #[test]
    fn a_picture_that_changes_while_nothing_is_kept_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = pictures(folder.path());
        let borrowed: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let (store, _) = read(&borrowed, FORMAT, Keep { cache: Cache::Off, memory_mb: 1 }, &|_| {}).expect("read");
        fs::write(&paths[4], b"").expect("written");
        let error = store.pixels(4).expect_err("emptied").to_string();
        assert!(error.contains("4.png") && error.contains("empty"), "{error}");
    }

    #[test]
    fn digests_survive_hexadecimal() {
        let digest = std::array::from_fn(|index| index as u8 * 7);
        assert_eq!(digest_from_hex(&files::hex(&digest)), Some(digest));
        assert_eq!(digest_from_hex("zz"), None);
    }
}
