//! The tensors of the open inference protocol as JSON.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};

use super::reply::Fault;
use crate::{config::Color, data::pixels::decode::Pixels};

/// Input of decoded images.
pub(super) const IMAGE: &str = "image";
/// Input of image files.
pub(super) const FILE: &str = "file";
/// Output with a probability for each class.
pub(super) const PROBABILITIES: &str = "probabilities";
/// Output with the name of the most probable class.
pub(super) const LABEL: &str = "label";

/// Most files of a request; short texts take more memory than their JSON.
const MOST_FILES: usize = 1 << 16;

/// A request for an inference.
pub(super) struct Parsed {
    pub(super) id: Option<String>,
    pub(super) images: Images,
    /// Names of the wanted outputs, or `None` for all of them.
    pub(super) outputs: Option<Vec<&'static str>>,
}

/// The images of a request.
pub(super) enum Images {
    /// Image files.
    Files(Vec<Vec<u8>>),
    /// Decoded images.
    Levels(Levels),
}

/// Decoded images of one size.
pub(super) struct Levels {
    size: [usize; 2],
    /// `[count, height, width, 3]`.
    bytes: Vec<u8>,
}

impl Levels {
    /// Returns the number of images, each of which has some pixels.
    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.each()
    }

    fn each(&self) -> usize {
        self.size.iter().product::<usize>() * 3
    }

    /// Returns the images one by one.
    pub(super) fn images(&self, color: Color) -> impl Iterator<Item = Pixels> {
        let images = self.bytes.chunks_exact(self.each());
        images.map(move |levels| Pixels::of_rgb(self.size, levels.to_vec(), color))
    }
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Inference<'a> {
    pub(super) model_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    pub(super) outputs: Vec<Tensor>,
}

/// A tensor of an answer.
#[derive(Serialize)]
pub(super) struct Tensor {
    pub(super) name: &'static str,
    datatype: &'static str,
    shape: Vec<usize>,
    data: Values,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Values {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

impl Tensor {
    pub(super) fn of_probabilities(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            name: PROBABILITIES,
            datatype: "FP32",
            shape,
            data: Values::Numbers(values),
        }
    }

    pub(super) fn of_labels(labels: Vec<String>) -> Self {
        Self {
            name: LABEL,
            datatype: "BYTES",
            shape: vec![labels.len()],
            data: Values::Texts(labels),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    inputs: Vec<Input>,
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Deserialize)]
struct Output {
    name: String,
}

/// Values of a tensor, flat or as lists in lists, without the memory that generic JSON takes.
#[derive(Default)]
struct Data {
    levels: Vec<u8>,
    texts: Vec<String>,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        Filler(&mut data).deserialize(deserializer)?;
        Ok(data)
    }
}

/// Adds what it reads to values.
struct Filler<'a>(&'a mut Data);

impl<'de> DeserializeSeed<'de> for Filler<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Filler<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whole numbers from 0 to 255, or texts in base64")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let level = u8::try_from(value)
            .map_err(|_| E::custom(format!("found {value}, expected 0 to 255")))?;
        self.0.levels.push(level);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if self.0.texts.len() == MOST_FILES {
            return Err(E::custom(format!("found more than {MOST_FILES} files")));
        }
        self.0.texts.push(value.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(Filler(self.0))?.is_some() {}
        Ok(())
    }
}

/// Reads a request for an inference.
///
/// # Errors
/// Returns a fault for one that doesn't follow the protocol or has other tensors than the model.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let body: Body = serde_json::from_slice(bytes)
        .map_err(|error| Fault::malformed(format!("the request can't be read: {error}")))?;
    let Ok([input]) = <[Input; 1]>::try_from(body.inputs) else {
        return Err(Fault::malformed(format!(
            "expected one input: {IMAGE} or {FILE}"
        )));
    };
    let output = |output: Output| {
        [PROBABILITIES, LABEL]
            .into_iter()
            .find(|name| *name == output.name)
            .ok_or_else(|| {
                Fault::malformed(format!(
                    "found an unknown output, expected {PROBABILITIES} or {LABEL}"
                ))
            })
    };
    let outputs = body
        .outputs
        .map(|outputs| outputs.into_iter().map(output).collect())
        .transpose()?;
    Ok(Parsed {
        id: body.id,
        images: images(input)?,
        outputs,
    })
}

fn images(input: Input) -> Result<Images, Fault> {
    let Input {
        name,
        datatype,
        shape,
        data: Data { levels, texts },
    } = input;
    match (name.as_str(), datatype.as_str(), shape.as_slice()) {
        (FILE, "BYTES", [count]) if *count > 0 && *count == texts.len() && levels.is_empty() => {
            let decode = |text: String| {
                let found = BASE64_STANDARD.decode(text);
                found.map_err(|error| Fault::malformed(format!("a file isn't base64: {error}")))
            };
            let files: Result<_, _> = texts.into_iter().map(decode).collect();
            Ok(Images::Files(files?))
        }
        (IMAGE, "UINT8", [count, height, width, 3])
            if product(&shape) == Some(levels.len()) && *count > 0 && texts.is_empty() =>
        {
            if levels.is_empty() {
                return Err(Fault::malformed("the image has no pixels"));
            }
            Ok(Images::Levels(Levels {
                size: [*height, *width],
                bytes: levels,
            }))
        }
        _ => Err(Fault::malformed(format!(
            "found an input of {} values with the shape {shape:?}, expected {IMAGE}, UINT8 \
             [count, height, width, 3], or {FILE}, BYTES [count] in base64",
            levels.len() + texts.len()
        ))),
    }
}

/// Returns the number of values of a shape, unless it is beyond counting.
fn product(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, side| product.checked_mul(*side))
}
