//! Caches results that take long to compute and depend only on their input: in the user's cache
//! folder, under a digest of the input. A damaged entry is computed again.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{cache, files};

/// The digest of everything that a result depends on.
#[derive(Clone, Debug, Default)]
pub struct Key(blake3::Hasher);

impl Key {
    /// Creates a key. `version` names the kind of result; a new version invalidates all cached
    /// results.
    pub fn new(version: &str) -> Self {
        let mut key = Self::default();
        key.add(version.as_bytes());
        key
    }

    /// Adds bytes to the key. Their length is included, so that different lists of inputs never
    /// have equal keys.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    }

    /// Adds a number to the key.
    pub fn add_number(&mut self, number: usize) {
        self.add(&(number as u64).to_le_bytes());
    }
}

/// Returns the result cached under this key, or computes it with `find` and caches it. If it can't
/// be cached, it is computed each time.
pub fn kept_or<T: Serialize + DeserializeOwned>(key: &Key, find: impl FnOnce() -> T) -> T {
    let Ok(found) = kept_or_failed(key, || Ok::<_, Infallible>(find()));
    found
}

/// Does the same as [`kept_or`] where computing may fail. A failure isn't cached.
///
/// # Errors
/// Returns the error of `find`.
pub fn kept_or_failed<T: Serialize + DeserializeOwned, E>(
    key: &Key,
    find: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    kept_in(cache::folder("findings"), key, find)
}

fn kept_in<T: Serialize + DeserializeOwned, E>(
    folder: Option<PathBuf>,
    key: &Key,
    find: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let Some(folder) = folder else { return find() };
    let path = folder.join(format!("{}.json", files::hex(key.0.finalize().as_bytes())));
    if let Some(found) = open(&path, key) {
        return Ok(found);
    }
    let found = find()?;
    let written = serde_json::to_vec(&found)
        .map_err(std::io::Error::from)
        .and_then(|json| {
            fs::create_dir_all(&folder)?;
            files::write_atomic(
                &path,
                &[digest(&json, key).as_bytes(), b"\n", &json[..]].concat(),
            )
        });
    if let Err(error) = written {
        log::debug!("{}", files::with_path(&error, "keep a finding", &path));
    }
    Ok(found)
}

/// Returns the digest of an entry's content and key, so that an entry under another name isn't
/// valid.
fn digest(json: &[u8], key: &Key) -> String {
    let mut hash = key.0.clone();
    hash.update(json);
    files::hex(hash.finalize().as_bytes())
}

/// Returns the cached result, if it is there and intact.
fn open<T: DeserializeOwned>(path: &Path, key: &Key) -> Option<T> {
    let bytes = fs::read(path).ok()?;
    let (found, json) = bytes.split_at_checked(64)?;
    let json = json.strip_prefix(b"\n")?;
    (found == digest(json, key).as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_found_once_and_a_damaged_one_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = || Some(folder.path().join("new"));
        let key = |number: usize| {
            let mut key = Key::new("test 1");
            key.add_number(number);
            key
        };
        let asked = std::cell::Cell::new(0);
        let ask = |key: &Key, answer: u32| {
            let Ok(found) = kept_in(place(), key, || {
                asked.set(asked.get() + 1);
                Ok::<_, Infallible>(vec![(answer, 0.1f64)])
            });
            found
        };
        assert_eq!(
            (ask(&key(1), 7), ask(&key(1), 8), asked.get()),
            (vec![(7, 0.1)], vec![(7, 0.1)], 1)
        );
        assert_eq!((ask(&key(2), 9), asked.get()), (vec![(9, 0.1)], 2));
        let mut files: Vec<PathBuf> = fs::read_dir(folder.path().join("new"))
            .expect("listed")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        assert_eq!(files.len(), 2);
        // Any byte of it; and one finding under the name of another.
        let whole: Vec<Vec<u8>> = files
            .iter()
            .map(|file| fs::read(file).expect("read"))
            .collect();
        for at in 0..whole[0].len() {
            let mut damaged = whole[0].clone();
            damaged[at] ^= 4;
            fs::write(&files[0], &damaged).expect("written");
            assert_eq!(
                open::<Vec<(u32, f64)>>(&files[0], &key(1)).or(open(&files[0], &key(2))),
                None,
                "{at}"
            );
        }
        fs::write(&files[0], &whole[1]).expect("written");
        let before = asked.get();
        assert_eq!(
            (ask(&key(1), 7), ask(&key(2), 9), asked.get()),
            (vec![(7, 0.1)], vec![(9, 0.1)], before + 1)
        );
        // Nowhere to keep it.
        assert_eq!(kept_in(None, &key(3), || Ok::<_, Infallible>(5)), Ok(5));
        // A failure is no finding.
        assert_eq!(kept_in(place(), &key(4), || Err::<u8, _>("no")), Err("no"));
        assert_eq!(kept_in(place(), &key(4), || Ok::<_, &str>(6)), Ok(6));
    }

    #[test]
    fn what_is_added_together_is_not_what_is_added_apart() {
        let of = |parts: &[&[u8]]| {
            let mut key = Key::new("test");
            parts.iter().for_each(|part| key.add(part));
            *key.0.finalize().as_bytes()
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab"]), of(&[b"ab", b""]));
    }
}
