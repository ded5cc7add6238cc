//! What a resume may change; everything else is refused. Images are matched by class and pixels, so
//! that a run continues after they were moved.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};

use crate::train::{State, TrainError};
use crate::{
    base::{io::files::hex, names},
    config::{Config, Data, Schedule, changed_keys},
    data::{
        TrainingData,
        batches::dataset::{Image, ImageSet},
        duplicates::leaks::Leak,
        listing::Part,
        table::{self, Matched, SplitRow, difference},
    },
    train::rules::schedule::{Progress, learning_rate},
};

/// Keys that a resume may change: they name, place or prolong the run, or choose what computes it,
/// and leave its data, network, loss and augmentation as they are.
const MAY_CHANGE: [&str; 10] = [
    "name",
    "device",
    "model.weights",
    "train.epochs",
    "train.max_time",
    "train.workers",
    "train.tensorboard",
    "train.early_stopping.patience",
    "train.checkpoint.every_steps",
    "train.checkpoint.include_backbone",
];

/// Keys of `[data]` that change pixels or the split. The others say where images are and how they
/// are read; whether the images are the same is known from their pixels.
const MUST_STAY: [&str; 9] = [
    "data.image_size",
    "data.color",
    "data.resize",
    "data.interpolation",
    "data.normalize",
    "data.validation",
    "data.test",
    "data.group",
    "data.on_leak",
];

/// Returns the rows of `split.csv` that identify the data: training, then validation images.
pub(in crate::train) fn split_rows(data: &TrainingData) -> Vec<SplitRow> {
    [
        table::rows(&data.train, Part::Train),
        table::rows(&data.validation, Part::Validation),
    ]
    .concat()
}

/// Returns [`split_rows`] with copies marked, followed by the test images.
pub(in crate::train) fn written_rows(data: &TrainingData) -> Vec<SplitRow> {
    let copy_of = |leak: &Leak| {
        leak.copy_of
            .as_ref()
            .map_or_else(String::new, |path| names::of_path(path))
    };
    // Marks aren't part of the fingerprint: a later version may find other copies in the same data.
    let marks: BTreeMap<String, String> = data
        .leaks
        .iter()
        .map(|leak| (names::of_path(&leak.path), copy_of(leak)))
        .collect();
    let mut rows = split_rows(data);
    for row in rows
        .iter_mut()
        .filter(|row| row.split == Part::Validation.name())
    {
        row.copy_of = marks.get(&row.path).cloned().unwrap_or_default();
    }
    let labels: BTreeMap<&String, usize> = data
        .classes
        .iter()
        .enumerate()
        .map(|(label, class)| (class, label))
        .collect();
    let groups: BTreeMap<&Path, &String> = data
        .test
        .iter()
        .filter_map(|entry| Some((entry.path.as_path(), entry.group.as_ref()?)))
        .collect();
    let tests = data
        .leaks
        .iter()
        .filter(|leak| leak.part == Part::Test)
        .map(|leak| SplitRow {
            path: names::of_path(&leak.path),
            label: labels.get(&leak.class).copied().unwrap_or_default(),
            class: leak.class.clone(),
            split: Part::Test.name().to_owned(),
            group: groups
                .get(leak.path.as_path())
                .map_or_else(String::new, |group| (*group).clone()),
            blake3: hex(&leak.digest),
            weight: 1.0,
            copy_of: copy_of(leak),
        });
    rows.extend(tests);
    rows
}

/// Whether the phases differ in the number of epochs of the last one only.
fn differ_in_length(old: &Config, new: &Config) -> bool {
    let mut phases = new.train.phases.clone();
    match (phases.last_mut(), old.train.phases.last()) {
        (Some(last), Some(old)) => last.epochs = old.epochs,
        _ => return false,
    }
    phases == old.train.phases
}

/// Checks that the configuration `new` of a resume computes the same as that of the run, `old`.
///
/// # Errors
/// Returns [`TrainError::Changed`] for the first key that a resume may not change.
pub fn refuse_changes(old: &Config, new: &Config) -> Result<(), TrainError> {
    // A share changes the split; where a part lies doesn't.
    let is_no_share = |key: &str| {
        let sources = |data: &Data| {
            if key == "data.test" {
                data.test.clone()
            } else {
                Some(data.validation.clone())
            }
        };
        [old, new]
            .into_iter()
            .filter_map(|config| sources(&config.data))
            .all(|source| source.share().is_none())
    };
    let may_change = |key: &str| {
        let must_stay = || {
            MUST_STAY.iter().any(|fixed| {
                key == *fixed
                    || key
                        .strip_prefix(fixed)
                        .is_some_and(|rest| rest.starts_with('.'))
            })
        };
        MAY_CHANGE.contains(&key)
            || key == "train.phases" && differ_in_length(old, new)
            || key.starts_with("data.") && !must_stay()
            || ["data.validation", "data.test"].contains(&key) && is_no_share(key)
    };
    match changed_keys(old, new)
        .into_iter()
        .find(|(key, ..)| !may_change(key))
    {
        None => Ok(()),
        Some((key, old, new)) => Err(TrainError::Changed {
            what: "the configuration",
            detail: format!("{key} was {old} and is {new}"),
            hint: format!(
                "a resume may change {}, where the data is and how it is cached, and the epochs of \
                 the last phase; start a new run for the rest",
                MAY_CHANGE.join(", ")
            ),
        }),
    }
}

/// Describes where a resume with more or fewer epochs makes the learning rate jump. `images` is
/// the number of training images.
pub(in crate::train) fn jump(state: &State, config: &Config, images: usize) -> Option<String> {
    let (schedule, index) = (&config.train.schedule, state.phase.index);
    let name = match schedule {
        Schedule::Cosine { .. } => "cosine",
        Schedule::OneCycle { .. } => "one-cycle",
        // The other schedules don't depend on the length of the phase.
        _ => return None,
    };
    let [before, now] = [
        state.config.phases().get(index)?.epochs,
        config.phases().get(index)?.epochs,
    ];
    let steps_per_epoch = images
        .div_ceil(config.train.batch_size)
        .div_ceil(config.train.accumulate);
    let rate = |step, epochs| {
        learning_rate(
            schedule,
            state.plateau.learning_rate,
            Progress {
                step,
                steps_per_epoch,
                epochs,
                asked: epochs,
            },
        )
    };
    let next = state.step - state.phase.first_step;
    let (last, planned, jumped) = (
        rate(next.checked_sub(1)?, before),
        rate(next, before),
        rate(next, now),
    );
    ((jumped - planned).abs() > 1e-9 * planned.abs().max(jumped.abs())).then(|| {
        format!(
            "warning: the learning rate jumps from {last:.3e} to {jumped:.3e}: the {name} schedule \
             now ends after {now} epochs, no longer after {before}"
        )
    })
}

/// The changes to the run's files after images were moved.
#[derive(Debug)]
pub(in crate::train) struct Moved {
    /// Content of `split.csv` with the new paths.
    pub(in crate::train) split: Vec<u8>,
    /// Message for the user.
    pub(in crate::train) words: String,
}

/// Checks that `data` has the images of the run in the folder `run`.
///
/// Images that were moved get the order and the parts that they had, so that every batch is the one
/// that it would have been; among images with equal pixels, paths and then order decide.
///
/// # Errors
/// Returns [`TrainError::Changed`] if the images, their labels or weights differ from the run's,
/// and an error if `split.csv` can't be read.
pub(in crate::train) fn follow_images(
    state: &mut State,
    data: &mut TrainingData,
    run: &Path,
) -> Result<Option<Moved>, TrainError> {
    let now = split_rows(data);
    if table::fingerprint(&now) == state.data_fingerprint {
        return Ok(None);
    }
    let changed = |detail: String| TrainError::Changed {
        what: "the data",
        detail,
        hint: "restore it, or start a new run".to_owned(),
    };
    let path = run.join("split.csv");
    let mut written = table::read_split(&path)?;
    let is_test = |row: &SplitRow| row.split == Part::Test.name();
    // The fingerprint covers training and validation images only.
    let before: Vec<_> = written
        .iter()
        .filter(|row| !is_test(row))
        .map(|row| SplitRow {
            copy_of: String::new(),
            ..row.clone()
        })
        .collect();
    if table::fingerprint(&before) != state.data_fingerprint {
        let detail = format!("{} isn't the one of the checkpoint", path.display());
        return Err(changed(detail));
    }
    let matched = Matched::of(&before, &now);
    let pairs: Vec<(&SplitRow, usize)> = before
        .iter()
        .zip(&matched.now)
        .filter_map(|(row, now)| Some((row, (*now)?)))
        .collect();
    let is_same = |(row, at): &(&SplitRow, usize)| {
        row.label == now[*at].label && row.weight.to_bits() == now[*at].weight.to_bits()
    };
    let num_moved = pairs
        .iter()
        .filter(|(row, at)| row.path != now[*at].path)
        .count();
    // `reorder` moves images between the two sets, which works only if both read one store.
    let share_a_store = Arc::ptr_eq(&data.train.store, &data.validation.store);
    if !(matched.is_whole() && num_moved > 0 && share_a_store && pairs.iter().all(is_same)) {
        return Err(changed(
            difference(&before, &now).unwrap_or_else(|| "its order".to_owned()),
        ));
    }
    let words = format!(
        "{num_moved} of {} images have moved; they are the same, and split.csv now says where they \
         are",
        pairs.len()
    );
    let tests = written.iter().filter(|row| is_test(row));
    let new_paths = new_paths(&pairs, &now, tests, &data.leaks);
    reorder(data, &pairs);
    rename(&mut written, &new_paths);
    state.data_fingerprint = table::fingerprint(&split_rows(data));
    Ok(Some(Moved {
        split: table::to_csv(&written),
        words,
    }))
}

/// Returns the new path of each old one; of test images, only those that were found again.
fn new_paths<'a>(
    pairs: &[(&SplitRow, usize)],
    now: &[SplitRow],
    tests: impl Iterator<Item = &'a SplitRow>,
    leaks: &[Leak],
) -> BTreeMap<String, String> {
    let mut places: BTreeMap<(String, String), VecDeque<String>> = BTreeMap::new();
    for leak in leaks.iter().filter(|leak| leak.part == Part::Test) {
        places
            .entry((leak.class.clone(), hex(&leak.digest)))
            .or_default()
            .push_back(names::of_path(&leak.path));
    }
    let test = |row: &SplitRow| {
        Some((
            row.path.clone(),
            places
                .get_mut(&(row.class.clone(), row.blake3.clone()))?
                .pop_front()?,
        ))
    };
    pairs
        .iter()
        .map(|(row, at)| (row.path.clone(), now[*at].path.clone()))
        .chain(tests.filter_map(test))
        .collect()
}

/// Replaces the paths in rows by the new ones, where there are any.
fn rename(rows: &mut [SplitRow], new_paths: &BTreeMap<String, String>) {
    for row in rows {
        for path in [&mut row.path, &mut row.copy_of] {
            if let Some(new) = new_paths.get(path) {
                path.clone_from(new);
            }
        }
    }
}

/// Puts the images of `data` into the order and the parts of the rows. Each row comes with the
/// position of its image in training and validation set together.
fn reorder(data: &mut TrainingData, pairs: &[(&SplitRow, usize)]) {
    let all: Vec<Image> = data
        .train
        .images
        .iter()
        .chain(&data.validation.images)
        .cloned()
        .collect();
    let set = |part: Part| {
        let of_part = pairs.iter().filter(|(row, _)| row.split == part.name());
        let image = |(row, at): &(&SplitRow, usize)| Image {
            group: Some(row.group.clone()).filter(|group| !group.is_empty()),
            ..all[*at].clone()
        };
        Arc::new(ImageSet {
            images: of_part.map(image).collect(),
            classes: Arc::clone(&data.classes),
            store: Arc::clone(&data.train.store),
        })
    };
    (data.train, data.validation) = (set(Part::Train), set(Part::Validation));
}
