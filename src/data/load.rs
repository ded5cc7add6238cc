//! `[data]` in, the sets of a run out: listed, read, split, checked. What can't be used is named.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DataError,
    dataset::{Picture, PictureSet},
    facts::Facts,
    leaks::{self, Leak},
    listing::{Entry, Listing, Part, list},
    phantom,
    pictures::{Format, Keep, Read, Store, read},
    split::{Member, hold_back},
    survey::{Seen, Survey},
    table::Skipped,
};
use crate::config::{Cache, Data, OnBadImage, OnLeak, PHANTOM, Validation};

/// Everything that training looks at. Test pictures are listed, and opened for what is said of all pictures beforehand; none of their pixels is kept.
#[derive(Debug)]
pub struct TrainingData {
    /// Class names; a label is an index into them.
    pub classes: Arc<Vec<String>>,
    /// Trained on.
    pub train: Arc<PictureSet>,
    /// Looked at after each epoch.
    pub validation: Arc<PictureSet>,
    /// Held out, unopened; empty where there is no test set.
    pub test: Vec<Entry>,
    /// Validation and test pictures that can be read and weren't left out, each with its copy among those that are known by then, if there is one.
    pub leaks: Vec<Leak>,
    /// Positions in the survey of the training and validation pictures that were left out for being copies, rising.
    pub excluded: Vec<usize>,
    /// Training and validation pictures that couldn't be decoded.
    pub skipped: Vec<Skipped>,
    /// What there is to say of all pictures; taken by who says it.
    pub survey: Survey,
}

impl TrainingData {
    /// What was seen of the pictures of the two sets, as long as the survey isn't taken: of [`Self::train`], then of [`Self::validation`].
    pub fn known(&self) -> impl Iterator<Item = &Seen> {
        let is_in =
            move |part: Part| move |(index, seen): &(usize, &Seen)| seen.part == part && self.excluded.binary_search(index).is_err();
        let of = move |part| self.survey.seen.iter().enumerate().filter(is_in(part)).map(|(_, seen)| seen);
        of(Part::Train).chain(of(Part::Validation))
    }
}

/// Where the parts of a recipe's data come from.
struct Sources {
    train: PathBuf,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
}

impl Sources {
    fn of(data: &Data) -> Result<Self, DataError> {
        let validation = match &data.validation {
            Validation::Share(_) => None,
            Validation::Path(path) => Some(PathBuf::from(path)),
        };
        if data.train == PHANTOM {
            let [train, test] = phantom::draw_set()?;
            return Ok(Self { train, validation, test: Some(test) });
        }
        Ok(Self { train: PathBuf::from(&data.train), validation, test: data.test.as_ref().map(PathBuf::from) })
    }
}

/// The listed, unread parts.
struct Parts {
    classes: Vec<String>,
    train: Vec<Entry>,
    validation: Vec<Entry>,
    test: Vec<Entry>,
    passed_over: Vec<String>,
}

impl Parts {
    fn of(data: &Data) -> Result<Self, DataError> {
        let sources = Sources::of(data)?;
        let listing = list(&sources.train)?;
        let mut passed_over = listing.passed_over_words(&sources.train);
        let part = |part| listing.entries.iter().filter(move |entry| entry.split.unwrap_or(Part::Train) == part).cloned().collect();
        let (train, mut validation, mut test): (Vec<_>, Vec<_>, Vec<_>) = (part(Part::Train), part(Part::Validation), part(Part::Test));
        for (path, into, what) in [(&sources.validation, &mut validation, "validation"), (&sources.test, &mut test, "test")] {
            let Some(path) = path else { continue };
            if !into.is_empty() {
                return Err(DataError::Classes(format!(
                    "found {what} pictures twice: {} lines of {} and data.{what} = \"{}\"; take one of them out",
                    into.len(),
                    sources.train.display(),
                    path.display()
                )));
            }
            let other = list(path)?;
            check_known(&other, &listing.classes, path, what)?;
            passed_over.extend(other.passed_over_words(path));
            into.extend(other.entries);
        }
        let mut parts = Self { classes: listing.classes, train, validation, test, passed_over };
        parts.group_by_name(data)?;
        Ok(parts)
    }

    /// What training reads.
    fn known(&self) -> Vec<&Entry> {
        self.train.iter().chain(&self.validation).collect()
    }

    /// What there is to say of [`Self::known`] and the test pictures.
    fn survey(&self, known: &Loaded, tests: &Loaded) -> Survey {
        let entries = self.known();
        let part = |index: usize| if index < self.train.len() { Part::Train } else { Part::Validation };
        let seen = |entry: &Entry, part: Part, facts: &Arc<Facts>| Seen { entry: entry.clone(), part, facts: Arc::clone(facts) };
        let of_known = known.pictures.iter().zip(&known.facts).map(|((index, _), facts)| seen(entries[*index], part(*index), facts));
        let of_tests = tests.pictures.iter().zip(&tests.facts).map(|((index, _), facts)| seen(&self.test[*index], Part::Test, facts));
        let unreadable = [known.skipped.clone(), tests.skipped.clone()].concat();
        Survey::new(of_known.chain(of_tests).collect(), unreadable, self.passed_over.clone())
    }

    /// Gives pictures without a group the one that their name tells.
    fn group_by_name(&mut self, data: &Data) -> Result<(), DataError> {
        let Some(pattern) = data.group_pattern().map_err(DataError::Classes)? else { return Ok(()) };
        let mut first = None;
        let mut found = 0;
        for entry in [&mut self.train, &mut self.validation, &mut self.test].into_iter().flatten() {
            let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let group = pattern.captures(&name).and_then(|captures| captures.get(1)).map(|group| group.as_str().to_owned());
            found += usize::from(group.is_some());
            if entry.group.is_none() {
                entry.group = group;
            }
            first.get_or_insert(name);
        }
        if found > 0 {
            return Ok(());
        }
        let name = first.unwrap_or_default();
        Err(DataError::Classes(format!(
            "found no file that data.group = \"regex:{pattern}\" fits, expected some; the first file is {name}"
        )))
    }
}

fn check_known(other: &Listing, classes: &[String], path: &Path, what: &str) -> Result<(), DataError> {
    let unknown: Vec<_> = other.classes.iter().filter(|class| !classes.contains(class)).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(DataError::Classes(format!(
        "found the {what} class{} {} that training doesn't know, in {}; training knows {}; rename or remove {}",
        if unknown.len() == 1 { "" } else { "es" },
        unknown.join(", "),
        path.display(),
        classes.join(", "),
        if unknown.len() == 1 { "it" } else { "them" },
    )))
}

/// The test pictures of a recipe, listed only.
///
/// # Errors
/// [`DataError`] where the recipe's data isn't there.
pub fn test_listing(data: &Data) -> Result<Vec<Entry>, DataError> {
    Ok(Parts::of(data)?.test)
}

/// Lists, reads and splits what a run trains on. `start` hears how many pictures will be read, `done` how many more are.
///
/// # Errors
/// [`DataError`] for anything that can't be trained on, in words that say what to do.
pub fn load_for_training(data: &Data, seed: u64, start: &dyn Fn(usize), done: &(dyn Fn(usize) + Sync)) -> Result<TrainingData, DataError> {
    let parts = Parts::of(data)?;
    check_trainable(&parts, data)?;
    start(parts.train.len() + parts.validation.len() + parts.test.len());
    let classes = Arc::new(parts.classes.clone());
    let loaded = read_entries(&parts.known(), &classes, data, done)?;
    // Decoded as small as a picture gets, and forgotten: nobody looks at these pixels.
    let glance = Data { image_size: [1, 1], cache: Cache::Off, on_bad_image: OnBadImage::Skip, ..data.clone() };
    let tests = read_entries(&parts.test.iter().collect::<Vec<_>>(), &classes, &glance, done)?;
    let mut survey = parts.survey(&loaded, &tests);
    // Pictures keep their order; those from the training source come first.
    if let Validation::Share(share) = data.validation
        && parts.validation.is_empty()
    {
        let firsts = survey.firsts();
        let member = |((_, picture), first): (&(usize, Picture), &usize)| Member {
            class: picture.label,
            group: picture.group.clone(),
            digest: survey.seen[*first].facts.pixels,
        };
        let held = hold_back(&loaded.pictures.iter().zip(&firsts).map(member).collect::<Vec<_>>(), share, seed);
        let held = survey.seen.iter_mut().zip(held).filter(|(_, is_held)| *is_held);
        held.for_each(|(seen, _)| seen.part = Part::Validation);
    }
    let excluded = if data.on_leak == OnLeak::Exclude { leaks::to_exclude(&survey) } else { Vec::new() };
    let is_excluded = |index: usize| excluded.binary_search(&index).is_ok();
    let leaks = leaks::find(&survey, &excluded);
    leaks::check(&leaks, data.on_leak)?;
    let set = |wanted| {
        let of_part = (0..loaded.pictures.len()).filter(|index| survey.seen[*index].part == wanted && !is_excluded(*index));
        let pictures = of_part.map(|index| loaded.pictures[index].1.clone()).collect();
        Arc::new(PictureSet { classes: Arc::clone(&classes), pictures, store: Arc::clone(&loaded.store) })
    };
    let (train, validation) = (set(Part::Train), set(Part::Validation));
    check_filled(&train, &validation, &loaded.skipped)?;
    Ok(TrainingData { classes, train, validation, test: parts.test, leaks, excluded, skipped: loaded.skipped, survey })
}

/// All pictures of a recipe, with their pixels.
#[derive(Debug)]
pub struct Surveyed {
    /// What there is to say of them. Pictures that validation takes a share of are for training.
    pub survey: Survey,
    /// The same pictures, one set after the other: training and validation, test.
    pub sets: [Arc<PictureSet>; 2],
}

/// Lists and reads all pictures of a recipe, as training and evaluation do, so that they find the same cache. `start` hears how many
/// pictures will be read, `done` how many more are.
///
/// # Errors
/// [`DataError`] where the recipe's data isn't there, or the cache can't be written.
pub fn survey(data: &Data, start: &dyn Fn(usize), done: &(dyn Fn(usize) + Sync)) -> Result<Surveyed, DataError> {
    let parts = Parts::of(data)?;
    start(parts.train.len() + parts.validation.len() + parts.test.len());
    let classes = Arc::new(parts.classes.clone());
    let lenient = Data { on_bad_image: OnBadImage::Skip, ..data.clone() };
    let known = read_entries(&parts.known(), &classes, &lenient, done)?;
    let tests = read_entries(&parts.test.iter().collect::<Vec<_>>(), &classes, &lenient, done)?;
    let survey = parts.survey(&known, &tests);
    let set = |loaded: Loaded| {
        let pictures = loaded.pictures.into_iter().map(|(_, picture)| picture).collect();
        Arc::new(PictureSet { classes: Arc::clone(&classes), pictures, store: loaded.store })
    };
    Ok(Surveyed { survey, sets: [set(known), set(tests)] })
}

/// Listed pictures that were read.
#[derive(Debug)]
pub struct Listed {
    /// Those that can be decoded.
    pub set: Arc<PictureSet>,
    /// What was found of each, in the order of the set.
    pub facts: Vec<Arc<Facts>>,
    /// Those that can't.
    pub skipped: Vec<Skipped>,
}

/// Reads listed pictures, of classes that are known, into one set, and names those that couldn't be read.
///
/// # Errors
/// A bad picture where the configuration says so; a cache that can't be written.
pub fn load_listed(entries: &[Entry], classes: &Arc<Vec<String>>, data: &Data, done: &(dyn Fn(usize) + Sync)) -> Result<Listed, DataError> {
    let Loaded { store, pictures, facts, skipped } = read_entries(&entries.iter().collect::<Vec<_>>(), classes, data, done)?;
    let pictures = pictures.into_iter().map(|(_, picture)| picture).collect();
    Ok(Listed { set: Arc::new(PictureSet { classes: Arc::clone(classes), pictures, store }), facts, skipped })
}

struct Loaded {
    store: Arc<Store>,
    /// Each picture with its position among the entries.
    pictures: Vec<(usize, Picture)>,
    /// What was found of each.
    facts: Vec<Arc<Facts>>,
    skipped: Vec<Skipped>,
}

fn read_entries(entries: &[&Entry], classes: &[String], data: &Data, done: &(dyn Fn(usize) + Sync)) -> Result<Loaded, DataError> {
    let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_path()).collect();
    let keep = Keep { cache: data.cache, memory_mb: data.cache_memory_mb };
    let (store, reads) = read(&paths, Format::of(data), keep, done)?;
    let mut loaded = Loaded { store, pictures: Vec::new(), facts: Vec::new(), skipped: Vec::new() };
    for (index, (entry, read)) in entries.iter().zip(reads).enumerate() {
        let (path, group) = (entry.path.clone(), entry.group.clone());
        match read {
            Read::Good(facts) => {
                let label = classes.iter().position(|class| *class == entry.class).ok_or_else(|| {
                    DataError::Classes(format!(
                        "found the unknown class {}, expected one of {}: {}",
                        entry.class,
                        classes.join(", "),
                        path.display()
                    ))
                })?;
                loaded.pictures.push((index, Picture { path, label, group, weight: entry.weight, digest: facts.pixels, slot: index }));
                loaded.facts.push(facts);
            }
            Read::Bad(reason) if data.on_bad_image == OnBadImage::Error => return Err(DataError::Picture { path, reason }),
            Read::Bad(reason) => loaded.skipped.push(Skipped { path: path.display().to_string(), reason }),
        }
    }
    Ok(loaded)
}

fn check_trainable(parts: &Parts, data: &Data) -> Result<(), DataError> {
    let source = &data.train;
    if parts.classes.len() == 1 {
        return Err(DataError::Classes(format!(
            "found the one class {} in {source}, expected two or more; a class is a folder with pictures in it (in a CSV, a label)",
            parts.classes[0]
        )));
    }
    if let Some(class) = parts.classes.iter().find(|class| !parts.train.iter().any(|entry| entry.class == **class)) {
        return Err(DataError::Classes(format!(
            "found no training picture of the class {class} in {source}, expected one or more; add some or remove the class (picture files end in {})",
            super::listing::EXTENSIONS.join(", ")
        )));
    }
    Ok(())
}

/// Each class must still have a picture to train on, and validation must have any.
fn check_filled(train: &PictureSet, validation: &PictureSet, skipped: &[Skipped]) -> Result<(), DataError> {
    let counts = train.class_counts();
    if let Some(class) = counts.iter().position(|count| *count == 0) {
        let bad = skipped.first().map_or(String::new(), |first| {
            format!("; {} pictures can't be decoded, the first: {}: {}", skipped.len(), first.path, first.reason)
        });
        return Err(DataError::Classes(format!(
            "found no picture of the class {} left to train on, expected one or more; add pictures or make data.validation smaller{bad}",
            train.classes[class]
        )));
    }
    if validation.pictures.is_empty() {
        return Err(DataError::Classes(format!(
            "found no validation pictures, expected one or more; {} pictures are too few for that share: make data.validation larger or name a folder",
            train.pictures.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class folders with `count` pictures each, no two alike unless `copies`.
    fn folder(classes: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (class_index, (class, count)) in classes.iter().enumerate() {
            std::fs::create_dir_all(folder.path().join(class)).expect("created");
            for index in 0..*count {
                let pixel = |x: u32, y: u32| image::Luma([(x * 7 + y * 3) as u8 ^ (class_index * 40 + index) as u8]);
                image::GrayImage::from_fn(12, 9, pixel).save(folder.path().join(class).join(format!("{index:02}.png"))).expect("written");
            }
        }
        folder
    }

    fn data(train: &Path, more: &str) -> Data {
        toml::from_str(&format!("train = '{}'\nimage_size = [8, 10]\ncolor = 'grayscale'\n{more}", train.display())).expect("parsed")
    }

    fn load(data: &Data) -> Result<TrainingData, DataError> {
        load_for_training(data, 42, &|_| {}, &|_| {})
    }

    #[test]
    fn training_and_validation_share_every_picture_between_them() {
        let folder = folder(&[("a", 20), ("b", 10)]);
        let loaded = load(&data(folder.path(), "")).expect("loaded");
        assert_eq!(loaded.train.class_counts(), [16, 8]);
        assert_eq!(loaded.validation.class_counts(), [4, 2]);
    }

    #[test]
    fn a_bad_picture_is_skipped_with_its_reason_or_ends_the_run() {
        let folder = folder(&[("a", 5), ("b", 5)]);
        let bad = folder.path().join("a/zero.jpg");
        std::fs::write(&bad, b"").expect("written");
        let loaded = load(&data(folder.path(), "")).expect("loaded");
        assert_eq!(loaded.skipped, [Skipped { path: bad.display().to_string(), reason: "the file is empty (0 bytes)".to_owned() }]);
        assert_eq!(loaded.train.pictures.len() + loaded.validation.pictures.len(), 10);
        let error = load(&data(folder.path(), "on_bad_image = 'error'")).expect_err("stops").to_string();
        assert!(error.contains("zero.jpg") && error.contains("empty"), "{error}");
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
            (data(hollow.path(), ""), "no training picture of the class b"),
            (data(broken.path(), ""), "text.jpg: the content is no known picture format"),
            (data(good.path(), &test), "found the test class c that training doesn't know"),
            (data(good.path(), &validation), "found the validation class c that training doesn't know"),
            (data(&missing, ""), "found no folder of class folders"),
            (data(few.path(), ""), "found no validation pictures"),
        ];
        for (data, expected) in cases {
            let error = load(&data).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_csv_brings_its_own_splits() {
        let folder = folder(&[("a", 3), ("b", 3)]);
        let csv = folder.path().join("list.csv");
        let lines = ["a/00.png,x,train", "a/01.png,x,val", "b/00.png,y,train", "b/01.png,y,val", "b/02.png,y,test"];
        std::fs::write(&csv, format!("path,label,split\n{}\n", lines.join("\n"))).expect("written");
        let loaded = load(&data(&csv, "")).expect("loaded");
        assert_eq!((loaded.train.pictures.len(), loaded.validation.pictures.len(), loaded.test.len()), (2, 2, 1));
        assert_eq!(*loaded.classes, ["x", "y"]);
        let twice = data(&csv, &format!("test = '{}'", folder.path().display()));
        assert!(load(&twice).expect_err("two test sets").to_string().contains("test pictures twice"));
    }
}
