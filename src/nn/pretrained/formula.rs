//! Weights computed by the formula of `scripts/reference/networks.py`, in files as the original
//! libraries write them.

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::base::io::files;

/// Returns a number from 0 to 1 by the formula of the script.
pub(super) fn unit(name: &str, index: usize) -> f64 {
    let hash = name.bytes().fold(2_166_136_261u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let mut x = hash.wrapping_add((index as u32).wrapping_mul(2_654_435_761));
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    f64::from(x ^ (x >> 16)) / 4_294_967_296.0
}

/// Returns the values of a tensor by the formula of the script; its name and shape tell what kind
/// it is.
fn values(name: &str, shape: &[usize], gain: f64) -> Vec<f32> {
    let plain = name.strip_suffix(":0").unwrap_or(name);
    let is_keras = name.contains('/');
    let ends = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
    let inputs = match *shape {
        [height, width, _, _]
            if is_keras
                && ["depthwise", "dwconv", "conv_dw"]
                    .iter()
                    .any(|part| plain.contains(part)) =>
        {
            height * width
        }
        [height, width, inputs, _] if is_keras => height * width * inputs,
        [_, ref rest @ ..] if shape.len() == 4 => rest.iter().product(),
        [inputs, outputs] => {
            if is_keras {
                inputs
            } else {
                outputs
            }
        }
        _ => 1,
    };
    let value = |u: f64| match shape.len() {
        _ if ends(&["num_batches_tracked"]) => 0.0,
        _ if ends(&["running_var", "moving_variance"]) => 0.5 + u,
        _ if ends(&["running_mean", "moving_mean"]) => (u - 0.5) * 0.4,
        4 => (u - 0.5) * 2.0 * (3.0 * gain / inputs as f64).sqrt(),
        2 => (u - 0.5) * 2.0 * (3.0 / inputs as f64).sqrt(),
        1 if is_layer_scale(plain, is_keras) => u - 0.5,
        1 if ends(&["weight", "gamma"]) => 0.5 + u,
        1 => (u - 0.5) * 0.2,
        _ => u - 0.5,
    };
    (0..shape.iter().product())
        .map(|index| value(unit(name, index)) as f32)
        .collect()
}

fn is_layer_scale(name: &str, is_keras: bool) -> bool {
    name.contains("layer_scale") || !is_keras && name.ends_with(".gamma")
}

/// Writes the weights under the original's names, as safetensors.
pub(super) fn write(tensors: &[(String, Vec<usize>)], gain: f64, path: &Path) {
    let bytes = |name: &str, shape: &[usize]| {
        let values = values(name, shape, gain);
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let all: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| (name.clone(), shape.clone(), bytes(name, shape)))
        .collect();
    write_tensors(&all, path);
}

/// Writes tensors, given by name, shape and bytes, as safetensors.
pub(super) fn write_tensors(tensors: &[(String, Vec<usize>, Vec<u8>)], path: &Path) {
    let view = |shape: &[usize], bytes| TensorView::new(Dtype::F32, shape.to_vec(), bytes);
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), view(shape, bytes).expect("fits")));
    serialize(views.collect(), path);
}

fn serialize(views: Vec<(String, TensorView<'_>)>, path: &Path) {
    let file = safetensors::serialize(views, None::<HashMap<String, String>>).expect("written");
    files::write_atomic(path, &file).expect("written");
}

/// Renames tensors as in the file that torchvision publishes, `denselayer1.norm.1` for
/// `denselayer1.norm1`.
pub(super) fn rename_as_published(path: &Path) {
    let bytes = std::fs::read(path).expect("written above");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let renamed = |name: &str| {
        let is_dense = name.contains("denselayer");
        let mut name = name.to_owned();
        for part in ["norm1", "norm2", "conv1", "conv2"]
            .into_iter()
            .filter(|_| is_dense)
        {
            name = name.replace(
                &format!(".{part}."),
                &format!(".{}.{}.", &part[..4], &part[4..]),
            );
        }
        name
    };
    let views: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (renamed(&name), view))
        .collect();
    assert!(views.iter().any(|(name, _)| name.contains(".norm.1.")));
    serialize(views, path);
}

/// Writes the tensors of `named` as `layers/conv2d_1/vars/0` and so on.
pub(super) fn renumber(tensors: &[(String, Vec<usize>)], named: &Path, numbered: &Path) {
    let bytes = std::fs::read(named).expect("written above");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let kind = |name: &str, shape: &[usize]| match name.rsplit('/').next().expect("a name") {
        "depthwise_kernel:0" => Some("depthwise_conv2d"),
        "kernel:0" if shape.len() == 4 => Some("conv2d"),
        "gamma:0" => Some("batch_normalization"),
        _ => None,
    };
    let (mut counts, mut group, mut part) = (HashMap::<&str, usize>::new(), String::new(), 0);
    let mut views = Vec::new();
    for (name, shape) in tensors
        .iter()
        .filter(|(name, _)| !name.starts_with("normalization/"))
    {
        if let Some(kind) = kind(name, shape) {
            let count = counts.entry(kind).or_default();
            (group, part) = (
                if *count == 0 {
                    kind.to_owned()
                } else {
                    format!("{kind}_{count}")
                },
                0,
            );
            *count += 1;
        }
        views.push((
            format!("layers/{group}/vars/{part}"),
            file.tensor(name).expect("written above"),
        ));
        part += 1;
    }
    serialize(views, numbered);
}
