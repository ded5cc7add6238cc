//! One process at a time: a file that is locked by who is at work, and says who that is. The system lets go of it with the process, however that ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{files::with_path, process};

/// Looks at a file whose new owner hasn't written yet who it is, and the time between them.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The number of the process there.
    pub process: u32,
    /// Seconds since 1970.
    pub since: u64,
}

impl Holder {
    fn this() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { host: process::host(), process: std::process::id(), since }
    }

    /// A process of this machine that is no more.
    fn is_dead(&self) -> bool {
        self.host == process::host() && !process::is_alive(self.process)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = i64::try_from(self.since).ok().and_then(|since| OffsetDateTime::from_unix_timestamp(since).ok());
        write!(f, "process {} on {:?}", self.process, self.host)?;
        let Some(since) = since else { return Ok(()) };
        let ((year, month, day), (hour, minute, second)) = (since.to_calendar_date(), since.to_hms());
        write!(f, ", since {year}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", u8::from(month))
    }
}

/// Why a lock isn't ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it; nobody knows which where the file can't be read.
    #[error("{}", .0.as_ref().map_or("another process".to_owned(), ToString::to_string))]
    Held(Option<Holder>),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A lock that this process holds until it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock of the file at `path`, which is made where there is none. On a file system without locks (some of those over a network),
    /// what the file says decides: then a process of another machine holds it until it says otherwise.
    ///
    /// # Errors
    /// [`LockError::Held`] at once where another process has it; the system's.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let system = |error: io::Error| with_path(&error, "can't lock", path);
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(system)?;
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

    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where this fails the lock goes all the same.
        let _ = self.replace("");
    }
}

/// Who has it just now, once that is written.
fn holder(file: &mut File) -> Option<Holder> {
    for _ in 0..TRIES {
        if let Some(found) = written(file).filter(|found| !found.is_dead()) {
            return Some(found);
        }
        sleep(PAUSE);
    }
    None
}

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
        let dead = Holder { host: process::host(), process: u32::MAX >> 2, since: 0 };
        std::fs::write(&path, serde_json::to_vec(&dead).expect("JSON")).expect("written");
        let lock = Lock::take(&path).expect("nobody has it");
        let error = Lock::take(&path).expect_err("taken");
        assert!(matches!(&error, LockError::Held(Some(holder)) if holder.process == std::process::id()), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("process {} on ", std::process::id())) && text.ends_with("UTC"), "{text}");
        drop(lock);
        assert_eq!(std::fs::read(&path).expect("read"), b"");
        Lock::take(&path).expect("free again");
    }

    #[test]
    fn times_are_written_as_dates() {
        let holder = Holder { host: "a".to_owned(), process: 7, since: 86_400 * 365 };
        assert_eq!(holder.to_string(), "process 7 on \"a\", since 1971-01-01 00:00:00 UTC");
    }
}
