//! The recipe that `init` writes: what an expert would try first on such images, with a reason for
//! each choice.

use std::fmt::Write;

use super::approach::Approach;
use crate::{
    architecture::{Entry, Groups, Kind},
    base::names,
    nn::pretrained::AtHand,
};

/// The properties of the images that the recipe depends on.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Facts {
    /// Name of each class and number of its training images.
    pub(in crate::commands) classes: Vec<(String, usize)>,
    /// Median height and width.
    pub(in crate::commands) typical: [usize; 2],
    /// Whether all images are gray.
    pub(in crate::commands) is_gray: bool,
}

/// Maximum length of the longer side for `small_cnn` from scratch. Larger images take longer than
/// most first trials should, and gained nothing on small sets.
const LONGEST: usize = 96;

/// Approximate number of optimizer steps for `small_cnn` from scratch.
const SCRATCH_STEPS: usize = 1500;

/// Length of the longer side for a ResNet-18 from scratch, which has much less to do than with 96,
/// and as little left to learn.
const RESIDUAL_SIDE: usize = 64;

/// Approximate number of steps for a ResNet-18 from scratch, which learns from fewer.
const RESIDUAL_STEPS: usize = 950;

/// Approximate number of steps for a head on cached features. They cost next to nothing.
const HEAD_STEPS: usize = 1500;

/// Ratio of the largest to the smallest class from which on classes are weighted.
const IMBALANCE: usize = 5;

/// Number of images from which on a backbone is fine-tuned. Fewer images only spoil it, and its
/// frozen features serve them as well.
const ENOUGH_TO_TUNE: usize = 1000;

/// Number of augmented variants per image whose features are cached if the backbone is frozen.
const VARIANTS: usize = 3;

/// Maximum number of epochs in which a backbone is fine-tuned.
const TUNING_EPOCHS: usize = 3;

/// Work of the forward passes of those epochs in GFLOP, which two CPU cores train in about ten
/// minutes.
const TUNING_WORK: f64 = 4500.0;

/// Factor on the training time of a network of depthwise convolutions for the same work, since they
/// are bound by memory.
const DEPTHWISE: f64 = 3.0;

/// Ratio of the sides up to which the center of an image is likely to show its subject. What a
/// center crop gains is in docs/decisions/first-recipes.md.
const MOST_CROPPED: usize = 2;

/// Length of the sides below which gray images get a network from scratch.
const SMALL: usize = 64;

/// The smallest side that a backbone gets.
const SMALLEST: usize = 96;

impl Facts {
    /// Returns the number of training images.
    pub(in crate::commands) fn count(&self) -> usize {
        self.classes.iter().map(|(_, count)| count).sum()
    }

    /// Returns whether mirrored images are as likely as the images themselves. Digits, letters,
    /// signs of hands and sides of the body are not, and gray images are mostly scans.
    pub(in crate::commands) fn can_flip(&self) -> bool {
        const SIDED: [&str; 8] = [
            "left", "right", "digit", "letter", "sign", "hand", "xray", "x-ray",
        ];
        let is_sided = |name: &str| {
            let name = name.to_lowercase();
            name.chars().count() <= 2 || SIDED.iter().any(|word| name.contains(word))
        };
        !self.is_gray && !self.classes.iter().any(|(name, _)| is_sided(name))
    }

    /// Returns whether a backbone that was trained on photographs is likely to suit the images.
    /// Classes named by single characters are signs, on which a network from scratch reached
    /// 0.99 where a frozen backbone reached 0.90. Small gray images are mostly drawings, letters or
    /// faces.
    pub(in crate::commands) fn suit_backbones(&self) -> bool {
        let is_small = self.typical.iter().all(|side| *side < SMALL);
        !(self.is_gray && is_small || self.are_signs())
    }

    /// Returns whether all classes are named by single characters.
    fn are_signs(&self) -> bool {
        self.classes
            .iter()
            .all(|(name, _)| name.chars().count() <= 1)
    }

    /// Returns whether a ResNet-18 is trained from scratch rather than a small network: on large
    /// signs it classified 310 of 310 test images correctly, and the small network 305, in about
    /// the same time.
    fn suit_residual(&self) -> bool {
        self.are_signs() && self.typical.iter().all(|side| *side >= SMALL)
    }

    /// Returns the batch size: smaller for smaller sets, which take more steps per epoch.
    fn batch_size(&self) -> usize {
        match self.count() {
            0..=1000 => 16,
            1001..=4000 => 32,
            _ => 64,
        }
    }

    /// Returns the number of epochs that make about `steps` steps.
    fn epochs(&self, steps: usize, range: [usize; 2]) -> usize {
        let of_epoch = self.count().div_ceil(self.batch_size()).max(1);
        steps.div_ceil(of_epoch).clamp(range[0], range[1])
    }

    /// Returns the lines of `[data]` after its paths, `[augment]`, `[model]` and `[train]`.
    pub(in crate::commands) fn recipe(&self, approach: &Approach) -> String {
        let mut text = String::new();
        match approach {
            Approach::Pretrained(at_hand) => self.pretrained(at_hand, &mut text),
            Approach::Scratch => self.scratch(&mut text),
        }
        let counts = || self.classes.iter().map(|(_, count)| *count);
        let (fewest, most) = (
            counts().min().unwrap_or(0).max(1),
            counts().max().unwrap_or(0),
        );
        let monitor = if most >= IMBALANCE * fewest {
            let _ = writeln!(
                text,
                "class_weights = \"balanced\"        # {fewest} images in the smallest class, \
                 {most} in the largest"
            );
            "val_macro_f1"
        } else {
            "val_accuracy"
        };
        let _ = writeln!(text, "checkpoint = {{ monitor = \"{monitor}\" }}");
        text
    }

    fn pretrained(&self, at_hand: &AtHand, text: &mut String) {
        let entry = at_hand.architecture.entry();
        let tuning = (self.count() >= ENOUGH_TO_TUNE).then(|| self.tuning(entry));
        let side = tuning.map_or_else(|| self.backbone_side(entry.side), |(side, _)| side);
        let side = whole(entry, side);
        let [height, width] = self.typical;
        let _ = writeln!(
            text,
            "image_size = [{side}, {side}]            # the backbone was trained on {0} x {0}; \
             typical images have {height} x {width}",
            entry.side,
        );
        if height.max(width) <= MOST_CROPPED * height.min(width) {
            text.push_str(
                "resize = \"crop\"                  # as the backbone was trained: nothing is \
                 stretched\n",
            );
        }
        text.push('\n');
        self.augment(text);
        match tuning {
            Some((_, epochs)) => {
                Self::backbone(at_hand, "The head is trained first, then all layers.", text);
                self.tuned(epochs, text);
            }
            None => {
                Self::backbone(
                    at_hand,
                    "It stays frozen: its features of each image are cached, and only the head is \
                     trained.",
                    text,
                );
                self.frozen(text);
            }
        }
    }

    /// Writes the backbone, with a comment that says how it is used.
    fn backbone(at_hand: &AtHand, what: &str, text: &mut String) {
        let entry = at_hand.architecture.entry();
        let path = toml::Value::String(names::of_path(&at_hand.path)).to_string();
        let about = entry.about.replace('\n', " ");
        let _ = write!(
            text,
            "# {about}\n# {what}\n[model]\narchitecture = \"{}\"\nweights = {path}\n",
            entry.name
        );
        if let Some(factor) = at_hand.width {
            let _ = writeln!(text, "width = {factor}");
        }
        if let Some(dialect) = at_hand.found.dialect {
            let _ = writeln!(
                text,
                "dialect = \"{dialect}\"            # determined by {}",
                at_hand.found.by
            );
        }
    }

    /// Writes the head and the training on a frozen backbone.
    fn frozen(&self, text: &mut String) {
        let _ = write!(
            text,
            "pooling = \"average\"\n\
             head_norm = true                  # features of any scale are learned from equally \
             well\n\
             hidden = 0\n\
             dropout = 0.25\n\n\
             [train]\n\
             epochs = {}                       # about {HEAD_STEPS} steps, which take little time \
             on cached features\n\
             feature_cache = {VARIANTS}                 # number of augmented variants per image \
             that are cached\n\
             batch_size = {}\n\
             optimizer = {{ kind = \"adamw\", learning_rate = 0.001 }}\n\
             schedule = {{ kind = \"cosine\", warmup_epochs = 1 }}\n",
            self.epochs(HEAD_STEPS, [10, 60]),
            self.batch_size()
        );
    }

    /// Writes the head and the training with a fine-tuned backbone, as fastai's `fine_tune` does
    /// it.
    fn tuned(&self, epochs: usize, text: &mut String) {
        let _ = write!(
            text,
            "pooling = \"max_average\"\n\
             head_norm = true                  # features of any scale are learned from equally \
             well\n\
             hidden = 512\n\
             dropout = 0.25\n\n\
             [train]\n\
             batch_size = {}\n\
             label_smoothing = 0.1\n\
             optimizer = {{ kind = \"adamw\", learning_rate = 0.002 }}\n\
             schedule = {{ kind = \"one_cycle\" }}     # no early stopping: the best epochs come \
             at the end of the cycle\n\
             phases = [\n    \
             {{ epochs = 1, freeze = \"backbone\" }},\n    \
             {{ epochs = {epochs}, freeze = \"none\", learning_rate = 0.001, \
             layer_factor = 0.5 }}, # earlier layers learn more slowly\n\
             ]\n",
            self.batch_size()
        );
    }

    /// Returns the side for a backbone: that of its training images, or less if the images are
    /// smaller.
    fn backbone_side(&self, trained_on: usize) -> usize {
        let longest = self.typical[0].max(self.typical[1]);
        trained_on.min(longest.div_ceil(32) * 32).max(SMALLEST)
    }

    /// Returns the side and the number of epochs for a fine-tuned backbone that [`TUNING_WORK`]
    /// allows; larger images take precedence over more epochs.
    fn tuning(&self, entry: &Entry) -> (usize, usize) {
        let of_image = entry.gflop * if has_depthwise(entry) { DEPTHWISE } else { 1.0 };
        let work = |side: usize, epochs: usize| {
            (self.count() * epochs) as f64 * of_image * (side as f64 / entry.side as f64).powi(2)
        };
        let largest = self.backbone_side(entry.side);
        let sides = (SMALLEST..=largest).rev().step_by(32);
        let mut choices = sides
            .map(|side| (side, TUNING_EPOCHS))
            .chain((1..TUNING_EPOCHS).rev().map(|epochs| (SMALLEST, epochs)));
        choices
            .find(|(side, epochs)| work(*side, *epochs) <= TUNING_WORK)
            .unwrap_or((SMALLEST, 1))
    }

    /// Writes augmentations that suit any images, and flips if mirrored images are as likely.
    fn augment(&self, text: &mut String) {
        let flip = if self.can_flip() {
            "horizontal_flip = true\n"
        } else {
            "# No flips: mirrored, these images may mean something else.\n"
        };
        let _ = write!(
            text,
            "[augment]\n\
             rotation_range = 10\n\
             width_shift_range = 0.1\n\
             height_shift_range = 0.1\n\
             zoom_range = 0.1\n\
             {flip}\n"
        );
    }

    fn scratch(&self, text: &mut String) {
        let [height, width] = self.image_size();
        let color = if self.is_gray { "grayscale" } else { "rgb" };
        let _ = write!(
            text,
            "image_size = [{height}, {width}]            # height, width; \
             typical images have {} x {}\n\
             color = \"{color}\"\n\n",
            self.typical[0], self.typical[1]
        );
        self.augment(text);
        let steps = if self.suit_residual() {
            text.push_str(
                "# ResNet-18 from random weights.\n[model]\narchitecture = \"resnet18\"\nweights = \
                 \"none\"\n",
            );
            RESIDUAL_STEPS
        } else {
            text.push_str(
                "# A small network from random weights; norms let it learn in a few epochs.\n\
                 [model]\narchitecture = \"small_cnn\"\n",
            );
            let depth = depth(height.min(width));
            if depth < 4 {
                let _ = writeln!(text, "channels = {:?}", &[32, 64, 128, 128][..depth]);
            }
            text.push_str("batch_norm = true\n");
            SCRATCH_STEPS
        };
        let _ = write!(
            text,
            "pooling = \"average\"\nhidden = 0\ndropout = 0.2\n\n\
             [train]\n\
             epochs = {}                       # about {steps} steps\n\
             batch_size = {}\n\
             label_smoothing = 0.1\n\
             optimizer = {{ kind = \"adamw\", learning_rate = 0.003, weight_decay = 0.05 }}\n\
             schedule = {{ kind = \"one_cycle\" }}     # no early stopping: the best epochs come \
             at the end of the cycle\n",
            self.epochs(steps, [10, 60]),
            self.batch_size()
        );
    }

    /// Returns the typical size, scaled so that the longer side is at most [`LONGEST`] for a small
    /// network or [`RESIDUAL_SIDE`] for a ResNet-18.
    fn image_size(&self) -> [usize; 2] {
        let most = if self.suit_residual() {
            RESIDUAL_SIDE
        } else {
            LONGEST
        };
        let longest = self.typical[0].max(self.typical[1]).max(1);
        self.typical.map(|side| {
            if longest <= most {
                side.max(8)
            } else {
                (side * most).div_ceil(longest).max(16)
            }
        })
    }
}

/// Returns whether a network has depthwise convolutions.
fn has_depthwise(entry: &Entry) -> bool {
    let Some(network) = entry.network() else {
        return false;
    };
    let layers = network.walk([entry.side; 2]).unwrap_or_default();
    layers.iter().any(
        |placed| matches!(&placed.layer.kind, Kind::Conv(conv) if conv.groups == Groups::Depthwise),
    )
}

/// Returns the largest side up to `side` that the network divides into whole patches.
fn whole(entry: &Entry, side: usize) -> usize {
    entry.network().map_or(side, |network| {
        let is_whole = |side: &usize| network.features([*side; 2]).is_ok();
        (1..=side).rev().find(is_whole).unwrap_or(side)
    })
}

/// Returns the number of blocks, at most four, that leave at least four pixels of the shorter side.
fn depth(side: usize) -> usize {
    (1..=4).rev().find(|depth| side >> depth >= 4).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        architecture::Architecture,
        config::{self, Normalize},
        nn::pretrained::{Found, Origin},
    };

    fn facts(names: &[&str], counts: &[usize], is_gray: bool) -> Facts {
        let classes = names
            .iter()
            .zip(counts)
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        Facts {
            classes,
            typical: [120, 200],
            is_gray,
        }
    }

    #[test]
    fn images_are_flipped_only_where_that_means_the_same() {
        for (names, is_gray, expected) in [
            (&["ants", "bees"][..], false, true),
            (&["ants", "bees"], true, false),
            (&["0", "1"], false, false),
            (&["left hand", "fist"], false, false),
            (&["A", "tree"], false, false),
        ] {
            assert_eq!(
                facts(names, &[10, 10], is_gray).can_flip(),
                expected,
                "{names:?}"
            );
        }
    }

    #[test]
    fn signs_and_small_gray_images_are_left_to_networks_from_scratch() {
        for (names, is_gray, typical, expected) in [
            (&["ants", "bees"][..], false, [40, 50], true),
            (&["ants", "bees"], true, [120, 200], true),
            (&["ants", "bees"], true, [48, 48], false),
            (&["0", "1"], false, [120, 200], false),
        ] {
            let facts = Facts {
                typical,
                ..facts(names, &[10, 10], is_gray)
            };
            assert_eq!(
                facts.suit_backbones(),
                expected,
                "{names:?} {is_gray} {typical:?}"
            );
        }
    }

    fn pretrained(architecture: &str) -> Approach {
        let architecture = Architecture::find(architecture).expect("listed");
        let dialect = architecture.entry().dialects[0].0;
        let found = Found {
            origin: Origin::Library(dialect),
            dialect: Some(dialect),
            normalize: Some(Normalize::Tf),
            by: "the file's name",
        };
        Approach::Pretrained(AtHand {
            path: "w.safetensors".into(),
            architecture,
            width: None,
            found,
        })
    }

    #[test]
    fn a_backbone_is_trained_where_there_are_enough_images_as_long_as_that_takes_minutes() {
        let read = |counts: &[usize], typical: [usize; 2], architecture: &str| {
            let text = Facts {
                typical,
                ..facts(&["cat", "dog"], counts, false)
            }
            .recipe(&pretrained(architecture));
            let text = format!("name = \"x\"\n[data]\ntrain = \"x\"\n{text}");
            config::parse(&text, Path::new("x.toml"), &[]).expect("valid")
        };
        let few = read(&[400, 400], [300, 200], "efficientnet_lite0");
        assert!(
            few.train.phases.is_empty()
                && few.data.image_size == [224, 224]
                && few.model.hidden.widths().is_empty()
        );
        for (counts, typical, architecture, side, epochs) in [
            ([600, 600], [300, 200], "efficientnet_lite0", 224, 3),
            ([1500, 1500], [300, 200], "efficientnet_lite0", 128, 3),
            ([1500, 1500], [32, 32], "efficientnet_lite0", 96, 3),
            ([4000, 4000], [300, 200], "efficientnet_lite0", 96, 2),
            ([1500, 1500], [300, 200], "squeezenet1_1", 224, 3),
            ([6000, 6000], [300, 200], "squeezenet1_1", 128, 3),
            ([1500, 1500], [300, 200], "vgg16", 96, 1),
            ([1500, 1500], [300, 200], "dinov2_s", 84, 1),
        ] {
            let found = read(&counts, typical, architecture);
            let phases: Vec<_> = found
                .train
                .phases
                .iter()
                .map(|phase| phase.epochs)
                .collect();
            assert_eq!(
                (found.data.image_size, phases),
                ([side; 2], vec![1, epochs]),
                "{architecture} {counts:?} {typical:?}"
            );
        }
    }

    #[test]
    fn large_signs_get_a_residual_network_and_others_a_small_one() {
        for (names, typical, expected, size) in [
            (&["0", "1"][..], [100, 120], "resnet18", [54, 64]),
            (&["0", "1"], [64, 64], "resnet18", [64, 64]),
            (&["0", "1"], [63, 64], "small_cnn", [63, 64]),
            (&["ants", "bees"], [100, 120], "small_cnn", [80, 96]),
        ] {
            let facts = Facts {
                typical,
                ..facts(names, &[100, 100], false)
            };
            let text = facts.recipe(&Approach::Scratch);
            let text = format!("name = \"x\"\n[data]\ntrain = \"x\"\n{text}");
            let found = config::parse(&text, Path::new("x.toml"), &[]).expect("valid");
            assert_eq!(
                (found.model.architecture.name(), found.data.image_size),
                (expected, size),
                "{names:?} {typical:?}"
            );
        }
    }

    #[test]
    fn epochs_make_the_steps_and_imbalance_changes_what_is_monitored() {
        let small = facts(&["cat", "dog"], &[100, 90], false).recipe(&Approach::Scratch);
        assert!(
            small.contains("epochs = 60 ")
                && small.contains("val_accuracy")
                && !small.contains("class_weights"),
            "{small}"
        );
        let large = facts(&["cat", "dog"], &[9000, 1700], false).recipe(&Approach::Scratch);
        assert!(
            large.contains("epochs = 10 ")
                && large.contains("val_macro_f1")
                && large.contains("class_weights = \"balanced\""),
            "{large}"
        );
        assert!(
            large.contains("image_size = [58, 96]") && large.contains("horizontal_flip"),
            "{large}"
        );
    }
}
