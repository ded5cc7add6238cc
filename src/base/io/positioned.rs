//! A finished file that is read by position, from any thread. The pages that were read stay in the
//! system's memory as long as there is room.
//!
//! A memory map would save a copy. But a file that shrinks while it is mapped, or a failing disk,
//! ends the process with a bus error, and no program can keep others from writing to a file; here
//! both are errors of a read. Where memory is short, the system also takes longer to drop mapped
//! pages.

use std::{fs::File, io, ops::Range, path::Path};

/// A file of known length, open for reading.
#[derive(Debug)]
pub struct PositionedFile {
    file: File,
    length: usize,
}

impl PositionedFile {
    /// Opens the file at `path`. A file that later replaces it by a rename isn't noticed.
    ///
    /// # Errors
    /// Returns an error if the file can't be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self { file, length })
    }

    /// Returns the length in bytes that the file had when it was opened.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether the file was empty when it was opened.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tells the system that parts are read in no order, so that it doesn't read what lies around
    /// them. Has no effect on systems without such a call.
    pub fn in_any_order(self) -> Self {
        self.advise(0..0, Advice::Random);
        self
    }

    /// Tells the system to read a part ahead of its use. Has no effect on systems without such a
    /// call.
    pub fn will_need(&self, part: Range<usize>) {
        self.advise(part, Advice::WillNeed);
    }

    #[cfg(target_os = "linux")]
    fn advise(&self, part: Range<usize>, advice: Advice) {
        use nix::{
            fcntl::{PosixFadviseAdvice, posix_fadvise},
            libc::off_t,
        };

        let advice = match advice {
            Advice::Random => PosixFadviseAdvice::POSIX_FADV_RANDOM,
            Advice::WillNeed => PosixFadviseAdvice::POSIX_FADV_WILLNEED,
        };
        let (start, length) = (part.start as off_t, part.len() as off_t);
        // Refused advice costs speed only.
        let _ = posix_fadvise(&self.file, start, length, advice);
    }

    #[cfg(not(target_os = "linux"))]
    fn advise(&self, _part: Range<usize>, _advice: Advice) {}

    /// Reads a part.
    ///
    /// # Errors
    /// Returns an error if reading fails or the file ends before the part does.
    pub fn read(&self, part: Range<usize>) -> io::Result<Vec<u8>> {
        if part.end > self.length {
            // Before memory is taken for it.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
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

/// What the system is told of a part; an empty one at 0 is the whole file.
#[derive(Clone, Copy, Debug)]
enum Advice {
    Random,
    WillNeed,
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, start)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_survives_a_replacement_by_rename() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pixels");
        std::fs::write(&path, [1, 2, 3]).expect("written");
        let file = PositionedFile::open(&path).expect("opened");
        let other = folder.path().join("other");
        std::fs::write(&other, [9; 10]).expect("written");
        std::fs::rename(&other, &path).expect("renamed");
        file.will_need(1..100);
        file.will_need(7..8);
        let file = file.in_any_order();
        assert_eq!((file.len(), file.is_empty()), (3, false));
        assert_eq!(file.read(0..3).expect("there"), [1, 2, 3]);
        assert_eq!(file.read(1..3).expect("there"), [2, 3]);
        assert!(file.read(2..2).expect("nothing").is_empty());
        assert_eq!(
            file.read(1..usize::MAX).expect_err("beyond the end").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_not_the_end_of_the_process() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pixels");
        std::fs::write(&path, [7; 100_000]).expect("written");
        let file = PositionedFile::open(&path).expect("opened");
        let shrunk = File::options().write(true).open(&path).expect("opened");
        shrunk.set_len(10).expect("shrunk");
        assert_eq!(file.read(0..10).expect("what is left"), [7; 10]);
        assert_eq!(
            file.read(50_000..50_001).expect_err("gone").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(PositionedFile::open(Path::new("no such file")).is_err());
    }
}
