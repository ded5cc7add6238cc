//! What is said about a notebook beside its recipe, the worst first.

use notebook_reader::Place;
use serde::Serialize;

/// Something to know about a notebook or its recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: Kind,
    /// The line that it is about.
    pub place: Option<Place>,
    /// What was found in the notebook.
    pub what: String,
    /// What the recipe does.
    pub here: String,
}

/// The kinds of findings, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A mistake of the notebook.
    Mistake(Mistake),
    /// Something whose value or meaning isn't known.
    NotUnderstood,
    /// Something that a recipe can't do.
    NoCounterpart,
    /// Something that a recipe does in another way.
    Differs,
}

/// The mistakes of a notebook, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mistake {
    /// The validation images are the training images.
    ValidationIsTraining,
    /// The test images are the training images.
    TestIsTraining,
    /// The test images choose the epoch.
    TestIsValidation,
    /// Classes in the order of files are compared with predictions in a shuffled order.
    ShuffledClasses,
    /// A softmax over one output, which is always 1.
    SoftmaxOfOne,
    /// Loss and activation of the last layer don't go together.
    LossAndActivation,
    /// Pretrained weights get pixel values that they weren't trained on.
    PixelsOfWeights,
    /// Validation images are normalized in another way than training images.
    PixelsOfValidation,
    /// Pixel values are scaled twice.
    ScaledTwice,
    /// Pixel values of 0 to 255 reach the network.
    NotScaled,
    /// Training images are never shuffled.
    NotShuffled,
    /// Validation images are augmented.
    ValidationAugmented,
    /// The weights of the last epoch are kept, not the best.
    LastWeightsKept,
    /// A callback takes the worst value for the best.
    WrongDirection,
    /// A callback watches the training images.
    WatchesTraining,
    /// A callback never does anything.
    WithoutEffect,
    /// Batch norms of pretrained weights take statistics from the batch.
    NormsInTraining,
    /// The network is in the mode of training where it is evaluated, or the other way round.
    WrongMode,
    /// Gradients of earlier steps are added to those of a step.
    GradientsAddUp,
    /// An epoch isn't every image once.
    StepsPerEpoch,
    /// An argument that doesn't exist.
    Misspelt,
}

impl Kind {
    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mistake(_) => "mistake",
            Self::NotUnderstood => "not_understood",
            Self::NoCounterpart => "no_counterpart",
            Self::Differs => "differs",
        }
    }

    /// Returns the title of the findings of this kind.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mistake(_) => "Mistakes of the notebook",
            Self::NotUnderstood => "Not understood",
            Self::NoCounterpart => "Without a counterpart",
            Self::Differs => "Done in another way",
        }
    }
}

/// Findings under construction, each once.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        kind: Kind,
        place: Option<Place>,
        what: impl Into<String>,
        here: impl Into<String>,
    ) {
        let finding = Finding {
            kind,
            place,
            what: what.into(),
            here: here.into(),
        };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Returns the findings, the worst first, those of one kind in the order of lines.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| (finding.kind, finding.place));
        self.0
    }
}
