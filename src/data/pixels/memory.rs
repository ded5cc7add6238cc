//! A memory budget shared by all threads that decode images. What an image needs is estimated from
//! its header and taken from the budget before any memory is: a thread waits until it fits, and an
//! image that never will is refused.

use std::{
    io,
    path::Path,
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::{
    base::memory::total_bytes,
    data::shards::{Place, is_shard},
};

/// Environment variable with the budget in MiB, used unless the configuration sets one.
pub const VARIABLE: &str = "EMBERLENS_DECODE_MEMORY_MB";

/// The default budget is the machine's memory divided by this, but at least what a photograph of
/// 100 megapixels takes, and at most what leaves the whole program below 1 GB.
const SHARE: u64 = 40;
/// Bounds of the default budget in MiB.
const USUAL_MB: [u64; 2] = [512, 768];

/// Size in bytes up to which a file isn't counted, since decoding it takes more.
const SMALL_FILE: u64 = 1 << 20;

/// The budget of the process.
static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget::new(usual_mb()));

/// A limit in bytes, and what is taken of it.
#[derive(Debug)]
struct Budget {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    limit: u64,
    taken: u64,
    /// Tickets: each waiting thread takes `next`, and they are served in that order. So a large
    /// image waits for the smaller ones before it, and not for those after it.
    next: u64,
    served: u64,
}

/// Memory taken for one image, given back when dropped.
#[derive(Debug)]
pub struct Room<'a> {
    budget: &'a Budget,
    /// Size of the file in bytes, which stays in memory while its image is decoded; 0 if it isn't
    /// counted.
    file: u64,
    /// Bytes taken from the budget, `file` included.
    taken: u64,
    /// Bytes that the image needs in addition to the file, if they were not available and waiting
    /// for them could block other threads.
    lacking: Option<u64>,
}

impl Budget {
    fn new(limit_mb: u64) -> Self {
        let state = State {
            limit: limit_mb << 20,
            taken: 0,
            next: 0,
            served: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No decoder runs while the lock is held, and the numbers are consistent after each
        // statement, so a poisoned lock is usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` are available and takes them.
    fn take(&self, bytes: u64) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        // `set_limit` may lower the limit after `check`; what no longer fits is then granted alone,
        // as it would wait forever.
        while state.served < number || state.taken + bytes > state.limit.max(bytes) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.taken += bytes;
        state.served += 1;
        self.changed.notify_all();
    }

    /// Takes `bytes` if they are available and no thread is waiting. Returns whether it did.
    fn try_take(&self, bytes: u64) -> bool {
        let mut state = self.state();
        let is_there = state.served == state.next && state.taken + bytes <= state.limit;
        state.taken += if is_there { bytes } else { 0 };
        is_there
    }

    /// Returns `bytes` to the budget and wakes the waiting threads.
    fn give_back(&self, bytes: u64) {
        self.state().taken -= bytes;
        self.changed.notify_all();
    }

    /// Refuses what exceeds the limit. `what` is the beginning of the message.
    fn check(&self, bytes: u64, what: &str) -> Result<(), String> {
        let limit = self.state().limit;
        if bytes <= limit {
            return Ok(());
        }
        Err(format!(
            "{what} {} MB of memory, more than the {} MB that decoding may take; make the image \
             smaller or raise data.decode_memory_mb (or {VARIABLE})",
            bytes.div_ceil(1 << 20),
            limit >> 20
        ))
    }
}

impl Room<'static> {
    /// Opens an account for an image whose file the caller holds and which isn't counted.
    pub fn open() -> Self {
        Self {
            budget: &BUDGET,
            file: 0,
            taken: 0,
            lacking: None,
        }
    }
}

impl<'a> Room<'a> {
    /// Takes the memory of a file of `bytes`, waiting if necessary.
    fn of_file(budget: &'a Budget, bytes: u64) -> Result<Self, String> {
        budget.check(bytes, "the file takes")?;
        let file = if bytes <= SMALL_FILE { 0 } else { bytes };
        if file > 0 {
            budget.take(file);
        }
        Ok(Self {
            budget,
            file,
            taken: file,
            lacking: None,
        })
    }

    /// Takes what is missing of `bytes`, which an image needs in addition to its file.
    ///
    /// # Errors
    /// Returns an error if it exceeds the limit. Also returns one if some memory is held already
    /// and the rest isn't available at once; [`with_file`] then gives back what is held and tries
    /// again.
    pub fn need(&mut self, bytes: u64) -> Result<(), String> {
        self.budget
            .check(bytes.saturating_add(self.file), "decoding it takes")?;
        let more = (bytes + self.file).saturating_sub(self.taken);
        if more == 0 {
            return Ok(());
        }
        // Two threads that wait while holding a file could wait for each other forever.
        if self.taken == 0 {
            self.budget.take(more);
        } else if !self.budget.try_take(more) {
            self.lacking = Some(bytes);
            return Err("memory for it is taken by others".to_owned());
        }
        self.taken += more;
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        // The allocator keeps what is freed (`heap::keep_large_blocks`); with large images side by
        // side, that would soon exceed the budget.
        if self.taken > self.budget.state().limit / 4 {
            heap::give_back_free_blocks();
        }
        if self.taken > 0 {
            self.budget.give_back(self.taken);
        }
    }
}

/// Sets the budget in MiB for all decoding threads together; `None` for the default.
pub fn set_limit(megabytes: Option<usize>) {
    BUDGET.state().limit = megabytes.map_or_else(usual_mb, |megabytes| megabytes as u64) << 20;
}

/// Returns the budget in bytes.
pub(in crate::data) fn limit() -> u64 {
    BUDGET.state().limit
}

/// Why an image can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Its file can't be opened or decoded.
    #[error("{0}")]
    Bad(String),
    /// The shard that it lies in can't be read, which says nothing about the image.
    #[error("{0}")]
    Lost(String),
}

impl From<String> for Unread {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

/// Reads an image file and calls `work` with its bytes, within the budget. `work` takes what it
/// needs from the given room. It may be called again if memory was short.
///
/// # Errors
/// Returns an error if the file can't be read, isn't a regular file or is larger than the budget,
/// and the error of `work`.
pub fn with_file<T>(
    path: &Path,
    work: impl Fn(&[u8], &mut Room<'_>) -> Result<T, String>,
) -> Result<T, Unread> {
    with_file_of(&BUDGET, path, work)
}

fn with_file_of<T>(
    budget: &Budget,
    path: &Path,
    work: impl Fn(&[u8], &mut Room<'_>) -> Result<T, String>,
) -> Result<T, Unread> {
    let mut lacking = None;
    loop {
        let found = Place::of(path).map_err(|error| {
            let is_shard = || path.ancestors().skip(1).any(is_shard);
            // A shard that isn't known yet; a name that isn't in it is an image's fault.
            match error.kind() {
                io::ErrorKind::Other if is_shard() => Unread::Lost(error.to_string()),
                _ => Unread::Bad(error.to_string()),
            }
        })?;
        // The missing memory is taken before the file is read again, so that the second attempt
        // succeeds.
        let mut room = match lacking {
            None => Room::of_file(budget, found.len())?,
            Some(bytes) => {
                budget.check(found.len().saturating_add(bytes), "decoding it takes")?;
                budget.take(found.len() + bytes);
                Room {
                    budget,
                    file: found.len(),
                    taken: found.len() + bytes,
                    lacking: None,
                }
            }
        };
        let bytes = found.read().map_err(|error| {
            if found.is_in_shard() {
                Unread::Lost(error.to_string())
            } else {
                Unread::Bad(error.to_string())
            }
        })?;
        let result = work(&bytes, &mut room);
        lacking = room.lacking;
        if lacking.is_none() {
            return Ok(result?);
        }
    }
}

/// Returns the budget in MiB that the environment sets, or the default for this machine.
fn usual_mb() -> u64 {
    let told = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    told.filter(|megabytes| *megabytes > 0).unwrap_or_else(|| {
        // 16 GiB where it isn't known. Available memory would be the wrong measure: which images
        // fit must not depend on what else is running.
        let machine = total_bytes().unwrap_or(16 << 30) >> 20;
        (machine / SHARE)
            .clamp(USUAL_MB[0], USUAL_MB[1])
            .min((machine / 4).max(64))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn images_of_many_threads_never_take_more_than_there_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("image");
        // Large enough to be counted.
        fs::write(&path, vec![7; (SMALL_FILE + 1) as usize]).expect("written");
        let budget = Budget::new(8);
        let (now, most, served) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, path, now, most, served) = (&budget, &path, &now, &most, &served);
                scope.spawn(move || {
                    for turn in 0..20 {
                        // From a small part to all that the file leaves.
                        let bytes = (1 + (thread + turn) % 6) << 20;
                        let length = with_file_of(budget, path, |file, room| {
                            room.need(bytes)?;
                            most.fetch_max(
                                now.fetch_add(bytes + file.len() as u64, Ordering::SeqCst)
                                    + bytes
                                    + file.len() as u64,
                                Ordering::SeqCst,
                            );
                            thread::yield_now();
                            now.fetch_sub(bytes + file.len() as u64, Ordering::SeqCst);
                            Ok(file.len() as u64)
                        });
                        assert_eq!(length.expect("read"), SMALL_FILE + 1);
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), 160);
        let most = most.into_inner();
        assert!((2 << 20..=8 << 20).contains(&most), "{most}");
        assert_eq!(budget.state().taken, 0);
    }

    #[test]
    fn what_never_fits_is_refused_with_its_need_the_limit_and_the_key() {
        let budget = Budget::new(2);
        let mut room = Room {
            budget: &budget,
            file: 0,
            taken: 0,
            lacking: None,
        };
        assert_eq!(room.need(2 << 20), Ok(()));
        let reason = room.need((5 << 20) - 1).expect_err("too much");
        for part in ["5 MB", "2 MB", "data.decode_memory_mb", VARIABLE] {
            assert!(reason.contains(part), "{reason}");
        }
        drop(room);
        // A sparse file has the size that it claims, and isn't read.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("hole");
        File::create(&path)
            .and_then(|file| file.set_len(6 << 30))
            .expect("a hole");
        let reason = with_file_of(&budget, &path, |_, _| Ok(())).expect_err("too long");
        let reason = reason.to_string();
        assert!(reason.contains("the file takes 6144 MB"), "{reason}");
        assert!(
            with_file_of(&budget, folder.path(), |_, _| Ok(())).is_err(),
            "a folder"
        );
        assert_eq!(budget.state().taken, 0);
    }
}
