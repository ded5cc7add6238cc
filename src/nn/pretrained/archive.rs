//! Extracts one file from a ZIP archive (PKWARE's APPNOTE, 4.3), stored or deflated, into a
//! temporary file. `.keras` files are such archives. The lengths that an archive claims are
//! enforced.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use flate2::read::DeflateDecoder;
use tempfile::NamedTempFile;

/// Maximum length of the directory's end and the comment after it.
const MOST_END: u64 = 22 + 65_535;

/// Maximum length of a directory; those of Keras's files have three entries.
const MOST_DIRECTORY: u64 = 16 << 20;

/// Maximum number of bytes that deflate makes of one.
const MOST_FROM_A_BYTE: u64 = 1032;

/// A file in an archive.
struct Member {
    is_deflated: bool,
    packed: u64,
    length: u64,
    offset: u64,
}

/// Extracts the file called `name` from the archive at `path`. Returns `None` if `path` isn't an
/// archive or has no such file.
///
/// # Errors
/// Returns a message if the archive is damaged, or if a file can't be read or written.
pub(super) fn unpacked(path: &Path, name: &str) -> Result<Option<NamedTempFile>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let found = find(&mut file, name).map_err(|error| error.to_string())?;
    let Some(Member {
        is_deflated,
        packed,
        length,
        offset,
    }) = found
    else {
        return Ok(None);
    };
    if length > packed.saturating_mul(MOST_FROM_A_BYTE) || !is_deflated && packed != length {
        return Err(format!(
            "{name} in it claims {length} bytes, which its {packed} packed ones can't be"
        ));
    }
    let copy = || {
        let mut head = [0; 30];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut head)?;
        // Its name and extra fields may differ from those in the directory.
        let skipped = u64::from(number(&head, 26, 2)) + u64::from(number(&head, 28, 2));
        file.seek(SeekFrom::Current(skipped as i64))?;
        let mut out = NamedTempFile::new()?;
        let packed = file.take(packed);
        let copied = if is_deflated {
            io::copy(&mut DeflateDecoder::new(packed).take(length), &mut out)?
        } else {
            io::copy(&mut packed.take(length), &mut out)?
        };
        Ok::<_, io::Error>((out, copied))
    };
    let (out, copied) =
        copy().map_err(|error| format!("{name} in it can't be unpacked: {error}"))?;
    if copied == length {
        Ok(Some(out))
    } else {
        Err(format!(
            "{name} in it has {copied} bytes, expected {length}"
        ))
    }
}

/// Finds a file in the directory at the end of the archive.
fn find(file: &mut File, name: &str) -> io::Result<Option<Member>> {
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(MOST_END);
    let tail = read(file, from, length - from)?;
    let Some(end) = tail
        .windows(22)
        .rposition(|bytes| bytes.starts_with(b"PK\x05\x06"))
    else {
        return Ok(None);
    };
    let (size, start) = (
        u64::from(number(&tail, end + 12, 4)),
        u64::from(number(&tail, end + 16, 4)),
    );
    if size > MOST_DIRECTORY || start.saturating_add(size) > length {
        return Ok(None);
    }
    let directory = read(file, start, size)?;
    let mut rest = &directory[..];
    while rest.len() >= 46 && rest.starts_with(b"PK\x01\x02") {
        let lengths = [28, 30, 32].map(|at| number(rest, at, 2) as usize);
        let Some(entry) = rest.get(..46 + lengths.iter().sum::<usize>()) else {
            break;
        };
        if &entry[46..46 + lengths[0]] == name.as_bytes() {
            let is_deflated = match number(entry, 10, 2) {
                0 => false,
                8 => true,
                other => {
                    return Err(io::Error::other(format!(
                        "{name} in it is packed by method {other}, expected none or Deflate"
                    )));
                }
            };
            let [packed, length, offset] = [20, 24, 42].map(|at| u64::from(number(entry, at, 4)));
            if packed.max(length).max(offset) == u64::from(u32::MAX) {
                return Err(io::Error::other(format!(
                    "{name} in it is larger than 4 GB"
                )));
            }
            return Ok(Some(Member {
                is_deflated,
                packed,
                length,
                offset,
            }));
        }
        rest = &rest[entry.len()..];
    }
    Ok(None)
}

fn read(file: &mut File, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(from))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number(bytes: &[u8], at: usize, length: usize) -> u32 {
    bytes[at..at + length]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::DeflateEncoder};

    use super::*;

    /// Returns an archive with this file and another one.
    pub(crate) fn archive(name: &str, content: &[u8], is_deflated: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, content) in [("config.json", &b"{}"[..]), (name, content)] {
            let packed = if is_deflated {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(content).expect("memory");
                encoder.finish().expect("memory")
            } else {
                content.to_vec()
            };
            let method = if is_deflated { 8u16 } else { 0 };
            let lengths = [packed.len() as u32, content.len() as u32]
                .map(u32::to_le_bytes)
                .concat();
            let common = [
                &20u16.to_le_bytes()[..],
                &[0, 0],
                &method.to_le_bytes(),
                &[0; 8],
                &lengths,
                &(name.len() as u16).to_le_bytes(),
            ]
            .concat();
            directory.push(
                [
                    b"PK\x01\x02\x14\0",
                    &common[..],
                    &[0; 12],
                    &(out.len() as u32).to_le_bytes(),
                    name.as_bytes(),
                ]
                .concat(),
            );
            // An extra field that the directory doesn't have.
            out.extend(
                [
                    b"PK\x03\x04",
                    &common[..],
                    &[4, 0],
                    name.as_bytes(),
                    &[1, 2, 3, 4],
                    &packed,
                ]
                .concat(),
            );
        }
        let (start, directory) = (out.len() as u32, directory.concat());
        out.extend(&directory);
        out.extend(
            [
                b"PK\x05\x06\0\0\0\0\x02\0\x02\0",
                &(directory.len() as u32).to_le_bytes()[..],
                &start.to_le_bytes(),
                &[0, 0],
            ]
            .concat(),
        );
        out
    }

    #[test]
    fn a_file_comes_out_as_it_went_in_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("archive");
        let content: Vec<u8> = (0..5000u32).map(|at| (at * at / 97) as u8).collect();
        for is_deflated in [false, true] {
            let whole = archive("inner.h5", &content, is_deflated);
            std::fs::write(&path, &whole).expect("written");
            let found = unpacked(&path, "inner.h5").expect("whole").expect("there");
            assert!(std::fs::read(found.path()).expect("read") == content);
            assert!(unpacked(&path, "other.h5").expect("whole").is_none());
            for length in (0..whole.len()).step_by(7) {
                std::fs::write(&path, &whole[..length]).expect("written");
                assert!(
                    !matches!(unpacked(&path, "inner.h5"), Ok(Some(_))),
                    "{length}"
                );
            }
            // A length that was made up, in the directory.
            let mut bomb = whole.clone();
            let at = bomb
                .windows(4)
                .rposition(|bytes| bytes == b"PK\x01\x02")
                .expect("an entry");
            bomb[at + 24..at + 28].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0x7F]);
            std::fs::write(&path, &bomb).expect("written");
            let reason = unpacked(&path, "inner.h5").expect_err("a bomb");
            assert!(reason.contains("claims 2147483647 bytes"), "{reason}");
        }
    }
}
