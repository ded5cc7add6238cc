//! The members of a tar file, read one after the other, each with the label that WebDataset's
//! convention puts beside it.

use std::{
    collections::HashMap,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tar::{Entry, EntryType};

use crate::base::{io::files::hex, names};

/// Size of a block: headers and contents begin at a multiple of it, and zeros follow the last one.
const BLOCK: u64 = 512;

/// Extensions of members that hold the label of the image with the same name, the one that counts
/// first.
const LABELS: [&str; 3] = ["cls", "json", "txt"];

/// Fields of a JSON label with the class, the one that counts first.
const FIELDS: [&str; 5] = ["class_name", "class", "label_name", "label", "cls"];

/// Size in bytes above which a label's file is something else.
const LONGEST_LABEL: u64 = 1 << 20;

/// A file in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, with `/` between folders and without a leading `./`.
    pub name: String,
    /// Position of its first byte in the shard.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
    /// What the `.cls`, `.json` or `.txt` beside it says, if there is one.
    pub label: Option<String>,
    /// BLAKE3 digest of its bytes in hexadecimal, where all of the shard was read for the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The members of a shard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    /// The files other than labels, sorted by name.
    pub(super) members: Vec<Member>,
    /// Number of links that hold no bytes: symbolic ones, and others to files that aren't there.
    pub(super) num_links: usize,
}

/// The members that were read so far.
#[derive(Default)]
pub(super) struct Reading {
    members: Vec<Member>,
    /// The text of a label and the rank of its kind, by the name of its image without extension.
    labels: HashMap<String, (usize, String)>,
    /// Names of files that are stored under another name, and that name.
    links: Vec<(String, String)>,
    num_links: usize,
    /// Position after the last member.
    end: u64,
}

impl Reading {
    /// Reads the entries of a tar file of `end` bytes, with their digests if the file
    /// `is_streamed`.
    pub(super) fn of<'a, R: Read + 'a>(
        entries: impl Iterator<Item = io::Result<Entry<'a, R>>>,
        end: u64,
        is_streamed: bool,
    ) -> io::Result<Self> {
        let mut reading = Self::default();
        for entry in entries {
            reading.add(entry?, end, is_streamed)?;
        }
        Ok(reading)
    }

    /// Adds an entry of a tar file of `end` bytes, with its digest if the file `is_streamed`.
    fn add(
        &mut self,
        mut entry: Entry<'_, impl Read>,
        end: u64,
        is_streamed: bool,
    ) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let last = entry.raw_file_position().saturating_add(entry.size());
        self.end = last.checked_next_multiple_of(BLOCK).unwrap_or(last);
        let Some(name) = name_of(&entry.path()?) else {
            return Ok(());
        };
        let (start, length) = match kind {
            EntryType::Regular | EntryType::Continuous => (entry.raw_file_position(), entry.size()),
            // Of a file with several names the later ones refer to the first.
            EntryType::Link => {
                let target = entry.link_name()?.and_then(|target| name_of(&target));
                self.links.extend(target.map(|target| (name, target)));
                return Ok(());
            }
            EntryType::Symlink => {
                self.num_links += 1;
                return Ok(());
            }
            EntryType::GNUSparse => {
                return Err(io::Error::other(format!(
                    "{name} is stored with holes; pack without --sparse"
                )));
            }
            _ => return Ok(()),
        };
        if start.checked_add(length).is_none_or(|last| last > end) {
            return Err(io::Error::other(format!("{name} reaches beyond its end")));
        }
        let (stem, extension) = split(&name);
        if let Some(rank) = LABELS.iter().position(|label| *label == extension) {
            let text = label_of(&mut entry, extension)?;
            let is_first = |(other, _): &(usize, String)| rank < *other;
            if let Some(text) = text
                && self.labels.get(stem).is_none_or(is_first)
            {
                self.labels.insert(stem.to_owned(), (rank, text));
            }
            return Ok(());
        }
        let digest = if is_streamed {
            let mut hash = blake3::Hasher::new();
            hash.update_reader(&mut entry)?;
            Some(hex(hash.finalize().as_bytes()))
        } else {
            None
        };
        self.members.push(Member {
            name,
            start,
            length,
            label: None,
            digest,
        });
        Ok(())
    }

    /// Returns the index of a tar file of `length` bytes.
    pub(super) fn done(mut self, length: u64) -> io::Result<Index> {
        if length < self.end.saturating_add(BLOCK) {
            return Err(io::Error::other("its end is missing"));
        }
        let places: HashMap<_, _> = if self.links.is_empty() {
            HashMap::new()
        } else {
            let place = |member: &Member| (member.name.clone(), member.clone());
            self.members.iter().map(place).collect()
        };
        for (name, target) in self.links {
            match places.get(&target).cloned() {
                Some(target) => self.members.push(Member { name, ..target }),
                None => self.num_links += 1,
            }
        }
        // Of members with equal names the last one counts, as where a tar file is unpacked.
        self.members.reverse();
        self.members.sort_by(|a, b| a.name.cmp(&b.name));
        self.members.dedup_by(|a, b| a.name == b.name);
        for member in &mut self.members {
            let label = self.labels.get(split(&member.name).0);
            member.label = label.map(|(_, text)| text.clone());
        }
        Ok(Index {
            members: self.members,
            num_links: self.num_links,
        })
    }
}

/// Returns a member's name as text, or `None` for one that leads out of the shard.
fn name_of(path: &Path) -> Option<String> {
    let mut name = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => name.push(names::of_os(part)),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Returns a name without its extension, and the extension.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.')
        .filter(|(_, extension)| !extension.contains('/'))
        .unwrap_or((name, ""))
}

/// Reads a label, or returns `None` if the file says none.
fn label_of(entry: &mut Entry<'_, impl Read>, extension: &str) -> io::Result<Option<String>> {
    if entry.size() > LONGEST_LABEL {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    let text = if extension == "json" {
        field_of(&bytes)
    } else {
        let text = String::from_utf8(bytes).ok();
        text.map(|text| text.trim_start_matches('\u{feff}').trim().to_owned())
    };
    Ok(text.filter(|text| !text.is_empty() && !text.contains('\n')))
}

/// Returns the class that a JSON object names: a text before a number.
pub(super) fn field_of(json: &[u8]) -> Option<String> {
    let object: serde_json::Map<_, _> = serde_json::from_slice(json).ok()?;
    let texts = FIELDS
        .iter()
        .filter_map(|field| object.get(*field)?.as_str().map(str::to_owned));
    let numbers = FIELDS.iter().filter_map(|field| {
        object
            .get(*field)?
            .as_u64()
            .map(|number| number.to_string())
    });
    texts.chain(numbers).next()
}
