//! Opens files of weights as named tensors, each of which is read on demand: safetensors, PyTorch's
//! `.pth`, HDF5, and the HDF5 in a `.keras` archive. The format is told from the content. Lengths
//! that a file claims are checked against its size before memory is allocated, and no code in it is
//! run.

use std::{collections::BTreeMap, fmt::Display, fs::File, io::Read, path::Path, sync::Arc};

use burn::tensor::{bf16, f16};
use hdf5_reader::{Hdf5File, group::Group};
use pytorch_reader::PytorchReader;
use safetensors::tensor::{Metadata, TensorInfo};

use super::archive;
use crate::base::io::{bytes::to_f32, positioned::PositionedFile};

/// Maximum length in bytes of a safetensors header; those of the supported networks have some
/// kilobytes.
const MOST_HEADER_BYTES: u64 = 16 << 20;

/// Maximum number of tensors and maximum depth of groups that are visited in an HDF5 file.
const MOST_TENSORS: usize = 10_000;
const MOST_DEPTH: usize = 16;

const HDF5_MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Name of the file with the weights in a `.keras` archive.
const KERAS_MEMBER: &str = "model.weights.h5";

/// Advice for a model whose weights can't be extracted.
const SAVE_WEIGHTS: &str =
    "save its weights from Keras with model.save_weights(\"x.weights.h5\") and name that file";

/// A tensor of a file.
pub(super) struct Entry {
    /// Shape as stored in the file.
    pub(super) shape: Vec<usize>,
    read: Box<dyn Fn() -> Result<Vec<f32>, String>>,
}

impl Entry {
    fn new(shape: Vec<usize>, read: impl Fn() -> Result<Vec<f32>, String> + 'static) -> Self {
        Self {
            shape,
            read: Box::new(read),
        }
    }

    /// Returns the number of values that the shape asks for; `None` for one that no memory holds.
    pub(super) fn num_values(&self) -> Option<usize> {
        let product = |product: usize, side: &usize| product.checked_mul(*side);
        self.shape.iter().try_fold(1, product)
    }

    /// Reads the values.
    ///
    /// # Errors
    /// Returns a message if the file can't be read.
    pub(super) fn read(&self) -> Result<Vec<f32>, String> {
        let expected = self
            .num_values()
            .ok_or_else(|| format!("its shape {:?} is none", self.shape))?;
        let values = (self.read)()?;
        if values.len() == expected {
            Ok(values)
        } else {
            Err(format!(
                "found {} values, expected {expected}",
                values.len()
            ))
        }
    }
}

/// Opens the file at `path` and returns its tensors by name.
///
/// # Errors
/// Returns a message if the file isn't a valid file of weights.
pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let is_saved_model = path.ends_with("saved_model.pb") || path.join("saved_model.pb").is_file();
    if is_saved_model || path.is_dir() {
        let kind = if is_saved_model {
            "a SavedModel"
        } else {
            "a folder"
        };
        return Err(format!(
            "found {kind}, expected a file with weights; {SAVE_WEIGHTS}"
        ));
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| format!("can't read the weights: {error}"))?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    file.take(9)
        .read_to_end(&mut start)
        .map_err(|error| error.to_string())?;
    if start.starts_with(HDF5_MAGIC) {
        hdf5(path).map_err(|error| format!("not a complete HDF5 file: {error}"))
    } else if start.starts_with(b"PK")
        && let Some(inner) = archive::unpacked(path, KERAS_MEMBER)
            .map_err(|error| format!("not a complete .keras file: {error}"))?
    {
        // What is open stays readable when its name is gone.
        hdf5(inner.path())
            .map_err(|error| format!("not a complete .keras file: {KERAS_MEMBER} in it: {error}"))
    } else if start.get(8) == Some(&b'{') {
        let header = u64::from_le_bytes(start[..8].try_into().expect("nine bytes were read"));
        if header > MOST_HEADER_BYTES.min(length) {
            return Err(format!(
                "not a complete safetensors file: its header claims {header} bytes, the file has \
                 {length}"
            ));
        }
        safetensors(path)
    } else {
        pytorch(path)
    }
}

/// The tensors of a safetensors file, whose header isn't longer than the file.
fn safetensors(path: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let not_whole = |error: &dyn Display| format!("not a complete safetensors file: {error}");
    let file = Arc::new(PositionedFile::open(path).map_err(|error| error.to_string())?);
    let part = |part| file.read(part).map_err(|error| not_whole(&error));
    let header = part(0..8)?.try_into().expect("eight bytes");
    let start = usize::try_from(u64::from_le_bytes(header))
        .ok()
        .and_then(|length| length.checked_add(8))
        .ok_or_else(|| not_whole(&"its header is longer than any file"))?;
    let header: Metadata =
        serde_json::from_slice(&part(8..start)?).map_err(|error| not_whole(&error))?;
    let rest = file.len() - start;
    if header.data_len() != rest {
        let faults = format!(
            "it has {rest} bytes of values, expected {}",
            header.data_len()
        );
        return Err(not_whole(&faults));
    }
    let entry = |(name, info): (String, &TensorInfo)| {
        let (from, to) = info.data_offsets;
        if from > to || to > rest {
            return Err(not_whole(&format!("{name} is said to be at {from}..{to}")));
        }
        let (file, dtype) = (Arc::clone(&file), info.dtype);
        let read = move || {
            let bytes = file.read(start + from..start + to);
            floats(
                &bytes.map_err(|error| error.to_string())?,
                &format!("{dtype:?}"),
            )
        };
        Ok((name, Entry::new(info.shape.clone(), read)))
    };
    header.tensors().into_iter().map(entry).collect()
}

fn pytorch(path: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let failed = |error: pytorch_reader::PytorchError| {
        format!("neither safetensors nor HDF5, nor a complete PyTorch file: {error}")
    };
    let reader = PytorchReader::new(path).map_err(failed)?;
    let entry = |(name, tensor): (String, pytorch_reader::Tensor)| {
        let read = move |tensor: &pytorch_reader::Tensor| {
            // Bytes are in this machine's order; so is what `floats` reads on all that the program
            // runs on.
            floats(
                &tensor.read().map_err(|error| error.to_string())?,
                &format!("{:?}", tensor.dtype()),
            )
        };
        (
            name,
            Entry::new(tensor.shape().to_vec(), move || read(&tensor)),
        )
    };
    Ok(reader.into_tensors().into_iter().map(entry).collect())
}

/// Decodes little-endian values of a type that is given by its name.
fn floats(bytes: &[u8], dtype: &str) -> Result<Vec<f32>, String> {
    Ok(match dtype {
        "F32" => to_f32(bytes).collect(),
        "F16" => bytes
            .chunks_exact(2)
            .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        "BF16" => bytes
            .chunks_exact(2)
            .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        "F64" => bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            .collect(),
        other => return Err(format!("found values of type {other}, expected floats")),
    })
}

fn hdf5(path: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let file = Hdf5File::open(path).map_err(|error| error.to_string())?;
    let root = file.root_group().map_err(|error| error.to_string())?;
    let mut found = BTreeMap::new();
    walk(&root, "", 0, &mut found)?;
    Ok(found)
}

fn walk(
    group: &Group,
    prefix: &str,
    depth: usize,
    found: &mut BTreeMap<String, Entry>,
) -> Result<(), String> {
    if depth > MOST_DEPTH {
        return Err(format!("groups are nested more than {MOST_DEPTH} deep"));
    }
    let (groups, datasets) = group.members().map_err(|error| error.to_string())?;
    for dataset in datasets {
        if found.len() >= MOST_TENSORS {
            return Err(format!("more than {MOST_TENSORS} tensors"));
        }
        let shape = dataset
            .shape()
            .iter()
            .map(|side| usize::try_from(*side).unwrap_or(usize::MAX))
            .collect();
        let name = format!("{prefix}{}", dataset.name());
        let read = move || {
            let values = dataset
                .read_array::<f32>()
                .map_err(|error| error.to_string())?;
            Ok(values.iter().copied().collect())
        };
        found.insert(name, Entry::new(shape, read));
    }
    groups.iter().try_for_each(|inner| {
        walk(
            inner,
            &format!("{prefix}{}/", inner.name()),
            depth + 1,
            found,
        )
    })
}
