//! Turns `[data]` into the sets of a run: lists, reads, splits and checks the images. Refuses data
//! that can't be trained on, with the reason.

use std::sync::Arc;

use super::{
    batches::dataset::ImageSet,
    checks::{self, Outcome},
    duplicates::{
        leaks::{self, Leak},
        scan::{Scan, ScannedImage},
    },
    error::DataError,
    held::{Dealt, Held},
    listing::{Entry, Part},
    parts::Parts,
    pixels::image_stats::ImageStats,
    table::{Damaged, Skipped},
};
use crate::{
    config::{Cache, Data, OnBadImage, OnLeak, Source},
    data::entries::{Loaded, read_entries},
};

/// The data of a run. Test images are decoded for the scan of all images only; their pixels aren't
/// kept.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Class names; a label is an index into them.
    pub classes: Arc<Vec<String>>,
    /// The training set.
    pub train: Arc<ImageSet>,
    /// The validation set.
    pub validation: Arc<ImageSet>,
    /// The test images that can be read; empty if there is no test set.
    pub test: Vec<Entry>,
    /// Validation and test images that can be read and weren't left out, with what they are copies
    /// of.
    pub leaks: Vec<Leak>,
    /// Positions in the scan, rising, of the training and validation images that were left out as
    /// copies.
    pub excluded: Vec<usize>,
    /// Positions in the scan, rising, of the training images beyond `train.fraction`.
    pub unused: Vec<usize>,
    /// Files of all parts that can't be opened or decoded.
    pub skipped: Vec<Skipped>,
    /// Images of all parts whose files are damaged and could be read nevertheless.
    pub damaged: Vec<Damaged>,
    /// The scan of all images. Callers may take it to free its memory once the findings are made.
    pub survey: Scan,
    /// A warning about a pattern of `data.exclude` that nothing matches.
    pub without_effect: Option<String>,
}

/// Number of images from which on their statistics are kept on disk.
const MANY: usize = 500;

impl TrainingData {
    /// Returns the scanned images of [`Self::train`], then of [`Self::validation`]. There are none
    /// once the scan has been taken.
    pub fn known(&self) -> impl Iterator<Item = &ScannedImage> {
        let is_in = move |part: Part| {
            move |(index, seen): &(usize, &ScannedImage)| seen.part == part && self.is_used(*index)
        };
        let of = move |part| {
            self.survey
                .seen
                .iter()
                .enumerate()
                .filter(is_in(part))
                .map(|(_, seen)| seen)
        };
        of(Part::Train).chain(of(Part::Validation))
    }
}

/// Lists, reads and splits the images of a run. `start` is called with the number of images to
/// read, `done` with the number that were read since the last call, from any thread.
///
/// # Errors
/// Returns [`DataError`] if the data can't be listed, read or trained on.
pub fn load_for_training(
    data: &Data,
    seed: u64,
    start: &dyn Fn(usize),
    done: &(dyn Fn(usize) + Sync),
) -> Result<TrainingData, DataError> {
    let read = AllRead::of(data, start, done)?;
    let mut survey = read.survey();
    let validation = data.validation.share();
    let shares = [
        (Part::Test, data.test.as_ref().and_then(Source::share)),
        (
            Part::Validation,
            validation.filter(|_| read.parts.validation.is_empty()),
        ),
    ];
    // Test images first: the rest is split as if they had never been there.
    let held: Vec<Held> = shares
        .into_iter()
        .filter_map(|(part, share)| Some((part, share?)))
        .map(|(part, share)| Held::back(part, share, &read.loaded, &mut survey, seed))
        .collect();
    read.split(data, survey, &held)
}

/// Lists and reads the images of a cross-validation once and returns the data of each fold, in
/// which it is the validation set. Training and validation images are dealt together, in the same
/// way wherever they lie. `start` and `done` are those of [`load_for_training`].
///
/// # Errors
/// Returns [`DataError`] if the data can't be listed, read, or trained on in each fold.
pub fn load_folds(
    data: &Data,
    (count, seed): (usize, u64),
    start: &dyn Fn(usize),
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<TrainingData>, DataError> {
    let read = AllRead::of(data, start, done)?;
    let mut survey = read.survey();
    let pooled = survey.seen[..read.loaded.images.len()].iter_mut();
    pooled.for_each(|seen| seen.part = Part::Train);
    let test = data.test.as_ref().and_then(Source::share);
    let test = test.map(|share| Held::back(Part::Test, share, &read.loaded, &mut survey, seed));
    let dealt = Dealt::new(count, &read.loaded, &survey, seed);
    let of_fold = |fold| {
        let mut survey = survey.clone();
        let validation = dealt.hold_back(fold, &mut survey);
        let held: Vec<Held> = test.iter().cloned().chain([validation]).collect();
        read.split(data, survey, &held)
    };
    (0..count).map(of_fold).collect()
}

/// The images of a recipe before they are split.
struct AllRead {
    parts: Parts,
    classes: Arc<Vec<String>>,
    /// Training and validation images.
    loaded: Loaded,
    /// Statistics of the test images.
    tests: Loaded,
}

impl AllRead {
    /// Lists and reads the images.
    fn of(
        data: &Data,
        start: &dyn Fn(usize),
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, DataError> {
        let parts = Parts::of(data)?;
        // What the listing shows is reported before minutes of decoding.
        checks::listed(&parts, data)?;
        if data.on_bad_image == OnBadImage::Error {
            checks::opened(&parts.unopened)?;
        }
        start(parts.train.len() + parts.validation.len() + parts.test.len());
        let classes = Arc::new(parts.classes.clone());
        let loaded = read_entries(&parts.known(), &classes, data, done)?;
        // Test images are decoded for the findings only; none of their pixels may reach training.
        let tests = glance_at(&parts.test.iter().collect::<Vec<_>>(), &classes, data, done)?;
        Ok(Self {
            parts,
            classes,
            loaded,
            tests,
        })
    }

    /// Returns the scan of all images, with the parts as listed.
    fn survey(&self) -> Scan {
        self.parts.survey(&self.loaded, &self.tests)
    }

    /// Returns the sets by the parts in `survey`, some of which took the training images `held`.
    fn split(
        &self,
        data: &Data,
        mut survey: Scan,
        held: &[Held],
    ) -> Result<TrainingData, DataError> {
        let Self {
            parts,
            classes,
            loaded,
            tests,
        } = self;
        // After the split, so that copies across training and validation count too.
        let excluded = if data.on_leak == OnLeak::Exclude {
            leaks::to_exclude(&survey)
        } else {
            Vec::new()
        };
        let leaks = leaks::find(&survey, &excluded);
        leaks::check(&leaks, data.on_leak)?;
        let set = |wanted| {
            let is_in = |index: &usize| {
                survey.seen[*index].part == wanted && excluded.binary_search(index).is_err()
            };
            loaded.set(classes, (0..loaded.images.len()).filter(is_in))
        };
        let (train, validation) = (set(Part::Train), set(Part::Validation));
        let test = test_entries(parts, tests, &survey.seen[..loaded.images.len()]);
        let mut copies = vec![0; classes.len()];
        for index in &excluded {
            let (entry, image) = &loaded.images[*index];
            copies[image.label] += usize::from(*entry < parts.train.len());
        }
        let (skipped, damaged) = (survey.unreadable.clone(), survey.damaged());
        let outcome = Outcome {
            data,
            train: &train,
            validation: &validation,
            test: &test,
            skipped: &skipped,
            copies,
            copies_of_validation: excluded
                .iter()
                .filter(|index| survey.seen[**index].part == Part::Validation)
                .count(),
            held,
        };
        outcome.check()?;
        survey.notes.extend(outcome.weightless());
        Ok(TrainingData {
            classes: Arc::clone(classes),
            train,
            validation,
            test,
            leaks,
            excluded,
            unused: Vec::new(),
            skipped,
            damaged,
            survey,
            without_effect: parts.exclude.without_effect(),
        })
    }
}

/// Returns the test images that can be read: those that are listed, then those that were held out
/// from the `known` images.
fn test_entries(parts: &Parts, tests: &Loaded, known: &[ScannedImage]) -> Vec<Entry> {
    let listed = tests.images.iter().map(|(index, _)| &parts.test[*index]);
    let held_out = known.iter().filter(|seen| seen.part == Part::Test);
    listed
        .chain(held_out.map(|seen| &seen.entry))
        .cloned()
        .collect()
}

/// All images of a recipe, with their pixels.
#[derive(Debug)]
pub struct Scanned {
    /// The scan of the images. Nothing is held back from the training source.
    pub survey: Scan,
    /// The same images in two sets: training and validation images, and test images.
    pub sets: [Arc<ImageSet>; 2],
}

/// Lists and reads all images of a recipe in the way of training and evaluation, so that they use
/// the same cache. If `data.image_size` is one pixel, only the statistics are computed. `start` is
/// called with the number of images to read, `done` with the number that were read since the last
/// call.
///
/// # Errors
/// Returns [`DataError`] if the data can't be listed, if a pattern of `data.exclude` matches
/// nothing, or if the cache can't be written.
pub fn survey(
    data: &Data,
    start: &dyn Fn(usize),
    done: &(dyn Fn(usize) + Sync),
) -> Result<Scanned, DataError> {
    let parts = Parts::of(data)?;
    parts
        .exclude
        .without_effect()
        .map_or(Ok(()), |words| Err(DataError::Classes(words)))?;
    start(parts.train.len() + parts.validation.len() + parts.test.len());
    let classes = Arc::new(parts.classes.clone());
    let all = Data {
        on_bad_image: lenient(data.on_bad_image),
        ..data.clone()
    };
    let read = if data.image_size == [1, 1] {
        glance_at
    } else {
        read_entries
    };
    let known = read(&parts.known(), &classes, &all, done)?;
    let tests = read(&parts.test.iter().collect::<Vec<_>>(), &classes, &all, done)?;
    let survey = parts.survey(&known, &tests);
    let set = |loaded: Loaded| {
        let images = loaded.images.into_iter().map(|(_, image)| image).collect();
        Arc::new(ImageSet {
            classes: Arc::clone(&classes),
            images,
            store: loaded.store,
        })
    };
    Ok(Scanned {
        survey,
        sets: [set(known), set(tests)],
    })
}

/// Returns the same setting, with skipping instead of ending at the first bad image.
fn lenient(on_bad_image: OnBadImage) -> OnBadImage {
    if on_bad_image == OnBadImage::Error {
        OnBadImage::Skip
    } else {
        on_bad_image
    }
}

/// Listed images that were read.
#[derive(Debug)]
pub struct Listed {
    /// The images that can be decoded.
    pub set: Arc<ImageSet>,
    /// Statistics of each image, in the order of the set.
    pub facts: Vec<Arc<ImageStats>>,
    /// The files that can't be decoded.
    pub skipped: Vec<Skipped>,
}

impl Listed {
    /// Returns the images whose files are damaged and could be read nevertheless.
    pub fn damaged(&self) -> Vec<Damaged> {
        let images = self.set.images.iter().zip(&self.facts);
        images
            .filter_map(|(image, facts)| {
                Damaged::of(facts, &image.path, None, &self.set.classes[image.label])
            })
            .collect()
    }
}

/// Reads listed images of known classes into a set. `done` is called with the number of images that
/// were read since the last call.
///
/// # Errors
/// Returns an error for an unknown class, for a bad image if the configuration says so, and if the
/// cache can't be written.
pub fn load_listed(
    entries: &[Entry],
    classes: &Arc<Vec<String>>,
    data: &Data,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Listed, DataError> {
    let Loaded {
        store,
        images,
        facts,
        skipped,
    } = read_entries(&entries.iter().collect::<Vec<_>>(), classes, data, done)?;
    let images = images.into_iter().map(|(_, image)| image).collect();
    let skipped = skipped.into_iter().map(|(_, skipped)| skipped).collect();
    Ok(Listed {
        set: Arc::new(ImageSet {
            classes: Arc::clone(classes),
            images,
            store,
        }),
        facts,
        skipped,
    })
}

/// Computes the statistics of images without keeping their pixels, which are resized to a single
/// one. The statistics of many images are kept in the cache folder if the recipe allows it and the
/// folder can be written.
fn glance_at(
    entries: &[&Entry],
    classes: &[String],
    data: &Data,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Loaded, DataError> {
    let glance = |cache| Data {
        image_size: [1, 1],
        cache,
        ..data.clone()
    };
    if entries.len() >= MANY
        && matches!(data.cache, Cache::Auto | Cache::Disk)
        && let Ok(loaded) = read_entries(entries, classes, &glance(Cache::Disk), done)
    {
        return Ok(loaded);
    }
    read_entries(entries, classes, &glance(Cache::Off), done)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::data::table::Failure;

    /// Returns a folder of class folders with `count` distinct images each.
    fn folder(classes: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (class_index, (class, count)) in classes.iter().enumerate() {
            std::fs::create_dir_all(folder.path().join(class)).expect("created");
            for index in 0..*count {
                let pixel = |x: u32, y: u32| {
                    image::Luma([(x * 7 + y * 3) as u8 ^ (class_index * 40 + index) as u8])
                };
                image::GrayImage::from_fn(12, 9, pixel)
                    .save(folder.path().join(class).join(format!("{index:02}.png")))
                    .expect("written");
            }
        }
        folder
    }

    fn data(train: &Path, more: &str) -> Data {
        toml::from_str(&format!(
            "train = '{}'\nimage_size = [8, 10]\ncolor = 'grayscale'\n{more}",
            train.display()
        ))
        .expect("parsed")
    }

    fn load(data: &Data) -> Result<TrainingData, DataError> {
        load_for_training(data, 42, &|_| {}, &|_| {})
    }

    #[test]
    fn training_and_validation_share_every_image_between_them() {
        let folder = folder(&[("a", 20), ("b", 10)]);
        let loaded = load(&data(folder.path(), "")).expect("loaded");
        assert_eq!(loaded.train.class_counts(), [16, 8]);
        assert_eq!(loaded.validation.class_counts(), [4, 2]);
    }

    #[test]
    fn a_bad_image_is_skipped_with_its_reason_or_ends_the_run() {
        let folder = folder(&[("a", 5), ("b", 5)]);
        let bad = folder.path().join("a/zero.jpg");
        std::fs::write(&bad, b"").expect("written");
        let loaded = load(&data(folder.path(), "")).expect("loaded");
        let (path, reason) = (
            bad.display().to_string(),
            "the file is empty (0 bytes)".to_owned(),
        );
        assert_eq!(
            loaded.skipped,
            [Skipped {
                path,
                reason,
                split: "train",
                class: "a".to_owned(),
                failure: Failure::Decoding
            }]
        );
        assert_eq!(
            loaded.train.images.len() + loaded.validation.images.len(),
            10
        );
        let error = load(&data(folder.path(), "on_bad_image = 'error'"))
            .expect_err("stops")
            .to_string();
        assert!(
            error.contains("zero.jpg") && error.contains("empty"),
            "{error}"
        );
    }

    #[test]
    fn data_that_cannot_be_trained_on_says_what_was_found_and_what_to_do() {
        let single = folder(&[("a", 5)]);
        let hollow = folder(&[("a", 5), ("b", 0)]);
        let broken = folder(&[("a", 5), ("b", 0)]);
        std::fs::write(broken.path().join("b/text.jpg"), b"hello").expect("written");
        let good = folder(&[("a", 5), ("b", 5)]);
        let strange = folder(&[("a", 1), ("c", 1)]);
        let few = folder(&[("a", 1), ("b", 1)]);
        let test = format!("test = '{}'", strange.path().display());
        let validation = format!("validation = '{}'", strange.path().display());
        let missing = good.path().join("nowhere");
        let cases = [
            (data(single.path(), ""), "found the one class a"),
            (data(hollow.path(), ""), "no training image of the class b"),
            (
                data(broken.path(), ""),
                "text.jpg: the content isn't a known image format",
            ),
            (
                data(good.path(), &test),
                "found the test class c that training doesn't know",
            ),
            (
                data(good.path(), &validation),
                "found the validation class c that training doesn't know",
            ),
            (data(&missing, ""), "found no folder of class folders"),
            (data(few.path(), ""), "found no validation images"),
        ];
        for (data, expected) in cases {
            let error = load(&data).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Checks that data is refused with these words, and that only they have an advice on shares.
    fn check_refused(data: &Data, expected: &str) {
        let error = load(data).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        for advice in ["too few", "smaller"] {
            assert_eq!(error.contains(advice), expected.contains(advice), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_in_folders_is_told_by_its_cause() {
        let good = folder(&[("a", 12), ("b", 12)]);
        let strange = folder(&[("a", 1), ("b", 1)]);
        for class in ["a", "b"] {
            std::fs::write(strange.path().join(class).join("00.png"), b"nope").expect("written");
        }
        let hollow = folder(&[("a", 0), ("b", 0)]);
        let held = folder(&[("a", 12), ("b", 1)]);
        let validation = |folder: &Path| format!("validation = '{}'", folder.display());
        let copies = format!("test = '{}'\non_leak = 'exclude'", good.path().display());
        check_refused(
            &data(good.path(), "validation = 0.01"),
            "; 24 images are too few for that share: make data.validation larger or name a folder",
        );
        check_refused(
            &data(good.path(), &validation(strange.path())),
            ": none of the 2 validation images can be read; the first: ",
        );
        check_refused(
            &data(good.path(), &validation(hollow.path())),
            ": there is no image in the class folders of ",
        );
        check_refused(
            &data(good.path(), &copies),
            "one or more: 12 are copies of test or validation images and left out \
             (data.on_leak = \"exclude\")",
        );
        check_refused(
            &data(held.path(), "validation = 0.7"),
            "class b left to train on, expected one or more: 1 are held back for validation: make \
             data.validation smaller",
        );
    }

    #[test]
    fn what_is_wrong_in_lists_is_told_by_its_cause() {
        let good = folder(&[("a", 12), ("b", 12)]);
        let csv = |name: &str, line: &dyn Fn(&str, usize) -> String| {
            let lines: String = ["a", "b"]
                .iter()
                .flat_map(|class| (0..12).map(move |index| (*class, index)))
                .map(|(class, index)| line(class, index))
                .collect();
            let path = good.path().join(name);
            std::fs::write(&path, format!("path,label,group,weight,split\n{lines}"))
                .expect("written");
            path
        };
        let one_group = csv("one.csv", &|class, index| {
            format!("{class}/{index:02}.png,{class},p,1,\n")
        });
        check_refused(
            &data(&one_group, ""),
            ": all 24 images are of one group, p; what belongs together stays on one side",
        );
        let two_groups = csv("two.csv", &|class, index| {
            format!("{class}/{index:02}.png,{class},{class},1,\n")
        });
        check_refused(
            &data(&two_groups, ""),
            ": the 24 images lie in 2 sets of groups and copies, of 12 images or more, where 4 \
             were wanted in all",
        );
        let weightless = csv("zero.csv", &|class, index| {
            format!("{class}/{index:02}.png,{class},,0,\n")
        });
        check_refused(
            &data(&weightless, ""),
            "no training image has a weight above 0",
        );
        let gone = csv("gone.csv", &|class, index| {
            let more = if class == "b" { "x" } else { "" };
            format!("{class}/{index:02}.png{more},{class},,,train\n")
        });
        check_refused(
            &data(&gone, ""),
            "found no training image of the class b in ",
        );
        check_refused(&data(&gone, ""), ": 12 files can't be read; the first: ");
    }

    #[test]
    fn a_class_without_weight_is_told() {
        let folder = folder(&[("a", 6), ("b", 6)]);
        let csv = folder.path().join("list.csv");
        let lines: String = (0..6)
            .map(|index| format!("a/{index:02}.png,a,0\nb/{index:02}.png,b,1\n"))
            .collect();
        std::fs::write(&csv, format!("path,label,weight\n{lines}")).expect("written");
        let loaded = load(&data(&csv, "")).expect("loaded");
        assert_eq!(
            loaded.survey.notes,
            ["warning: all training images of the class a have the weight 0: it isn't learned"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_for_every_part_before_training() {
        let (train, test) = (folder(&[("a", 5), ("b", 5)]), folder(&[("a", 3), ("b", 3)]));
        std::fs::write(test.path().join("a/bad.png"), b"nope").expect("written");
        std::fs::write(train.path().join("b/bad.png"), b"nope").expect("written");
        let csv = train.path().join("list.csv");
        let listed: String = ["a", "b"]
            .iter()
            .map(|class| {
                (0..6)
                    .map(|index| format!("{class}/{index:02}.png,{class}\n"))
                    .collect::<String>()
            })
            .collect();
        std::fs::write(&csv, format!("path,label\n{listed}b/bad.png,b\n")).expect("written");
        let more = format!("test = '{}'", test.path().display());
        let loaded = load(&data(&csv, &more)).expect("loaded");
        let found: Vec<_> = loaded
            .skipped
            .iter()
            .map(|file| (file.split, file.class.as_str(), file.failure))
            .collect();
        let expected = [
            ("train", "a", Failure::Opening),
            ("train", "b", Failure::Opening),
            ("train", "b", Failure::Decoding),
            ("test", "a", Failure::Decoding),
        ];
        assert_eq!(found, expected);
        assert_eq!(loaded.test.len(), 6, "those that can be read");
        let words = Skipped::words(&loaded.skipped);
        assert!(
            words[0].starts_with("2 files can't be opened and are skipped; the first 2: ")
                && words[0].contains("a/05.png: not there ("),
            "{words:?}"
        );
        assert!(
            words[1].starts_with(
                "2 images can't be decoded and are skipped (1 train, 1 test); the first: "
            ),
            "{words:?}"
        );
        let error = load(&data(&csv, "on_bad_image = 'error'"))
            .expect_err("stops")
            .to_string();
        assert!(
            error.starts_with("2 files can't be opened: ")
                && error.contains("data.on_bad_image = \"skip\""),
            "{error}"
        );
        let error = load(&data(
            train.path(),
            &format!("{more}\non_bad_image = 'error'"),
        ))
        .expect_err("stops")
        .to_string();
        assert!(error.contains("can't decode an image"), "{error}");
    }

    #[test]
    fn a_pattern_without_effect_is_told() {
        let folder = folder(&[("a", 5), ("b", 5), ("drafts", 2)]);
        let loaded =
            load(&data(folder.path(), "exclude = ['drafts', 'a/00.png']")).expect("loaded");
        assert_eq!(
            (
                loaded.classes.len(),
                loaded.train.images.len() + loaded.validation.images.len()
            ),
            (2, 9)
        );
        assert_eq!(loaded.without_effect, None);
        let other = data(folder.path(), "exclude = ['drafts', 'c/*']");
        let words = load(&other)
            .expect("loaded")
            .without_effect
            .expect("unused");
        assert!(words.contains("`c/*` has no effect"), "{words}");
        assert_eq!(
            survey(&other, &|_| {}, &|_| {})
                .expect_err("unused")
                .to_string(),
            words
        );
    }

    #[test]
    fn a_test_share_that_leaves_too_little_is_refused() {
        let folder = folder(&[("a", 12), ("b", 1)]);
        for (keys, expected) in [
            (
                "test = 0.01",
                "found no test images, expected one or more; 13 images are too few for that share: \
                 make data.test larger or name a folder",
            ),
            (
                "test = 0.7\nvalidation = 0.1",
                "class b left to train on, expected one or more: 1 are held out for the test: make \
                 data.test smaller",
            ),
        ] {
            let error = load(&data(folder.path(), keys))
                .expect_err(expected)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_test_share_is_held_out_first() {
        let folder = folder(&[("a", 20), ("b", 40)]);
        // A copy stays beside its original.
        for copy in 0..10 {
            let original = folder.path().join(format!("b/{copy:02}.png"));
            std::fs::copy(original, folder.path().join(format!("b/copy{copy}.png")))
                .expect("copied");
        }
        let loaded = load(&data(folder.path(), "test = 0.25\nvalidation = 0.4")).expect("loaded");
        let digests = |set: &ImageSet| {
            set.images
                .iter()
                .map(|image| image.digest)
                .collect::<BTreeSet<_>>()
        };
        let of_test: BTreeSet<_> = loaded
            .leaks
            .iter()
            .filter(|leak| leak.part == Part::Test)
            .map(|leak| leak.digest)
            .collect();
        let (train, validation) = (digests(&loaded.train), digests(&loaded.validation));
        assert!(
            of_test.is_disjoint(&train)
                && of_test.is_disjoint(&validation)
                && train.is_disjoint(&validation)
        );
        let of_class = |class: &str| {
            loaded
                .test
                .iter()
                .filter(|entry| entry.class == class)
                .count()
        };
        assert_eq!(
            (
                of_class("a"),
                loaded.validation.class_counts()[0],
                loaded.train.class_counts()[0]
            ),
            (5, 6, 9)
        );
        assert_eq!(
            loaded.train.images.len() + loaded.validation.images.len() + loaded.test.len(),
            70
        );
        // Validation images of their own leave the share of the training images as it is.
        let own = format!("test = 0.25\nvalidation = '{}'", folder.path().display());
        let apart = load(&data(folder.path(), &own)).expect("loaded");
        let paths = |loaded: &TrainingData| {
            loaded
                .test
                .iter()
                .map(|entry| entry.path.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (paths(&apart), apart.validation.images.len()),
            (paths(&loaded), 70)
        );
    }

    #[test]
    fn a_csv_brings_its_own_splits() {
        let folder = folder(&[("a", 3), ("b", 3)]);
        let csv = folder.path().join("list.csv");
        let lines = [
            "a/00.png,x,train",
            "a/01.png,x,val",
            "b/00.png,y,train",
            "b/01.png,y,val",
            "b/02.png,y,test",
        ];
        std::fs::write(&csv, format!("path,label,split\n{}\n", lines.join("\n"))).expect("written");
        let loaded = load(&data(&csv, "")).expect("loaded");
        assert_eq!(
            (
                loaded.train.images.len(),
                loaded.validation.images.len(),
                loaded.test.len()
            ),
            (2, 2, 1)
        );
        assert_eq!(*loaded.classes, ["x", "y"]);
        let twice = data(&csv, &format!("test = '{}'", folder.path().display()));
        assert!(
            load(&twice)
                .expect_err("two test sets")
                .to_string()
                .contains("test images twice")
        );
        let error = load(&data(&csv, "test = 0.2"))
            .expect_err("two test sets")
            .to_string();
        assert!(
            error.contains("test images twice: 1 lines of") && error.contains("data.test = 0.2"),
            "{error}"
        );
    }
}
