//! The names that a file uses for a network's tensors.

use std::collections::BTreeMap;

use super::{
    files::Entry,
    keras,
    wanted::{Part, Turn, Wanted, bias_before, parts, path},
};
use crate::architecture::{Dialect, ForeignNames, Layer, Network};

/// The library or program that named the tensors of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A library. torchvision stands for timm too, if they share all names.
    Library(Dialect),
    /// A checkpoint of this program.
    Own,
}

/// The tensors that are read from a file.
pub(super) struct Chosen {
    pub(super) origin: Origin,
    /// Prefix of all names of the network's state; other names belong to something else.
    pub(super) prefix: String,
    pub(super) wanted: Vec<Wanted>,
}

impl Chosen {
    /// Describes every tensor that is missing, superfluous or of another shape.
    pub(super) fn faults(&self, file: &BTreeMap<String, Entry>) -> Vec<String> {
        let mut faults = Vec::new();
        for wanted in &self.wanted {
            match file.get(&wanted.name) {
                None if !wanted.is_optional => {
                    faults.push(format!("{} {:?} is missing", wanted.name, wanted.shape))
                }
                Some(entry) if !is_same_shape(&entry.shape, &wanted.shape) => {
                    faults.push(format!(
                        "{} has the shape {:?}, expected {:?}",
                        wanted.name, entry.shape, wanted.shape
                    ));
                }
                _ => {}
            }
        }
        let is_known = |name: &str| self.wanted.iter().any(|wanted| wanted.name == name);
        let superfluous = file.iter().filter(|(name, entry)| {
            let own = name.strip_prefix(self.prefix.as_str());
            own.is_some_and(|name| !is_of_head(self.origin, name, &entry.shape)) && !is_known(name)
        });
        faults.extend(superfluous.map(|(name, _)| format!("{name} is superfluous")));
        faults
    }
}

/// Returns whether a tensor of one shape holds the values of another one in the same order: kernels
/// of 1x1 convolutions may be stored as matrices, and scales of channels with extra sides of 1.
fn is_same_shape(found: &[usize], expected: &[usize]) -> bool {
    let sides = |shape: &[usize]| {
        shape
            .iter()
            .copied()
            .filter(|side| *side != 1)
            .collect::<Vec<_>>()
    };
    sides(found) == sides(expected)
}

/// Determines which names the file uses. Returns `None` if it has none of the network's.
pub(super) fn choose(network: &Network, file: &BTreeMap<String, Entry>) -> Option<Chosen> {
    let own = own(network);
    if own
        .first()
        .is_some_and(|first| file.contains_key(&first.name))
    {
        return Some(Chosen {
            origin: Origin::Own,
            prefix: String::new(),
            wanted: own,
        });
    }
    type Name = fn(&ForeignNames) -> Option<&String>;
    let libraries: [(Dialect, Name); 2] = [
        (Dialect::Torchvision, |names| names.torchvision.as_ref()),
        (Dialect::Timm, |names| names.timm.as_ref()),
    ];
    for (dialect, name) in libraries {
        for is_bare in [false, true] {
            let name_of = |layer: &Layer| {
                let name = name(&layer.foreign_names)?;
                // A backbone saved by itself has no name of its own.
                Some(
                    if is_bare {
                        name.strip_prefix("features.")?
                    } else {
                        name
                    }
                    .to_owned(),
                )
            };
            let (first, inputs) = *network.modules().first()?;
            let Some(first_name) = name_of(first) else {
                continue;
            };
            let expected = parts(first, inputs).swap_remove(0).1;
            let ending = format!("{first_name}.weight");
            let found = file
                .iter()
                .filter(|(_, entry)| entry.shape.len() == expected.len());
            // Checkpoints put their state under a key, parallel training under another.
            let prefixes = found
                .filter_map(|(name, _)| name.strip_suffix(&ending))
                .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'));
            let prefixes = prefixes.filter(|prefix| !is_bare || prefix.is_empty());
            if let Some(prefix) = prefixes.min_by_key(|prefix| prefix.len()) {
                let wanted = torch(network, prefix, &name_of, file);
                return Some(Chosen {
                    origin: Origin::Library(dialect),
                    prefix: prefix.to_owned(),
                    wanted,
                });
            }
        }
    }
    let wanted = keras::wanted(network, file);
    (!wanted.is_empty()).then(|| Chosen {
        origin: Origin::Library(Dialect::Keras),
        prefix: String::new(),
        wanted,
    })
}

fn own(network: &Network) -> Vec<Wanted> {
    let of_layer = |(layer, inputs): (&Layer, usize)| {
        let wanted = |(part, shape): (Part, Vec<usize>)| {
            let name = if part.torch.is_empty() {
                part.ours
            } else {
                part.torch
            };
            let name = format!("backbone.{}.{name}", layer.name);
            Wanted {
                path: path(layer, &part),
                name,
                shape,
                turn: Turn::None,
                is_optional: false,
            }
        };
        parts(layer, inputs)
            .into_iter()
            .map(wanted)
            .collect::<Vec<_>>()
    };
    network.modules().into_iter().flat_map(of_layer).collect()
}

fn torch(
    network: &Network,
    prefix: &str,
    name_of: &dyn Fn(&Layer) -> Option<String>,
    file: &BTreeMap<String, Entry>,
) -> Vec<Wanted> {
    let mut found = Vec::new();
    let modules = network.modules();
    for (at, (layer, inputs)) in modules.iter().enumerate() {
        let Some(name) = name_of(layer) else { continue };
        let name = |part: &Part| {
            let whole = |layer: &str| {
                let is_both = !layer.is_empty() && !part.torch.is_empty();
                let dot = if is_both { "." } else { "" };
                format!("{prefix}{layer}{dot}{}", part.torch)
            };
            // torchvision's published DenseNet says `norm.1` where its code says `norm1`.
            let dotted = name
                .char_indices()
                .next_back()
                .map(|(last, _)| format!("{}.{}", &name[..last], &name[last..]));
            let dotted = dotted
                .map(|name| whole(&name))
                .filter(|dotted| file.contains_key(dotted));
            if file.contains_key(&whole(&name)) {
                whole(&name)
            } else {
                dotted.unwrap_or_else(|| whole(&name))
            }
        };
        for (part, shape) in parts(layer, *inputs) {
            found.push(Wanted {
                path: path(layer, &part),
                name: name(&part),
                shape,
                turn: Turn::None,
                is_optional: false,
            });
        }
        found.extend(bias_before(&modules, at, name(&Part::BIAS)));
    }
    // A norm's mean must be there before a bias moves it.
    found.sort_by_key(|wanted| wanted.turn == Turn::BiasBeforeNorm);
    found
}

/// Returns whether a tensor belongs to a head, or is a counter that isn't needed.
pub(super) fn is_of_head(origin: Origin, name: &str, shape: &[usize]) -> bool {
    const TORCH: [&str; 7] = [
        "classifier.",
        "pre_logits.",
        "head.",
        "fc.",
        "AuxLogits.",
        "conv_head.",
        // DINOv2's, which takes the place of hidden patches in its own training.
        "mask_token",
    ];
    match origin {
        // The decoder of an autoencoder is what a head is to other networks.
        Origin::Own => name.starts_with("head.") || name.starts_with("backbone.decoder."),
        Origin::Library(Dialect::Keras) => keras::is_of_head(name, shape),
        Origin::Library(_) => {
            TORCH.iter().any(|head| name.starts_with(head)) || name.ends_with("num_batches_tracked")
        }
    }
}

/// Describes a file without any known name.
pub(super) fn unknown(file: &BTreeMap<String, Entry>) -> String {
    let some: Vec<_> = file.keys().take(3).map(String::as_str).collect();
    format!(
        "found {} tensors named like {}, expected torchvision's or timm's names, Keras's or those \
         of a checkpoint of this program, for the architecture of the recipe",
        file.len(),
        if some.is_empty() {
            "nothing".to_owned()
        } else {
            some.join(", ")
        }
    )
}
