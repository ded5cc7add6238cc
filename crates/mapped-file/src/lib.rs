//! A file on disk as a slice of bytes, read through a memory map so that its pages come and go with
//! the system's memory.
//!
//! The crate's only `unsafe` is the map; its condition is part of the contract of
//! [`MappedFile::open`].

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests prepare their folders with plain writes"
    )
)]

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
    path::Path,
};

/// A read-only memory map of a whole file.
#[derive(Debug)]
pub struct MappedFile {
    map: memmap2::Mmap,
    file: File,
}

impl MappedFile {
    /// Maps the file at `path`. The file must be complete and may only be replaced by a rename,
    /// never written in place: on most systems, a file that shrinks while it is mapped ends the
    /// process with a bus error.
    ///
    /// # Errors
    /// Returns an error if the file can't be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is private and read-only, and the contract above keeps the file unchanged
        // while it is mapped. Our caches are written under another name, synced and renamed, so
        // that a reader holds the old file until it drops the map.
        let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file)? };
        Ok(Self { map, file })
    }

    /// Tells the system that parts are read in no order, so that it doesn't read what lies around
    /// them.
    pub fn in_any_order(self) -> Self {
        // Refused advice costs speed only.
        #[cfg(unix)]
        let _ = self.map.advise(memmap2::Advice::Random);
        self
    }

    /// Tells the system to read a part ahead of its use, and doesn't wait for it. The part is cut
    /// off at the end of the file. Has no effect on systems without such a call.
    pub fn will_need(&self, part: Range<usize>) {
        let start = part.start.min(self.map.len());
        let length = part.end.min(self.map.len()).saturating_sub(start);
        // Refused advice costs speed only.
        #[cfg(unix)]
        let _ = self
            .map
            .advise_range(memmap2::Advice::WillNeed, start, length);
        #[cfg(not(unix))]
        let _ = length;
    }

    /// Copies a part by reading the file instead of touching the map. Where a file is larger than
    /// memory, the system takes longer to drop mapped pages than pages it has read. A failing disk
    /// is an error here, where touching the map would end the process.
    ///
    /// # Errors
    /// Returns an error if reading fails or the file ends before the part does.
    pub fn read(&self, part: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; part.len()];
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            match read_at(&self.file, rest, (part.end - rest.len()) as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => rest = &mut rest[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, start)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, start)
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_what_was_written_and_survives_a_replacement_by_rename() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pixels");
        std::fs::write(&path, [1, 2, 3]).expect("written");
        let map = MappedFile::open(&path).expect("mapped");
        let other = folder.path().join("other");
        std::fs::write(&other, [9; 10]).expect("written");
        std::fs::rename(&other, &path).expect("renamed");
        map.will_need(1..100);
        map.will_need(7..8);
        let map = map.in_any_order();
        assert_eq!(&*map, &[1, 2, 3]);
        assert_eq!(map.read(1..3).expect("there"), [2, 3]);
        assert_eq!(map.read(2..2).expect("nothing"), []);
        assert_eq!(
            map.read(1..5).expect_err("beyond the end").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(MappedFile::open(Path::new("no such file")).is_err());
    }
}
