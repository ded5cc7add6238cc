//! Where images come from: generators and data sets, and what is done to them on the way.

use std::sync::Arc;

use notebook_reader::{Object, Origin, Place, Trace, Value};

use crate::{
    config::KERAS_SOURCES,
    import::{
        arguments::{Bound, Import, row},
        folders::Folder,
    },
};

/// Calls that read images.
const READERS: [&str; 4] = [
    "flow_from_directory",
    "flow_from_dataframe",
    "image_dataset_from_directory",
    "flow",
];

/// Calls that make a table out of their first argument.
const TABLES: [&str; 2] = ["read_csv", "train_test_split"];

/// Images for training, validation or a test.
#[derive(Clone)]
pub(super) struct Source<'t> {
    /// Where it is used.
    pub(super) place: Place,
    /// How the images are read.
    pub(super) reader: Reader,
    /// The number of the call that reads them; `None` for arrays.
    pub(super) number: Option<usize>,
    /// The arguments of that call.
    pub(super) arguments: Option<Bound<'t>>,
    /// The arguments of the `ImageDataGenerator`.
    pub(super) generator: Option<Bound<'t>>,
    /// The number of the `ImageDataGenerator`.
    pub(super) generator_number: Option<usize>,
    /// Which side of a split it is.
    pub(super) subset: Option<Subset>,
    /// The numbers of the data set's calls on the way: `map`, `take` and so on, the last first.
    pub(super) steps: Vec<usize>,
}

/// How images are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Class folders, through a generator.
    Generator,
    /// A table, through a generator.
    Table,
    /// Class folders, as a `tf.data` data set.
    DataSet,
    /// Arrays in memory, or something unknown.
    Arrays,
}

/// The sides of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subset {
    Training,
    Validation,
}

impl<'t> Source<'t> {
    /// Returns the folder or table that the images are in.
    pub(super) fn folder(&self, trace: &Trace) -> Option<Folder> {
        let arguments = self.arguments.as_ref()?;
        let value = match self.reader {
            Reader::Table => arguments.value("dataframe"),
            Reader::Generator | Reader::DataSet => arguments.value("directory"),
            Reader::Arrays => None,
        }?;
        Some(folder(trace, value))
    }

    pub(super) fn place_of(&self, argument: &str) -> Place {
        self.arguments
            .as_ref()
            .map_or(self.place, |bound| bound.place_of(argument))
    }

    /// Returns an argument of the call that reads the images.
    pub(super) fn value(&self, name: &str) -> Option<&'t Value> {
        self.arguments.as_ref()?.value(name)
    }

    /// Returns whether the images come in an order that is drawn.
    pub(super) fn is_shuffled(&self) -> bool {
        self.reader != Reader::Arrays && self.value("shuffle") != Some(&Value::Bool(false))
    }

    /// Returns whether an argument of the generator changes images at random.
    pub(super) fn augmenting(&self) -> Option<&'static str> {
        const CHANGES: [&str; 9] = [
            "rotation_range",
            "width_shift_range",
            "height_shift_range",
            "brightness_range",
            "shear_range",
            "zoom_range",
            "channel_shift_range",
            "horizontal_flip",
            "vertical_flip",
        ];
        let generator = self.generator.as_ref()?;
        CHANGES.into_iter().find(|name| {
            generator.value(name).is_some_and(|value| {
                !matches!(value, Value::None | Value::Bool(false) | Value::Int(0))
                    && *value != Value::Float(0.0)
            })
        })
    }
}

/// Returns a path as far as it is known; of a table, that of its file.
pub(super) fn folder(trace: &Trace, value: &Value) -> Folder {
    let mut file = value;
    for _ in 0..16 {
        let next = match (file, trace.opaque(file).map(|opaque| &opaque.origin)) {
            (Value::Str(path), _) => return Folder::Known(path.clone()),
            (_, Some(Origin::Joined { head, tail })) => {
                return Folder::Below(trace.describe(head), tail.clone());
            }
            // A part of a table.
            (_, Some(Origin::Item { of, .. })) => of,
            (_, Some(Origin::Call(call))) if TABLES.contains(&&*call.name) => {
                match call.arguments.first() {
                    Some(argument) => &argument.value,
                    None => break,
                }
            }
            _ => break,
        };
        file = next;
    }
    Folder::Unknown(trace.describe(value))
}

/// Follows a value back to the call that reads its images: the value before each step, and the
/// number of the step's call.
fn walk(trace: &Trace, value: &Value) -> (Value, Vec<usize>, Option<Subset>) {
    let (mut value, mut steps, mut subset) = (value.clone(), Vec::new(), None);
    for _ in 0..64 {
        let Value::Opaque(number) = value else {
            break;
        };
        let next = match &trace.opaques[number].origin {
            Origin::Call(call) if READERS.contains(&&*call.name) => break,
            Origin::Call(call) => {
                steps.push(number);
                match (trace.receiver(call), &*call.name) {
                    (Some(of), _) => Some(of.clone()),
                    // `iter(train)`, `prepare(train)`.
                    (None, _) => call
                        .positional()
                        .next()
                        .map(|argument| argument.value.clone()),
                }
            }
            Origin::Item { of, index } => {
                let is_reader = trace
                    .call(of)
                    .is_some_and(|call| READERS.contains(&&*call.name));
                if is_reader && *index == Value::Int(1) {
                    subset = Some(Subset::Validation);
                } else if is_reader {
                    subset = Some(Subset::Training);
                }
                is_reader.then(|| of.clone())
            }
            Origin::Computed {
                operation: "?",
                from,
            } => from.first().cloned(),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    (value, steps, subset)
}

/// Returns whether a value is images that are read from files.
pub(super) fn is_of_images(trace: &Trace, value: &Value) -> bool {
    let (found, ..) = walk(trace, value);
    trace
        .call(&found)
        .is_some_and(|call| READERS[..3].contains(&&*call.name))
}

/// Returns the images that a value stands for.
pub(super) fn resolve<'t>(import: &mut Import<'t>, value: &Value, place: Place) -> Source<'t> {
    let trace = import.trace;
    let (found, steps, mut subset) = walk(trace, value);
    let mut source = Source {
        place,
        reader: Reader::Arrays,
        number: None,
        arguments: None,
        generator: None,
        generator_number: None,
        subset: None,
        steps,
    };
    let Value::Opaque(number) = found else {
        return source;
    };
    let Some(call) = trace.call_numbered(number) else {
        return source;
    };
    if let Some(of) = trace.receiver(call)
        && let Some(Value::Opaque(number)) = generator(trace, of)
    {
        let table = row(KERAS_SOURCES, "ImageDataGenerator").expect("the table has it");
        source.generator = Some(import.bind(number, table));
        source.generator_number = Some(number);
    }
    source.reader = match &*call.name {
        "flow_from_directory" => Reader::Generator,
        "flow_from_dataframe" => Reader::Table,
        "image_dataset_from_directory" => Reader::DataSet,
        _ => return source,
    };
    let table = row(KERAS_SOURCES, &call.name).expect("the table has each reader");
    let arguments = import.bind(number, table);
    subset = match arguments.value("subset") {
        Some(Value::Str(name)) if &**name == "training" => Some(Subset::Training),
        Some(Value::Str(name)) if &**name == "validation" => Some(Subset::Validation),
        _ => subset,
    };
    source.number = Some(number);
    source.arguments = Some(arguments);
    source.subset = subset;
    source
}

fn generator(trace: &Trace, value: &Value) -> Option<Value> {
    let call = trace.call(value)?;
    (&*call.name == "ImageDataGenerator").then(|| value.clone())
}

/// Returns a class name or path of a known list of texts.
pub(super) fn texts(trace: &Trace, value: &Value) -> Option<Vec<Arc<str>>> {
    let values = match trace.object(value)? {
        Object::List(values) | Object::Tuple(values) => values,
        _ => return None,
    };
    values
        .iter()
        .map(|value| match value {
            Value::Str(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}
