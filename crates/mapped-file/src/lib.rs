//! A finished file as a slice of bytes, read through a memory map so that pages come and go with the system's memory.
//!
//! The one `unsafe` of the project stands here, and its condition is in the constructor's contract.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests prepare their folders with plain writes"))]

use std::{fs::File, io, ops::Deref, path::Path};

/// A read-only map of a whole file.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps `path`, which must be a finished file that is only ever replaced by a rename, never written in place:
    /// a file that shrinks under a map ends the process with a bus error on most systems.
    ///
    /// # Errors
    /// Whatever the system answers to opening or mapping the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is private and read-only. The caller keeps the file unchanged while it is mapped: our caches are
        // written beside, synced and renamed, so a reader holds the old inode until it drops the map.
        let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file)? };
        // Pictures come in any order, and are asked for: what else the system would read around them is not wanted. Advice that is
        // refused changes the speed only.
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Self(map))
    }
}

impl MappedFile {
    /// Has the system read this part ahead of its use, without waiting for it; a part beyond the end is cut off. Without effect
    /// where the system has no such call: then each page is read when it is touched.
    pub fn will_need(&self, start: usize, length: usize) {
        let start = start.min(self.0.len());
        let length = length.min(self.0.len() - start);
        // Advice that is refused changes the speed only.
        #[cfg(unix)]
        let _ = self.0.advise_range(memmap2::Advice::WillNeed, start, length);
        #[cfg(not(unix))]
        let _ = length;
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
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
        map.will_need(1, 100);
        map.will_need(7, 1);
        assert_eq!(&*map, &[1, 2, 3]);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(MappedFile::open(Path::new("no such file")).is_err());
    }
}
