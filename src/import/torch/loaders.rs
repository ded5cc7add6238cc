//! Where images come from: `DataLoader`, `ImageFolder` and splits of it.

use notebook_reader::{Origin, Place, Trace, Value};

use super::{
    calls::{Made, first_call},
    training::Run,
};
use crate::import::{
    arguments::{Import, number},
    findings::Mistake,
    folders::{self, Folder},
};

/// The fraction of validation images where a notebook doesn't tell one: that of recipes.
const FRACTION: f64 = 0.2;

/// The images of a run.
pub(super) struct Images<'t> {
    pub(super) train: Option<Source<'t>>,
    pub(super) validation: Option<Source<'t>>,
}

/// Images that a `DataLoader` gives.
#[derive(Clone, Debug)]
pub(super) struct Source<'t> {
    pub(super) loader: Made<'t>,
    /// The call of `ImageFolder`.
    pub(super) folder: Option<Made<'t>>,
    /// The call of `random_split` and which of its parts it is.
    split: Option<(Made<'t>, usize)>,
}

impl<'t> Source<'t> {
    fn of(trace: &'t Trace, loader: Made<'t>) -> Self {
        let set = loader.value(0, "dataset").unwrap_or(&Value::None);
        let is_folder =
            |call: &notebook_reader::Call| ["ImageFolder", "DatasetFolder"].contains(&&*call.name);
        Self {
            loader,
            folder: first_call(trace, set, is_folder),
            split: split(trace, set),
        }
    }

    /// Returns the value of `transform`.
    pub(super) fn transform(&self) -> Option<&'t Value> {
        self.folder?.value(1, "transform")
    }

    /// Returns whether the images are the same.
    fn is_same(&self, other: &Self, trace: &Trace) -> bool {
        let part = |own: &Self| own.split.map(|(split, part)| (split.number, part));
        let root = |own: &Self| own.folder.and_then(|folder| folder.value(0, "root"));
        let is_same_folder = match (root(self), root(other)) {
            (Some(own), Some(other)) => {
                own == other || Folder::of(trace, own) == Folder::of(trace, other)
            }
            _ => false,
        };
        part(self) == part(other) && (self.loader.number == other.loader.number || is_same_folder)
    }

    /// Returns the images' folder as the notebook has it.
    fn path(&self, trace: &Trace) -> Option<(Folder, Place)> {
        let folder = self.folder?;
        let root = folder.value(0, "root")?;
        Some((Folder::of(trace, root), folder.place_of(0, "root")))
    }
}

/// Returns the part of a `random_split` that a data set is.
fn split<'t>(trace: &'t Trace, set: &Value) -> Option<(Made<'t>, usize)> {
    let mut found = None;
    trace.any(set, &mut |value| {
        let Some(opaque) = trace.opaque(value) else {
            return false;
        };
        if let Origin::Item {
            of,
            index: Value::Int(part),
        } = &opaque.origin
            && let Value::Opaque(number) = *of
            && let Some(made) = Made::of(trace, number)
            && made.name() == "random_split"
        {
            found = usize::try_from(*part).ok().map(|part| (made, part));
        }
        found.is_some()
    });
    found
}

/// Sets the sources of images, the batch and the order.
pub(super) fn import<'t>(import: &mut Import<'t>, run: &Run<'t>) -> Images<'t> {
    let trace = import.trace;
    seed(import);
    let loader = first_call(trace, &run.chain.images, |call| &*call.name == "DataLoader");
    let Some(loader) = loader else {
        let what = "the training images don't come from a `DataLoader`";
        let here = "save them as one folder a class, and set `data.train`";
        import.unclear(run.place(), what, here);
        let unknown = Folder::Unknown(String::new());
        folders::set(import, "data.train", &unknown, run.place());
        return Images {
            train: None,
            validation: None,
        };
    };
    let train = Source::of(trace, loader);
    train_folder(import, &train);
    batch(import, &train);
    let used = used(trace);
    let in_loop = |number: usize| {
        run.stretches
            .iter()
            .any(|own| own.opaques.contains(&number))
    };
    let is_other = |source: &Source<'t>| !source.is_same(&train, trace);
    let (inside, outside): (Vec<_>, Vec<_>) =
        used.into_iter().partition(|(number, _)| in_loop(*number));
    let validation = inside
        .into_iter()
        .map(|(_, source)| source)
        .find(|source| source.loader.number != train.loader.number);
    let end = run.last().opaques.end;
    let test = outside.into_iter().find(|(number, source)| {
        let is_validation = |known: &Source<'t>| source.is_same(known, trace);
        *number >= end && is_other(source) && !validation.as_ref().is_some_and(is_validation)
    });
    let validation = validation_images(import, run, &train, validation);
    if let Some((_, test)) = test {
        test_images(import, &test);
    }
    Images {
        train: Some(train),
        validation,
    }
}

/// Returns what loops go over, each with the number of its elements.
fn used(trace: &Trace) -> Vec<(usize, Source<'_>)> {
    let elements = trace.opaques.iter().enumerate();
    elements
        .filter_map(|(number, opaque)| match &opaque.origin {
            Origin::Element { of } => {
                let loader = first_call(trace, of, |call| &*call.name == "DataLoader")?;
                Some((number, Source::of(trace, loader)))
            }
            _ => None,
        })
        .collect()
}

fn train_folder(import: &mut Import<'_>, train: &Source<'_>) {
    let place = train.loader.place_of(0, "dataset");
    let Some((folder, place)) = train.path(import.trace) else {
        let set = train.loader.value(0, "dataset").unwrap_or(&Value::None);
        let text = import.trace.describe(set);
        let what = format!("the data set `{text}`, which isn't an `ImageFolder`");
        let here = "`data.train` is to name a folder with a folder for each class, or a list";
        import.unclear(place, what, here);
        let unknown = Folder::Unknown(String::new());
        return folders::set(import, "data.train", &unknown, place);
    };
    folders::set(import, "data.train", &folder, place);
}

fn batch(import: &mut Import<'_>, train: &Source<'_>) {
    let loader = &train.loader;
    let place = loader.place_of(1, "batch_size");
    match loader.argument(1, "batch_size") {
        None => {
            let note = "PyTorch's default";
            import.recipe.set_noted("train.batch_size", 1, place, note);
        }
        Some(argument) => match loader.count_of(1, "batch_size") {
            Some(size) => import.recipe.set("train.batch_size", size as i64, place),
            None => {
                let text = import.trace.describe(&argument.value);
                import.unclear(place, format!("the batch size `{text}`"), "it is left out");
            }
        },
    }
    let sampler = loader.value(3, "sampler");
    let is_weighted = |value: &&Value| {
        let name = import.trace.call(value).map(|call| &*call.name);
        name == Some("WeightedRandomSampler")
    };
    if sampler.is_some_and(|value| is_weighted(&value)) {
        let place = loader.place_of(3, "sampler");
        import.recipe.set("train.sampler", "balanced", place);
        let what = "`WeightedRandomSampler`, with replacement";
        let here = "each class equally often, all images of a class before any again";
        import.differs(place, what, here);
    } else if sampler.is_none() && !loader.is(2, "shuffle") {
        let what = "the training images aren't shuffled: each batch is of one class";
        let here = "they are shuffled in each epoch";
        import.mistake(Mistake::NotShuffled, loader.place, what, here);
    }
    if loader.call.argument("drop_last").is_some() && loader.is(8, "drop_last") {
        let what = "`drop_last = True`: the last, shorter batch is left out";
        let here = "it is trained on as well";
        import.differs(loader.place_of(8, "drop_last"), what, here);
    }
}

/// Sets the validation images, and returns them where they aren't the training images.
fn validation_images<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    train: &Source<'t>,
    found: Option<Source<'t>>,
) -> Option<Source<'t>> {
    let trace = import.trace;
    let fifth = "a fifth of the training images, which aren't trained on";
    let Some(found) = found else {
        let place = run.place();
        import.differs(place, "there are no validation images", fifth);
        import
            .recipe
            .set_noted("data.validation", FRACTION, place, "the program's default");
        return None;
    };
    let place = found.loader.place_of(0, "dataset");
    if found.is_same(train, trace) {
        let what = "the validation images are the training images";
        import.mistake(Mistake::ValidationIsTraining, place, what, fifth);
        import.recipe.set("data.validation", FRACTION, place);
        return None;
    }
    if let Some((split, part)) = found.split {
        fractions(import, split, part);
        return Some(found);
    }
    let Some((folder, place)) = found.path(trace) else {
        import.unclear(place, "where the validation images are", fifth);
        import.recipe.set("data.validation", FRACTION, place);
        return Some(found);
    };
    if is_test(&folder) {
        let what = "the test images are looked at after each epoch, and choose it";
        let here = "they are `data.test`; the validation images are a fifth of the training images";
        import.mistake(Mistake::TestIsValidation, place, what, here);
        import.recipe.set("data.validation", FRACTION, place);
        folders::set(import, "data.test", &folder, place);
    } else {
        folders::set(import, "data.validation", &folder, place);
    }
    Some(found)
}

/// Whether a folder is called a test.
fn is_test(folder: &Folder) -> bool {
    let (Folder::Known(path) | Folder::Below(_, path)) = folder else {
        return false;
    };
    let last = path.trim_end_matches('/').rsplit('/').next();
    last.is_some_and(|last| last.to_lowercase().starts_with("test"))
}

/// Sets the fractions of a `random_split`, whose part `validation` is for validation.
fn fractions(import: &mut Import<'_>, split: Made<'_>, validation: usize) {
    let place = split.place_of(1, "lengths");
    let Some(all) = parts(import.trace, &split) else {
        let what = "how many images `random_split` takes for validation";
        import.unclear(place, what, "a fifth of the training images");
        return import.recipe.set("data.validation", FRACTION, place);
    };
    let rounded = |fraction: f64| (fraction * 1e4).round() / 1e4;
    let own = all.get(validation).copied().unwrap_or(FRACTION);
    // A third part is the test, which is taken first.
    let test = match all[..] {
        [_, _, last] => Some(if validation == 2 { all[1] } else { last }),
        _ => None,
    };
    if let Some(test) = test {
        import.recipe.set("data.test", rounded(test), place);
    }
    let left = 1.0 - test.unwrap_or(0.0);
    import
        .recipe
        .set("data.validation", rounded(own / left), place);
    let what = "`random_split`";
    let here = "a fraction of each class; copies of an image stay together";
    import.differs(place, what, here);
}

/// Returns the fractions of a split's parts: given so, as numbers, or computed from a fraction of
/// the data set's length.
fn parts(trace: &Trace, split: &Made<'_>) -> Option<Vec<f64>> {
    let lengths = trace.sequence(split.value(1, "lengths")?)?;
    let numbers: Option<Vec<f64>> = lengths.iter().map(number).collect();
    if let Some(numbers) = numbers {
        let sum: f64 = numbers.iter().sum();
        let all = numbers.iter().map(|own| own / sum).collect();
        return (sum > 0.0 && numbers.iter().all(|own| *own >= 0.0)).then_some(all);
    }
    // `int(0.8 * len(data))`; the last part is what is left.
    let known: Vec<Option<f64>> = lengths
        .iter()
        .map(|length| fraction_in(trace, length))
        .collect();
    match known[..] {
        [Some(first), Some(second)] if (first - second).abs() < 1e-9 => {
            Some(vec![first, 1.0 - first])
        }
        [Some(first), Some(second)] if (first + second - 1.0).abs() < 1e-9 => {
            Some(vec![first, second])
        }
        [Some(first), None] => Some(vec![first, 1.0 - first]),
        [None, Some(second)] => Some(vec![1.0 - second, second]),
        [Some(first), Some(second), _] if first + second < 1.0 => {
            Some(vec![first, second, 1.0 - first - second])
        }
        _ => None,
    }
}

/// Returns the first fraction in a calculation, such as `int(0.8 * len(data))`.
fn fraction_in(trace: &Trace, value: &Value) -> Option<f64> {
    let mut values = vec![value.clone()];
    for _ in 0..64 {
        let value = values.pop()?;
        if let Value::Float(fraction) = value
            && fraction > 0.0
            && fraction < 1.0
        {
            return Some(fraction);
        }
        match trace.opaque(&value).map(|opaque| &opaque.origin) {
            Some(Origin::Computed { from, .. }) => values.extend_from_slice(from),
            Some(Origin::Call(call))
                if ["int", "round", "floor", "ceil"].contains(&&*call.name) =>
            {
                values.extend(call.positional().map(|argument| argument.value.clone()));
            }
            _ => {}
        }
    }
    None
}

fn test_images(import: &mut Import<'_>, test: &Source<'_>) {
    if test.split.is_some() || import.recipe.has("data.test") {
        return;
    }
    if let Some((folder, place)) = test.path(import.trace) {
        folders::set(import, "data.test", &folder, place);
    }
}

fn seed(import: &mut Import<'_>) {
    const SEEDS: [&str; 3] = ["manual_seed", "seed_everything", "set_seed"];
    let trace = import.trace;
    let found = trace
        .opaques
        .iter()
        .find_map(|opaque| match &opaque.origin {
            Origin::Call(call) if SEEDS.contains(&&*call.name) => {
                match call.arguments.first()?.value {
                    Value::Int(seed @ 0..) => Some((seed, opaque.place)),
                    _ => None,
                }
            }
            _ => None,
        });
    if let Some((seed, place)) = found {
        import.recipe.set("seed", seed, place);
    }
}
