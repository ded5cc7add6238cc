//! TensorBoard event files with the content of `history.csv` under the names of Keras's callback,
//! in `tensorboard/train` and `tensorboard/validation` of the run folder. Records and checksums
//! follow TensorFlow's `TFRecord` format, their content its `Event` message.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    base::{
        io::files::{with_path, write_atomic},
        names::of_text,
    },
    record::{EpochRecord, LISTED_CLASSES},
};

/// Name of an event file: TensorBoard reads any file with `tfevents` in its name.
const FILE: &str = "events.out.tfevents.emberlens";

/// The event files of a run.
#[derive(Debug)]
pub(in crate::train) struct TensorBoard {
    classes: Vec<String>,
    folder: PathBuf,
}

/// The tag and value of a scalar.
type Value = (String, f64);

impl TensorBoard {
    /// Writes event files with the records so far, replacing whatever a crash left.
    ///
    /// # Errors
    /// Returns an error if a folder or file can't be written.
    pub(in crate::train) fn start(
        run: &Path,
        classes: &[String],
        history: &[EpochRecord],
    ) -> io::Result<Self> {
        let board = Self {
            classes: classes.to_vec(),
            folder: run.join("tensorboard"),
        };
        let now = now();
        for part in 0..2 {
            let path = board.path(part);
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)
                .map_err(|error| with_path(&error, "can't create", folder))?;
            let mut bytes = record(&version(now));
            for epoch in history {
                // When earlier epochs ended isn't recorded; plots against the step don't need it.
                bytes.extend(record(&event(now, epoch.epoch, &board.values(epoch)[part])));
            }
            write_atomic(&path, &bytes)?;
        }
        Ok(board)
    }

    /// Appends the record of an epoch.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub(in crate::train) fn add(&self, epoch: &EpochRecord) -> io::Result<()> {
        for (part, values) in self.values(epoch).iter().enumerate() {
            let path = self.path(part);
            let mut file = OpenOptions::new()
                .append(true)
                .open(&path)
                .map_err(|error| with_path(&error, "can't open", &path))?;
            file.write_all(&record(&event(now(), epoch.epoch, values)))
                .map_err(|error| with_path(&error, "can't write", &path))?;
        }
        Ok(())
    }

    fn path(&self, part: usize) -> PathBuf {
        self.folder.join(["train", "validation"][part]).join(FILE)
    }

    /// Returns the scalars of the training and the validation set.
    fn values(&self, epoch: &EpochRecord) -> [Vec<Value>; 2] {
        let mut parts = [&epoch.train, &epoch.validation].map(|split| {
            [
                ("epoch_accuracy", split.accuracy),
                ("epoch_loss", split.loss),
                ("epoch_macro_f1", split.macro_f1),
            ]
            .into_iter()
            .filter(|(_, value)| !value.is_nan())
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Vec<_>>()
        });
        parts[0].push(("epoch_learning_rate".to_owned(), epoch.learning_rate));
        // A chart for each class is more than can be read, and from some hundreds on more than
        // TensorBoard handles.
        if self.classes.len() <= LISTED_CLASSES {
            let recalls = self.classes.iter().zip(&epoch.validation.recall);
            parts[1].extend(recalls.filter_map(|(class, recall)| {
                Some((format!("epoch_recall/{}", of_text(class)), (*recall)?))
            }));
        }
        parts
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

/// Returns a TFRecord: length, its masked CRC-32C, data, its masked CRC-32C.
fn record(data: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| {
        crc32c::crc32c(bytes)
            .rotate_right(15)
            .wrapping_add(0xa282_ead8)
            .to_le_bytes()
    };
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// Returns the first event of a file, which states the version of the format.
fn version(time: f64) -> Vec<u8> {
    let mut out = wall_time(time);
    bytes_field(&mut out, 3, b"brain.Event:2");
    out
}

/// Returns a serialized `Event` with a `Summary` of scalars.
fn event(time: f64, step: usize, values: &[Value]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, value) in values {
        let mut message = Vec::new();
        bytes_field(&mut message, 1, name.as_bytes());
        message.push(2 << 3 | 5);
        message.extend((*value as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &message);
    }
    let mut out = wall_time(time);
    out.push(2 << 3);
    varint(&mut out, step as u64);
    bytes_field(&mut out, 5, &summary);
    out
}

/// Starts an `Event` with its wall time, field 1, a double.
fn wall_time(time: f64) -> Vec<u8> {
    let mut out = vec![1 << 3 | 1];
    out.extend(time.to_le_bytes());
    out
}

/// Appends a length-delimited field of Protocol Buffers.
fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Appends a base-128 varint of Protocol Buffers.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SplitRecord;

    /// `scripts/reference/tensorboard_events.py` made the file with TensorBoard's own writer.
    #[test]
    fn records_are_tensorboards_to_the_byte() {
        let golden = include_bytes!("../../../tests/golden/events.tfevents");
        let values = |names: &[(&str, f64)]| {
            names
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect::<Vec<_>>()
        };
        let first = values(&[
            ("epoch_accuracy", 0.5),
            ("epoch_loss", 1.25),
            ("epoch_recall/Hirntumor \u{e4}", 1e-7),
        ]);
        let bytes = [
            record(&version(1_700_000_000.25)),
            record(&event(1_700_000_001.5, 1, &first)),
            record(&event(
                1_700_000_002.75,
                300,
                &values(&[("epoch_loss", 3.0)]),
            )),
        ]
        .concat();
        assert_eq!(bytes, golden);
    }

    #[test]
    fn a_start_after_a_crash_holds_each_epoch_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let split = |accuracy| SplitRecord {
            loss: 1.0,
            accuracy,
            macro_f1: 0.5,
            recall: vec![Some(1.0), Some(0.0)],
        };
        let epoch = |epoch| EpochRecord {
            epoch,
            train: split(0.25),
            validation: split(0.75),
            learning_rate: 0.1,
            seconds: 1.0,
        };
        let classes = ["a".to_owned(), "b".to_owned()];
        let board = TensorBoard::start(folder.path(), &classes, &[]).expect("started");
        (1..=3).for_each(|index| board.add(&epoch(index)).expect("added"));
        let whole = [0, 1].map(|part| std::fs::read(board.path(part)).expect("read"));
        #[expect(clippy::disallowed_methods, reason = "what a crash leaves")]
        std::fs::write(board.path(0), &whole[0][..whole[0].len() - 5]).expect("cut");
        let again =
            TensorBoard::start(folder.path(), &classes, &[epoch(1), epoch(2)]).expect("started");
        again.add(&epoch(3)).expect("added");
        for (part, whole) in whole.iter().enumerate() {
            // The same but for the times of the events.
            assert_eq!(
                std::fs::read(again.path(part)).expect("read").len(),
                whole.len()
            );
        }
    }
}
