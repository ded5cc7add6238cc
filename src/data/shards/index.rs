//! What a tar file holds, from its headers: the place of each member, and the label that
//! WebDataset's convention puts beside it. The index is kept in the cache folder.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use tar::Archive;

use super::members::{Index, Member, Reading};
use crate::{
    base::io::{
        http::Remote,
        kept::{Key, kept_or_failed},
    },
    data::error::DataError,
};

/// Part of the key. Raise it when an index holds other things.
const VERSION: &str = "emberlens shard 2";

/// Number of bytes at the end of a shard that its key contains. Writers pad with zeros up to 10
/// KiB.
const END: u64 = 16 << 10;

/// Number of bytes of an answer that are read at a time.
const BUFFER: usize = 1 << 16;

/// Compressed files by their first bytes, with the program that unpacks them.
const COMPRESSED: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gunzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "unzstd"),
    (b"BZh", "bunzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "unxz"),
];

/// A shard as it was when it was indexed.
#[derive(Debug)]
pub struct Shard {
    index: Index,
    source: Source,
}

/// Where a shard is, as it was when it was indexed.
#[derive(Debug)]
enum Source {
    File {
        length: u64,
        modified: Option<SystemTime>,
    },
    Server(Arc<Remote>),
}

impl Shard {
    /// Returns the files in the shard other than labels, sorted by name.
    pub fn members(&self) -> &[Member] {
        &self.index.members
    }

    /// Returns the number of links in the shard that hold no bytes: symbolic ones, and others to
    /// files that aren't there.
    pub fn num_links(&self) -> usize {
        self.index.num_links
    }

    /// Returns the member with this name.
    pub(super) fn find(&self, name: &str) -> Option<&Member> {
        let members = self.members();
        let at = members.binary_search_by(|member| member.name.as_str().cmp(name));
        at.ok().map(|at| &members[at])
    }

    /// Returns whether a file is still the one that was indexed, as far as its length and its time
    /// tell.
    pub(super) fn is(&self, found: &Metadata) -> bool {
        match &self.source {
            Source::File { length, modified } => {
                found.len() == *length && found.modified().ok() == *modified
            }
            Source::Server(_) => false,
        }
    }

    /// Returns the file on a server, if the shard is one.
    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.source {
            Source::File { .. } => None,
            Source::Server(remote) => Some(remote),
        }
    }

    /// Reads the headers of the tar file at `path`, or the index of them that an earlier run left.
    ///
    /// # Errors
    /// Returns an error if the file can't be read, or if it is no whole tar file.
    pub(super) fn index(path: &Path) -> Result<Self, DataError> {
        let failed = |error| DataError::io("read", path, error);
        let found = fs::metadata(path).map_err(failed)?;
        let key = key_of(path, &found).map_err(failed)?;
        let index = kept_or_failed(&key, || index(path, found.len()))?;
        let source = Source::File {
            length: found.len(),
            modified: found.modified().ok(),
        };
        Ok(Self { index, source })
    }

    /// Reads all of the tar file at an address, or the index of it that an earlier run left.
    ///
    /// # Errors
    /// Returns an error if the server fails, or if the file is no whole tar file.
    pub(super) fn index_remote(path: &Path, remote: Remote) -> Result<Self, DataError> {
        let remote = Arc::new(remote);
        let read = || {
            let part = BufReader::with_capacity(BUFFER, remote.part(0..remote.length()));
            index_whole(path, part, remote.length())
        };
        let index = match remote.tag() {
            Some(tag) => {
                let mut key = Key::new(VERSION);
                key.add(path.as_os_str().as_encoded_bytes());
                key.add(&remote.length().to_le_bytes());
                key.add(tag.as_bytes());
                kept_or_failed(&key, read)
            }
            // Without a version nobody knows whether the file is still the same.
            None => read(),
        };
        let (index, source) = (index?, Source::Server(remote));
        Ok(Self { index, source })
    }
}

/// Returns whether a path has the extension of a tar file.
pub fn is_shard(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// Returns the digest of a shard's name, size, time and ends.
fn key_of(path: &Path, found: &Metadata) -> io::Result<Key> {
    let mut key = Key::new(VERSION);
    key.add(path.file_name().unwrap_or_default().as_encoded_bytes());
    key.add(&found.len().to_le_bytes());
    let time = found.modified().ok();
    let time = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    key.add(&time.map_or(0, |time| time.as_nanos()).to_le_bytes());
    let mut file = File::open(path)?;
    for start in [0, found.len().saturating_sub(END)] {
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(END).read_to_end(&mut end)?;
        key.add(&end);
    }
    Ok(key)
}

/// Reads the headers of a tar file of `length` bytes.
fn index(path: &Path, length: u64) -> Result<Index, DataError> {
    let mut file = File::open(path).map_err(|error| DataError::io("read", path, error))?;
    refuse_compressed(&mut file, path)?;
    let mut archive = Archive::new(file);
    let found = archive
        .entries_with_seek()
        .and_then(|entries| Reading::of(entries, length, false));
    finish(path, found, archive, length)
}

/// Reads a whole tar file of `length` bytes, and the digest of each member with it.
fn index_whole(path: &Path, file: impl Read, length: u64) -> Result<Index, DataError> {
    let mut archive = Archive::new(file);
    let found = archive
        .entries()
        .and_then(|entries| Reading::of(entries, length, true));
    finish(path, found, archive, length)
}

/// Returns the index of a tar file of `length` bytes whose members were read.
fn finish(
    path: &Path,
    found: io::Result<Reading>,
    archive: Archive<impl Read>,
    length: u64,
) -> Result<Index, DataError> {
    let index = found.and_then(|reading| {
        refuse_more(archive.into_inner())?;
        reading.done(length)
    });
    index.map_err(|error| damaged(path, &error))
}

/// Refuses what follows the end of the members, after which there are only zeros.
fn refuse_more(mut rest: impl Read) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = rest.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            return Err(io::Error::other(
                "something follows its end, as where tar files were joined by cat; join them with \
                 tar --concatenate",
            ));
        }
    }
}

/// Returns the error for a tar file that can't be read to its end.
fn damaged(path: &Path, error: &io::Error) -> DataError {
    DataError::Damaged {
        message: format!("found a tar file that is cut off, damaged or none ({error})"),
        path: path.to_owned(),
    }
}

/// Refuses a compressed file, in which no image can be read by itself.
fn refuse_compressed(file: &mut File, path: &Path) -> Result<(), DataError> {
    let failed = |error| DataError::io("read", path, error);
    let mut first = Vec::new();
    file.by_ref()
        .take(8)
        .read_to_end(&mut first)
        .map_err(failed)?;
    file.rewind().map_err(failed)?;
    match COMPRESSED
        .iter()
        .find(|(start, _)| first.starts_with(start))
    {
        Some((_, program)) => Err(DataError::Damaged {
            message: compressed(program),
            path: path.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Returns what is wrong with a compressed tar file, which `program` unpacks.
pub fn compressed(program: &str) -> String {
    format!(
        "found a compressed tar file, in which no image can be read by itself; unpack it with \
         {program}"
    )
}

#[cfg(test)]
pub(in crate::data) mod tests {
    use tar::{Builder, EntryType, Header};

    use super::{
        super::{Place, in_shard, members::field_of, open},
        *,
    };

    /// Writes a tar file with these members: the kind, the name, and the content or the name that a
    /// link leads to.
    pub(in crate::data) fn pack(path: &Path, members: &[(EntryType, &str, &str)]) {
        let mut tar = Builder::new(Vec::new());
        for (kind, name, content) in members {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if matches!(kind, EntryType::Link | EntryType::Symlink) {
                header.set_size(0);
                tar.append_link(&mut header, name, content).expect("packed");
            } else {
                header.set_size(content.len() as u64);
                let added = tar.append_data(&mut header, name, content.as_bytes());
                added.expect("packed");
            }
        }
        fs::write(path, tar.into_inner().expect("packed")).expect("written");
    }

    /// Returns the bytes of a member.
    fn bytes(shard: &Path, name: &str) -> String {
        let place = in_shard(&shard.join(name))
            .expect("in a shard")
            .expect(name);
        String::from_utf8(place.read().expect("read")).expect("text")
    }

    #[test]
    fn members_are_found_by_their_names_long_or_short() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shard = folder.path().join("a.tar");
        let long = format!("cats/{}.jpg", "x".repeat(300));
        let mut tar = Builder::new(Vec::new());
        tar.append_pax_extensions([("path", "dogs/\u{e9}.v2.jpg".as_bytes())])
            .expect("packed");
        let mut header = Header::new_ustar();
        header.set_size(4);
        header.set_path("short").expect("set");
        header.set_cksum();
        tar.append(&header, &b"PAX!"[..]).expect("packed");
        let mut pax = tar.into_inner().expect("packed");
        pax.truncate(2048);
        pack(
            &shard,
            &[
                (EntryType::Directory, "cats/", ""),
                (EntryType::Regular, "cats/1.jpg", "old"),
                (EntryType::Regular, &long, "long"),
                (EntryType::Regular, "cats/1.jpg", "new!"),
                (EntryType::Link, "cats/2.jpg", "./cats/1.jpg"),
                (EntryType::Symlink, "cats/3.jpg", "1.jpg"),
                (EntryType::Link, "cats/4.jpg", "dogs/gone.jpg"),
                (EntryType::Regular, "cats/1.cls", "\u{feff} 7\n"),
                (EntryType::Regular, "cats/1.json", r#"{"label": 3}"#),
            ],
        );
        pax.extend(fs::read(&shard).expect("read"));
        fs::write(&shard, pax).expect("written");
        let found = open(&shard).expect("indexed");
        let names: Vec<_> = found
            .members()
            .iter()
            .map(|member| (member.name.as_str(), member.label.as_deref()))
            .collect();
        let expected = [
            ("cats/1.jpg", Some("7")),
            ("cats/2.jpg", None),
            (&long, None),
            ("dogs/\u{e9}.v2.jpg", None),
        ];
        assert_eq!(names, expected);
        assert_eq!(found.num_links(), 2);
        let read = expected.map(|(name, _)| bytes(&shard, name));
        assert_eq!(read, ["new!", "new!", "long", "PAX!"]);
        let missing = Place::of(&shard.join("cats/9.jpg")).map(|place| place.len());
        assert_eq!(
            missing.expect_err("missing").kind(),
            io::ErrorKind::NotFound
        );
        assert!(in_shard(&folder.path().join("b.tar/1.jpg")).is_none());
    }

    #[test]
    fn the_class_in_json_is_a_text_before_a_number() {
        for (json, expected) in [
            (r#"{"label": 3, "class_name": "cat"}"#, Some("cat")),
            (r#"{"label": 3, "caption": "a cat"}"#, Some("3")),
            (r#"{"caption": "a cat"}"#, None),
            ("[1]", None),
            ("{", None),
        ] {
            assert_eq!(field_of(json.as_bytes()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_whole_tar_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shard = folder.path().join("a.tar");
        pack(
            &shard,
            &[(EntryType::Regular, "a/1.jpg", &"x".repeat(2000))],
        );
        let whole = fs::read(&shard).expect("read");
        let mut damaged = whole.clone();
        damaged[20] ^= 1;
        let joined = [&whole[..], &whole].concat();
        let cases: [(&[u8], &str); 9] = [
            (&joined, "something follows its end"),
            (&whole[..1000], "1.jpg reaches beyond its end"),
            (&whole[..100], "cut off, damaged or none"),
            // Between two members, where another one might begin.
            (&whole[..2560], "its end is missing"),
            (b"", "its end is missing"),
            (&damaged, "cut off, damaged or none"),
            (&[7; 2048], "cut off, damaged or none"),
            (&[0x1f, 0x8b, 8, 0], "unpack it with gunzip"),
            (b"BZh9", "unpack it with bunzip2"),
        ];
        for (content, expected) in cases {
            fs::write(&shard, content).expect("written");
            let error = open(&shard).expect_err(expected).to_string();
            assert!(
                error.contains(expected) && error.ends_with("a.tar"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_shard_that_changes_is_an_error_until_it_is_indexed_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shard = folder.path().join("a.tar");
        pack(&shard, &[(EntryType::Regular, "a/1.jpg", "old")]);
        open(&shard).expect("indexed");
        pack(
            &shard,
            &[(EntryType::Regular, "a/1.jpg", &"new".repeat(9000))],
        );
        let place = in_shard(&shard.join("a/1.jpg"))
            .expect("there")
            .expect("there");
        let error = place.read().expect_err("another file").to_string();
        assert!(error.contains("changed since it was indexed"), "{error}");
        open(&shard).expect("indexed");
        assert_eq!(bytes(&shard, "a/1.jpg").len(), 27_000);
    }
}
