//! Images inside tar files, called shards. A member of a shard has the path of the shard followed
//! by its own name, as if the shard were a folder: `shards/train-000000.tar/cats/01.jpg`. Lists,
//! `split.csv` and messages name it like any other image, and its bytes are found again by its
//! path. Nothing is unpacked.

mod index;
mod members;

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

#[cfg(test)]
pub(in crate::data) use self::index::tests;
pub use self::{
    index::{Shard, compressed, is_shard},
    members::Member,
};
use crate::{
    base::io::{
        files::digest_from_hex,
        http::{Remote, is_address},
    },
    data::error::DataError,
};

/// The shards that were indexed, by path.
static KNOWN: LazyLock<RwLock<HashMap<PathBuf, Arc<Shard>>>> = LazyLock::new(RwLock::default);

/// Where the bytes of an image are: a file, or a part of a shard.
#[derive(Debug)]
pub struct Place<'a> {
    file: Cow<'a, Path>,
    start: u64,
    length: u64,
    /// The shard that the part belongs to.
    shard: Option<Arc<Shard>>,
    digest: Option<[u8; 32]>,
}

impl<'a> Place<'a> {
    /// Finds the image at `path`. Opens nothing but shards, as a pipe might never end.
    ///
    /// # Errors
    /// Returns an error if nothing is there, or something else than a file.
    pub fn of(path: &'a Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Self {
                file: Cow::Borrowed(path),
                start: 0,
                length: found.len(),
                shard: None,
                digest: None,
            }),
            Ok(_) => Err(io::Error::other("it isn't a file")),
            Err(error) => in_shard(path).unwrap_or(Err(error)),
        }
    }

    /// Returns the path of the file or shard.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the position of the bytes in the file or shard.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.length
    }

    /// Returns whether the bytes are a part of a shard.
    pub fn is_in_shard(&self) -> bool {
        self.shard.is_some()
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the BLAKE3 digest of the bytes, where it is known without reading them.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    /// Returns a reader of the bytes. It ends with them, even if a file has grown since.
    ///
    /// # Errors
    /// Returns an error if the file can't be opened, or if it is a shard that was replaced or
    /// changed since it was indexed. Where a shard is on a server, reading returns it.
    pub fn open(&self) -> io::Result<Box<dyn Read>> {
        if let Some(remote) = self.shard.as_ref().and_then(|shard| shard.remote()) {
            return Ok(Box::new(remote.part(self.range())));
        }
        let mut file = File::open(&self.file)?;
        if let Some(shard) = &self.shard {
            if !shard.is(&file.metadata()?) {
                return Err(io::Error::other(
                    "the shard has changed since it was indexed; start anew with it",
                ));
            }
            file.seek(SeekFrom::Start(self.start))?;
        }
        Ok(Box::new(file.take(self.length)))
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`], and an error if reading fails.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.length).unwrap_or(0));
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Returns the place of a member of a shard, or `None` if `path` doesn't lead into a shard.
pub fn in_shard(path: &Path) -> Option<io::Result<Place<'static>>> {
    let file = path.ancestors().skip(1).find(|above| is_shard(above))?;
    let shard = match known(file) {
        Some(shard) => shard,
        None if file.is_file() || is_address(file) => match open(file) {
            Ok(shard) => shard,
            Err(error) => return Some(Err(io::Error::other(error))),
        },
        None => return None,
    };
    let parts = path.strip_prefix(file).unwrap_or(path).iter();
    let name: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
    let Some(member) = shard.find(&name.join("/")) else {
        return Some(Err(io::ErrorKind::NotFound.into()));
    };
    Some(Ok(Place {
        file: Cow::Owned(file.to_owned()),
        start: member.start,
        length: member.length,
        digest: member.digest.as_deref().and_then(digest_from_hex),
        shard: Some(shard),
    }))
}

/// Returns the shard at `path`, as it is now: indexed anew if it has changed.
///
/// # Errors
/// Returns an error if it can't be read, or if it isn't a tar file.
pub fn open(path: &Path) -> Result<Arc<Shard>, DataError> {
    let failed = |error| DataError::io("read", path, error);
    let shard = if is_address(path) {
        let remote = Remote::find(&path.to_string_lossy()).map_err(failed)?;
        Shard::index_remote(path, remote)?
    } else {
        let found = fs::metadata(path).map_err(failed)?;
        if let Some(shard) = known(path).filter(|shard| shard.is(&found)) {
            return Ok(shard);
        }
        Shard::index(path)?
    };
    let shard = Arc::new(shard);
    let mut all = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    all.insert(path.to_owned(), Arc::clone(&shard));
    Ok(shard)
}

/// Returns the shard at `path` if it was indexed before.
fn known(path: &Path) -> Option<Arc<Shard>> {
    // The map is whole after each statement, so that a poisoned lock is usable.
    let all = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    all.get(path).cloned()
}
