//! Which images are for training, validation and the test.

use notebook_reader::{Place, Value};

use super::paths;
use crate::import::{
    arguments::{Bound, Import, number},
    findings::Mistake,
    folders::{self, Folder},
    keras::{
        runs::Run,
        sources::{self, Reader, Source, Subset},
    },
};

/// Keras's fraction where its own isn't known: that of recipes.
const SHARE: f64 = 0.2;

/// Sets the training images.
pub(super) fn train_folder(import: &mut Import<'_>, train: &Source<'_>) {
    let place = train.place_of(if train.reader == Reader::Table {
        "dataframe"
    } else {
        "directory"
    });
    let Some(folder) = train.folder(import.trace) else {
        let what = "the training images aren't read from a folder or table, but are arrays in \
                    memory or something unknown";
        let here = "save them as one folder a class, and set `data.train`";
        import.unclear(train.place, what, here);
        folders::set(
            import,
            "data.train",
            &Folder::Unknown(String::new()),
            train.place,
        );
        return;
    };
    folders::set(import, "data.train", &folder, place);
    if train.reader == Reader::Table {
        let here = "`data.train` is a CSV with the columns path and label, whose paths are \
                    relative to it: `dataframe.to_csv(\"list.csv\", index=False)`";
        import.differs(place, "images are listed in a table", here);
    }
    if let Some(names) = train.value("classes").or(train.value("class_names"))
        && let Some(names) = sources::texts(import.trace, names)
    {
        let place = train.place_of("classes");
        let what = format!("the classes are listed: {}", names.join(", "));
        let here = "all folders are classes, in the order of their names; `data.exclude` leaves \
                    some out";
        import.differs(place, what, here);
    }
}

/// Returns the images of the notebook's test: what is evaluated or predicted beside the images of
/// the training.
pub(super) fn test_source<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    train: &Source<'t>,
) -> Option<Source<'t>> {
    const TESTS: [&str; 4] = [
        "evaluate",
        "predict",
        "evaluate_generator",
        "predict_generator",
    ];
    let trace = import.trace;
    let validation = run.last().arguments.value("validation_data").cloned();
    let validation = validation.map(|value| sources::resolve(import, &value, Place::default()));
    let known: Vec<_> = [Some(train), validation.as_ref()]
        .into_iter()
        .flatten()
        .map(|source| (source.number, source.folder(trace)))
        .collect();
    let tested: Vec<_> = trace
        .calls()
        .filter(|call| TESTS.contains(&&*call.name) && trace.receiver(call) == Some(&run.model))
        .filter_map(|call| call.arguments.first())
        .collect();
    for argument in tested {
        let source = sources::resolve(import, &argument.value, argument.place);
        let is_of_training = known.iter().any(|(number, _)| *number == source.number);
        if source.reader == Reader::Arrays || is_of_training {
            continue;
        }
        let folder = source.folder(trace);
        if folder == known[0].1 && source.subset.is_none() && paths::share(trace, &source).is_none()
        {
            let what = "the test images are read from the training folder";
            let here = "the recipe has no test images; set `data.test` to their folder";
            import.mistake(
                Mistake::TestIsTraining,
                source.place_of("directory"),
                what,
                here,
            );
            continue;
        }
        if known.iter().all(|(_, other)| *other != folder) {
            return Some(source);
        }
    }
    None
}

/// Sets the test images.
pub(super) fn test_folder(import: &mut Import<'_>, train: &Source<'_>, test: &Source<'_>) {
    let trace = import.trace;
    let place = test.place_of("directory");
    if import.recipe.has("data.test") {
        return;
    }
    match paths::share(trace, test) {
        Some(share) if test.folder(trace) == train.folder(trace) => {
            import.recipe.set("data.test", share, place);
        }
        _ => {
            if let Some(folder) = test.folder(trace) {
                folders::set(import, "data.test", &folder, place);
            }
        }
    }
}

/// Sets the validation images, and returns the notebook's.
pub(super) fn validation<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    train: &Source<'t>,
    test: Option<&Source<'t>>,
) -> Option<Source<'t>> {
    let fit = &run.last().arguments;
    let place = fit.place_of("validation_data");
    let Some(value) = fit
        .value("validation_data")
        .filter(|value| **value != Value::None)
    else {
        of_fit(import, fit);
        return None;
    };
    let source = sources::resolve(import, value, place);
    let trace = import.trace;
    let (folder, of_train) = (source.folder(trace), train.folder(trace));
    if source.reader == Reader::Arrays {
        import.recipe.set_noted(
            "data.validation",
            SHARE,
            place,
            "a share, because arrays can't be",
        );
        return Some(source);
    }
    if folder != of_train {
        other_folder(import, &source, test);
        return Some(source);
    }
    of_training(import, train, &source);
    Some(source)
}

/// The share that `fit` itself holds back, or a fifth.
fn of_fit(import: &mut Import<'_>, fit: &Bound<'_>) {
    const KEY: &str = "data.validation";
    let share = fit.value("validation_split").and_then(number);
    if let Some(share) = share.filter(|share| *share > 0.0) {
        let place = fit.place_of("validation_split");
        return import.recipe.set(KEY, share, place);
    }
    let what = "`fit` gets no validation images";
    let here = "a fifth of the training images, which chooses the epoch";
    import.differs(fit.place, what, here);
    import
        .recipe
        .set_noted(KEY, SHARE, fit.place, "none in the notebook");
}

/// Validation images from the folder or table of the training images.
fn of_training(import: &mut Import<'_>, train: &Source<'_>, source: &Source<'_>) {
    let place = source.place;
    let split = split_share(import, train, source);
    match split {
        Some((share, place)) => {
            import.recipe.set("data.validation", share, place);
            let how = match train.reader {
                Reader::Generator => "the first files of each class",
                Reader::DataSet => "drawn from all images together",
                Reader::Table | Reader::Arrays => "drawn",
            };
            let what = format!("a share of {share} for validation: {how}");
            let here = "drawn by the seed, each class in proportion, copies on one side";
            import.differs(place, what, here);
        }
        None if source
            .steps
            .iter()
            .chain(&train.steps)
            .any(|step| is_cut(import, *step)) =>
        {
            let what = "the validation images are a part of the training images, by `take` or \
                        `skip`";
            import.unclear(place, what, "a fifth of the training images");
            import.recipe.set("data.validation", SHARE, place);
        }
        None => {
            let what = "the validation images are the training images";
            let here = "a fifth of the training images is held out";
            import.mistake(Mistake::ValidationIsTraining, place, what, here);
            import
                .recipe
                .set_noted("data.validation", SHARE, place, "held out of the training");
        }
    }
}

/// Validation images of their own folder. One that is called a test is kept for the test.
fn other_folder(import: &mut Import<'_>, source: &Source<'_>, test: Option<&Source<'_>>) {
    let place = source.place_of("directory");
    let Some(folder) = source.folder(import.trace) else {
        return;
    };
    let is_test = match &folder {
        Folder::Known(path) | Folder::Below(_, path) => path
            .split('/')
            .next_back()
            .is_some_and(|name| name.to_lowercase().starts_with("test")),
        Folder::Unknown(_) => false,
    };
    if is_test && test.is_none() {
        let what = "the test images are the validation images: they choose the epoch, so that \
                    their accuracy is no test";
        let here = "they are the test, and a fifth of the training images is for validation";
        import.mistake(Mistake::TestIsValidation, place, what, here);
        import
            .recipe
            .set_noted("data.validation", SHARE, place, "held out of the training");
        folders::set(import, "data.test", &folder, place);
        return;
    }
    folders::set(import, "data.validation", &folder, place);
}

/// Returns the share of validation images, and where it is written.
fn split_share(
    import: &Import<'_>,
    train: &Source<'_>,
    validation: &Source<'_>,
) -> Option<(f64, Place)> {
    if let Some(share) = paths::share(import.trace, validation) {
        return Some((share, validation.place_of("dataframe")));
    }
    if validation.subset != Some(Subset::Validation) {
        return None;
    }
    [validation, train].iter().find_map(|source| {
        let of_generator = source.generator.as_ref();
        let arguments = match source.reader {
            Reader::DataSet => source.arguments.as_ref(),
            _ => of_generator,
        }?;
        let share = arguments.value("validation_split").and_then(number)?;
        Some((share, arguments.place_of("validation_split")))
    })
}

fn is_cut(import: &Import<'_>, step: usize) -> bool {
    let call = import.trace.call_numbered(step);
    call.is_some_and(|call| ["take", "skip"].contains(&&*call.name))
}
