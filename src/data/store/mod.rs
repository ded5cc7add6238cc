//! Keeps decoded and resized images where the configuration says: in memory, in a file, or nowhere,
//! so that they are decoded in each epoch. Also holds cached features of frozen layers.

mod cache_file;
mod format;
mod read;

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use self::cache_file::Spans;
pub use self::{
    format::{Format, Read, read_bytes, resized},
    read::read,
};
use super::{
    error::DataError,
    pixels::{
        decode::{Pixels, decode_in},
        memory,
    },
};
use crate::{base::io::positioned::PositionedFile, config::Cache};

/// Where to keep decoded images.
#[derive(Clone, Copy, Debug)]
pub struct CachePolicy {
    /// The kind of storage.
    pub cache: Cache,
    /// MiB of memory that `auto` may use.
    pub memory_mb: usize,
}

/// Decoded and resized images, or the features that a network's first layers make of them, as
/// `f32`. The slot of an image is its position among the images that were read.
pub struct Store {
    format: Format,
    backing: Backing,
}

/// Where the images are.
enum Backing {
    /// All images in one block, and the position of each in it.
    Memory(Vec<u8>, Spans),
    /// A file, with a copy of its first bytes in memory. Images are drawn in any order, so the
    /// system's page cache, which drops what was used longest ago, would seldom hold the next one.
    Disk {
        file: PositionedFile,
        held: Vec<u8>,
        spans: Spans,
        /// CRC-32C of each image.
        sums: Vec<u32>,
        path: PathBuf,
        /// Paths of the image files, needed if the cache file is damaged.
        sources: Vec<PathBuf>,
        is_damaged: AtomicBool,
    },
    /// Not kept; decoded again each time.
    Uncached {
        /// Paths of the image files.
        sources: Vec<PathBuf>,
        /// CRC-32C of each image as it was read first. It costs microseconds an image.
        sums: Vec<u32>,
    },
    /// Features of frozen layers.
    Features(Features),
}

/// Features of images in files, one after the other.
pub struct Features {
    /// The files. Each holds `count` images; the bytes after them are ignored.
    pub files: Vec<Arc<PositionedFile>>,
    /// Number of images per file.
    pub count: usize,
    /// Number of bytes per image.
    pub size: usize,
    /// Folder of the files.
    pub folder: PathBuf,
}

impl Features {
    /// Returns the file of an image and the position in it.
    fn find(&self, slot: usize) -> Option<(&PositionedFile, Range<usize>)> {
        let start = slot.checked_rem(self.count)? * self.size;
        Some((self.files.get(slot / self.count)?, start..start + self.size))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("format", &self.format)
            .field("place", &self.place())
            .finish()
    }
}

impl Store {
    /// Returns the bytes of an image.
    ///
    /// # Shapes
    /// Returns `[height, width, channels]`, or `[height, width]` for a gray image in any color
    /// mode.
    ///
    /// # Errors
    /// Returns an error if the image isn't kept, or its copy in the cache file is damaged, and it
    /// can't be read again or has other pixels than before.
    pub fn pixels(&self, slot: usize) -> Result<Cow<'_, [u8]>, DataError> {
        if let Some(bytes) = self.kept(slot) {
            return Ok(Cow::Borrowed(bytes));
        }
        match &self.backing {
            Backing::Disk {
                file,
                spans,
                sums,
                path,
                sources,
                is_damaged,
                ..
            } => {
                let reason = match file.read(spans[slot].clone()) {
                    Ok(bytes) if cache_file::sum(&bytes) == sums[slot] => {
                        return Ok(Cow::Owned(bytes));
                    }
                    Ok(_) => format!("the pixels of {} have changed", sources[slot].display()),
                    Err(error) => error.to_string(),
                };
                // Loader threads may find the damage at the same time; it is reported once.
                if !is_damaged.swap(true, Ordering::Relaxed) {
                    cache_file::discard(path, &reason);
                }
                // The run continues only if the image file still gives the same pixels.
                let bytes = self.decode_again(&sources[slot])?;
                let reason = || {
                    "it has changed since it was first read, and its copy in the pixel cache is \
                     damaged"
                        .to_owned()
                };
                let is_same = cache_file::sum(&bytes) == sums[slot];
                if is_same {
                    Ok(Cow::Owned(bytes))
                } else {
                    Err(DataError::Image {
                        path: sources[slot].clone(),
                        reason: reason(),
                    })
                }
            }
            Backing::Uncached { sources, sums } => {
                let bytes = self.decode_again(&sources[slot])?;
                if cache_file::sum(&bytes) == sums[slot] {
                    Ok(Cow::Owned(bytes))
                } else {
                    Err(DataError::Changed(sources[slot].clone()))
                }
            }
            Backing::Features(features) => {
                let (file, part) = features.find(slot).expect("a slot of the store");
                let read = file.read(part);
                read.map(Cow::Owned)
                    .map_err(|error| DataError::io("read the features", &features.folder, error))
            }
            Backing::Memory(..) => unreachable!("all of them are kept"),
        }
    }

    /// Decodes and resizes an image file once more.
    fn decode_again(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        let pixels = memory::with_file(path, |bytes, room| {
            decode_in(bytes, self.format.wanted(), room)
                .map(|decoded| resized(&decoded.pixels, self.format))
        });
        pixels.map_err(|unread| DataError::Image {
            path: path.to_owned(),
            reason: unread.to_string(),
        })
    }

    /// Returns the bytes of an image with all channels of the color mode.
    ///
    /// # Shapes
    /// Returns `[height, width, channels]`.
    ///
    /// # Errors
    /// As [`Self::pixels`].
    pub fn colored(&self, slot: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let bytes = self.pixels(slot)?;
        let [height, width, channels] = self.format.shape();
        if bytes.len() == height * width * channels {
            return Ok(bytes);
        }
        Ok(Cow::Owned(
            Pixels {
                height,
                width,
                channels: 1,
                bytes: bytes.into_owned(),
            }
            .into_color(self.format.color),
        ))
    }

    /// Returns the bytes of an image if they are in memory.
    pub fn kept(&self, slot: usize) -> Option<&[u8]> {
        match &self.backing {
            Backing::Memory(held, spans) | Backing::Disk { held, spans, .. } => {
                held.get(spans.get(slot)?.clone())
            }
            Backing::Features(_) | Backing::Uncached { .. } => None,
        }
    }

    /// Returns a store of images in memory, as [`read_bytes`] returns them.
    pub fn of_images(format: Format, images: &[Vec<u8>]) -> Self {
        let mut end = 0;
        let span = |image: &Vec<u8>| {
            let start = end;
            end += image.len();
            start..end
        };
        let spans = images.iter().map(span).collect();
        Self {
            format,
            backing: Backing::Memory(images.concat(), spans),
        }
    }

    /// Returns a store of features of images in this format.
    pub fn of_features(format: Format, features: Features) -> Self {
        Self {
            format,
            backing: Backing::Features(features),
        }
    }

    /// Returns the number of values of an image in a batch.
    pub fn num_values(&self) -> usize {
        match &self.backing {
            Backing::Features(features) => features.size / size_of::<f32>(),
            _ => self.format.shape().iter().product(),
        }
    }

    /// Returns the maximum number of bytes of an image in the store.
    pub fn num_bytes(&self) -> usize {
        match &self.backing {
            Backing::Features(features) => features.size,
            _ => self.format.num_bytes(),
        }
    }

    /// Returns whether some images are on disk only and can be read ahead.
    pub fn is_on_disk(&self) -> bool {
        match &self.backing {
            Backing::Disk { file, held, .. } => held.len() < file.len(),
            Backing::Features(..) => true,
            Backing::Memory(..) | Backing::Uncached { .. } => false,
        }
    }

    /// Reads an image ahead if it is on disk, so that a set larger than memory streams. Takes as
    /// long as the system needs to find memory for it.
    pub fn will_need(&self, slot: usize) {
        let found = match &self.backing {
            Backing::Disk {
                file, held, spans, ..
            } => Some((file, spans[slot].clone())).filter(|(_, span)| span.end > held.len()),
            Backing::Features(features) => features.find(slot),
            Backing::Memory(..) | Backing::Uncached { .. } => None,
        };
        if let Some((file, span)) = found {
            file.will_need(span);
        }
    }

    /// Returns the format of the images.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Describes for the log where the images are.
    pub fn place(&self) -> String {
        let of_spans = |spans: &Spans| spans.iter().map(Range::len).sum::<usize>() >> 20;
        match &self.backing {
            Backing::Memory(_, spans) => format!("{} MiB in memory", of_spans(spans)),
            Backing::Disk {
                held, spans, path, ..
            } if held.is_empty() => format!("{} MiB in {}", of_spans(spans), path.display()),
            Backing::Disk {
                held, spans, path, ..
            } => {
                format!(
                    "{} MiB in {}, {} of them in memory",
                    of_spans(spans),
                    path.display(),
                    held.len() >> 20
                )
            }
            Backing::Features(Features { files, folder, .. }) => {
                format!(
                    "{} MiB in {}",
                    files.iter().map(|file| file.len()).sum::<usize>() >> 20,
                    folder.display()
                )
            }
            Backing::Uncached { .. } => "not kept, decoded each epoch".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Color, Interpolation, Resize};

    const FORMAT: Format = Format {
        image_size: [4, 6],
        color: Color::Rgb,
        resize: Resize::Stretch,
        interpolation: Interpolation::Bilinear,
        repair: false,
    };

    /// Writes five images. The third can't be read, and the last is gray.
    fn images(folder: &Path) -> Vec<PathBuf> {
        let paths: Vec<_> = (0..5u8)
            .map(|index| folder.join(format!("{index}.png")))
            .collect();
        for (index, path) in paths.iter().enumerate() {
            let level = |x: u32, y: u32| {
                if index == 4 {
                    [(x * 20 + y) as u8; 3]
                } else {
                    [(index * 40) as u8, (x * 20) as u8, (y * 30) as u8]
                }
            };
            image::RgbImage::from_fn(9, 7, |x, y| image::Rgb(level(x, y)))
                .save(path)
                .expect("written");
        }
        fs::write(&paths[2], b"not an image").expect("written");
        paths
    }

    #[test]
    fn memory_and_nowhere_hold_the_same_pixels_and_name_the_same_bad_image() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = images(folder.path());
        let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let read = |cache| {
            read(
                &paths,
                FORMAT,
                CachePolicy {
                    cache,
                    memory_mb: 1,
                },
                &|_| {},
            )
            .expect("read")
        };
        let (memory, reads) = read(Cache::Memory);
        let (nowhere, other_reads) = read(Cache::Off);
        assert_eq!(reads, other_reads);
        assert!(
            matches!(&reads[2], Read::Bad(reason) if reason.contains("not an image")),
            "{:?}",
            reads[2]
        );
        for slot in [0, 1, 3, 4] {
            assert_eq!(
                memory.pixels(slot).expect("kept"),
                nowhere.pixels(slot).expect("decoded")
            );
            assert_eq!(
                memory.pixels(slot).expect("kept").len(),
                if slot == 4 { 24 } else { 72 }
            );
            assert_eq!(memory.colored(slot).expect("kept").len(), 72);
        }
        assert_eq!(
            memory.colored(4).expect("kept")[66..],
            [
                memory.pixels(4).expect("kept")[22],
                memory.pixels(4).expect("kept")[23]
            ]
            .map(|level| [level; 3])
            .concat()
        );
        assert_ne!(
            memory.pixels(0).expect("kept"),
            memory.pixels(1).expect("kept")
        );
    }

    #[test]
    fn an_image_that_changes_while_nothing_is_kept_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = images(folder.path());
        let borrowed: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let (store, _) = read(
            &borrowed,
            FORMAT,
            CachePolicy {
                cache: Cache::Off,
                memory_mb: 1,
            },
            &|_| {},
        )
        .expect("read");
        let as_read = store.pixels(3).expect("decoded").into_owned();
        // Another file with the same pixels is no change.
        let same = image::open(&paths[3]).expect("an image");
        same.save_with_format(&paths[3], image::ImageFormat::Bmp)
            .expect("written");
        assert_eq!(*store.pixels(3).expect("the same pixels"), as_read);
        fs::copy(&paths[1], &paths[3]).expect("replaced");
        let error = store.pixels(3).expect_err("another image").to_string();
        assert!(
            error.starts_with("an image has changed since it was read first")
                && error.ends_with("3.png"),
            "{error}"
        );
        fs::write(&paths[4], b"").expect("written");
        let error = store.pixels(4).expect_err("emptied").to_string();
        assert!(
            error.contains("4.png") && error.contains("empty"),
            "{error}"
        );
    }
}
