//! The networks that a first recipe chooses from: a pretrained backbone, or a small one from
//! scratch.

use crate::{architecture::Architecture, base::names, config::Normalize, nn::pretrained::AtHand};

/// Work in GFLOP per image that a CPU can afford in a first trial.
const CHEAP: f64 = 0.5;

/// The networks that a first recipe chooses from.
#[derive(Clone, Debug)]
pub(in crate::commands) enum Approach {
    /// A pretrained backbone, from a file on this machine.
    Pretrained(AtHand),
    /// A small network from random weights.
    Scratch,
}

impl Approach {
    /// Returns its name in messages.
    pub(in crate::commands) fn name(&self) -> String {
        match self {
            Self::Pretrained(at_hand) => at_hand.architecture.name().to_owned(),
            Self::Scratch => "a network from scratch".to_owned(),
        }
    }

    /// Describes the choice.
    pub(in crate::commands) fn words(&self) -> String {
        match self {
            Self::Pretrained(AtHand {
                path,
                architecture,
                found,
                ..
            }) => {
                let normalize = found
                    .normalize
                    .as_ref()
                    .map_or_else(String::new, |normalize: &Normalize| {
                        format!(", pixel values: {normalize}")
                    });
                format!(
                    "Pretrained backbone: {architecture:?} from {}{normalize}",
                    names::of_path(path)
                )
            }
            Self::Scratch => format!(
                "A network from scratch: no pretrained weights are on this machine, or these \
                 are signs or small gray images, which they don't suit. `emberlens weights fetch \
                 {}` downloads some; --weights names a file",
                fetched().name()
            ),
        }
    }
}

/// Returns the backbone to start from: the most accurate one on ImageNet, with a deduction for
/// work, which costs a CPU minutes; `None` without any.
pub(in crate::commands) fn best(mut found: Vec<AtHand>) -> Option<AtHand> {
    found.retain(|at_hand| at_hand.found.normalize.is_some());
    let score = |at_hand: &AtHand| {
        let entry = at_hand.architecture.entry();
        let width = at_hand.width.unwrap_or(1.0);
        // Narrower networks lose about as much as those that were published for 0.35 and 1.
        entry.top1 + 25.0 * width.log10() - 5.0 * (entry.gflop / CHEAP).max(1.0).log2()
    };
    found
        .into_iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
}

/// Returns the published backbone that is small enough to be downloaded for a first trial.
pub(in crate::commands) fn fetched() -> Architecture {
    Architecture::find("squeezenet1_1").expect("it is listed")
}
