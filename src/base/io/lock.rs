//! Locks between processes: a file that one process holds locked and that names its holder. The
//! system releases the lock when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::files::with_path;
use crate::base::process;

/// Read attempts of a file whose new holder hasn't written its name yet.
const TRIES: usize = 20;
/// Pause between two read attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// The process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of its machine.
    pub host: String,
    /// Process ID on that machine.
    pub process: u32,
    /// Start of the lock in seconds since 1970.
    pub since: u64,
}

impl Holder {
    /// Returns this process as a holder from now on.
    fn this() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            host: process::host(),
            process: std::process::id(),
            since,
        }
    }

    /// Whether it was a process of this machine that has ended.
    fn is_dead(&self) -> bool {
        self.host == process::host() && !process::is_alive(self.process)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = i64::try_from(self.since)
            .ok()
            .and_then(|since| OffsetDateTime::from_unix_timestamp(since).ok());
        write!(f, "process {} on {:?}", self.process, self.host)?;
        let Some(since) = since else { return Ok(()) };
        let ((year, month, day), (hour, minute, second)) =
            (since.to_calendar_date(), since.to_hms());
        write!(
            f,
            ", since {year}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC",
            u8::from(month)
        )
    }
}

/// An error in taking a lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock is held by another process, unknown if the file can't be read.
    #[error("{}", .0.as_ref().map_or("another process".to_owned(), ToString::to_string))]
    Held(Option<Holder>),
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A lock that this process holds until it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock of the file at `path`, creating the file if there is none.
    ///
    /// On a file system without locks (some network file systems) the content of the file decides;
    /// a process of another machine then holds the lock until it clears the file.
    ///
    /// # Errors
    /// Returns [`LockError::Held`] at once if another process holds the lock, and an error if the
    /// file can't be opened or written.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let system = |error: io::Error| with_path(&error, "can't lock", path);
        // Not truncated before the lock is taken: another process's name may be in it.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(system)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
            Err(TryLockError::Error(_)) => {
                if let Some(other) = written(&mut file).filter(|other| !other.is_dead()) {
                    return Err(LockError::Held(Some(other)));
                }
            }
        }
        let mut lock = Self(file);
        let text = serde_json::to_string(&Holder::this()).expect("plain values are JSON");
        lock.replace(&text).map_err(system)?;
        Ok(lock)
    }

    /// Replaces the content of the file.
    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails, the system still releases the lock.
        let _ = self.replace("");
    }
}

/// Returns the current holder. Waits a little for a holder that has the lock but hasn't written its
/// name.
fn holder(file: &mut File) -> Option<Holder> {
    for _ in 0..TRIES {
        if let Some(found) = written(file).filter(|found| !found.is_dead()) {
            return Some(found);
        }
        sleep(PAUSE);
    }
    None
}

/// Returns the holder that the file names.
fn written(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(1 << 12).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_second_is_told_who_has_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        // What a process left that was killed.
        let dead = Holder {
            host: process::host(),
            process: u32::MAX >> 2,
            since: 0,
        };
        std::fs::write(&path, serde_json::to_vec(&dead).expect("JSON")).expect("written");
        let lock = Lock::take(&path).expect("nobody has it");
        let error = Lock::take(&path).expect_err("taken");
        assert!(
            matches!(&error, LockError::Held(Some(holder)) if holder.process == std::process::id()),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("process {} on ", std::process::id()))
                && text.ends_with("UTC"),
            "{text}"
        );
        drop(lock);
        assert_eq!(std::fs::read(&path).expect("read"), b"");
        Lock::take(&path).expect("free again");
    }

    #[test]
    fn times_are_written_as_dates() {
        let holder = Holder {
            host: "a".to_owned(),
            process: 7,
            since: 86_400 * 365,
        };
        assert_eq!(
            holder.to_string(),
            "process 7 on \"a\", since 1971-01-01 00:00:00 UTC"
        );
    }
}
