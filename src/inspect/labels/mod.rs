//! Finds doubtful labels. A linear discriminant is fitted to features of the images in five folds,
//! unless a run's networks have classified each image without having been trained on it; confident
//! learning (Northcutt et al. 2021, arXiv 1911.00068) selects labels by the held-out probabilities,
//! and of these, labels that are more probably wrong than their images are hard are reported.

mod judgment;
mod looks;
mod networks;

use std::collections::BTreeMap;

use serde::Serialize;

pub use looks::Features;
pub use networks::HeldOut;

use self::{
    judgment::{Doubt, Judgment, LEAST},
    looks::words_of_looks,
};
use super::discriminant::Matrix;
use crate::{
    base::{
        io::kept::{Key, kept_or},
        names,
    },
    data::{
        duplicates::scan::{Scan, ScannedImage},
        listing::split::Member,
    },
};

/// Version of the judgment in the cache key. Must change with anything that changes a judgment.
const VERSION: &str = "emberlens labels 3";
/// Number of labels from which a judgment is cached.
const MANY: usize = 500;

/// What labels are judged by.
#[derive(Debug)]
pub enum Judge {
    /// A linear model of small images.
    Looks,
    /// A linear model of features of a network that was trained on others.
    Features(Features),
    /// The networks of a run.
    Networks(HeldOut),
}

impl From<Option<Features>> for Judge {
    fn from(features: Option<Features>) -> Self {
        features.map_or(Self::Looks, Self::Features)
    }
}

/// Judgment of the labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Labels {
    /// Description of the model that judges.
    pub judge: String,
    /// Description of the features that a linear model judges by, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Number of labels judged; classes with fewer than 20 images are left out.
    pub images: usize,
    /// Mean recall of the classes on held-out images.
    pub balanced_accuracy: f64,
    /// Doubtful labels, in ascending order of the label's probability relative to the suggestion's.
    pub suspects: Vec<DoubtfulLabel>,
}

/// A label that is probably wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoubtfulLabel {
    /// Path of the image.
    pub path: String,
    /// Class given by the label.
    pub label: String,
    /// Most probable class according to the model.
    pub suggestion: String,
    /// Held-out probability of the label.
    pub label_probability: f64,
    /// Held-out probability of the suggestion.
    pub suggestion_probability: f64,
    #[serde(skip)]
    index: usize,
}

impl DoubtfulLabel {
    /// Returns the image's index in `Inspection::seen`.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Judges the labels of all images, or of those that the networks of a run have classified. Returns
/// `None` if fewer than two classes have enough images or the model's skill is too low.
pub(super) fn judge(survey: &Scan, judge: &Judge) -> Option<Labels> {
    let is_known = |seen: &&ScannedImage| match judge {
        Judge::Networks(found) => found.has(seen),
        Judge::Looks | Judge::Features(_) => true,
    };
    let classes = classes_of(survey.seen.iter().filter(is_known));
    if classes.len() < 2 {
        return None;
    }
    let class = |seen: &ScannedImage| classes.binary_search(&seen.entry.class.as_str()).ok();
    let (judged, labels): (Vec<usize>, Vec<usize>) = survey
        .seen
        .iter()
        .enumerate()
        .filter(|(_, seen)| is_known(seen))
        .filter_map(|(index, seen)| Some((index, class(seen)?)))
        .unzip();
    let (judgment, words, is_linear) = match judge {
        Judge::Looks => {
            let judgment = by_model(survey, (&judged, &labels), classes.len(), None);
            (judgment, words_of_looks(), true)
        }
        Judge::Features(features) => {
            let judgment = by_model(survey, (&judged, &labels), classes.len(), Some(features));
            (judgment, features.words.clone(), true)
        }
        Judge::Networks(found) => {
            let images: Vec<_> = judged.iter().map(|index| &survey.seen[*index]).collect();
            let logits = found.logits(&images, &classes);
            let judgment = Judgment::of_logits(&logits, &labels, classes.len());
            (judgment, found.words.clone(), false)
        }
    };
    let Judgment {
        balanced_accuracy,
        doubts,
    } = judgment?;
    let suspect = |doubt: Doubt| DoubtfulLabel {
        path: names::of_path(&survey.seen[judged[doubt.at]].entry.path),
        label: classes[labels[doubt.at]].to_owned(),
        suggestion: classes[doubt.suggestion].to_owned(),
        label_probability: doubt.probabilities[0],
        suggestion_probability: doubt.probabilities[1],
        index: judged[doubt.at],
    };
    let (judge, features) = if is_linear {
        (format!("a linear model of {words}"), Some(words))
    } else {
        (words, None)
    };
    Some(Labels {
        judge,
        features,
        images: judged.len(),
        balanced_accuracy,
        suspects: doubts.into_iter().map(suspect).collect(),
    })
}

/// Judges labels by a linear model of `features` or else of small images.
fn by_model(
    survey: &Scan,
    (judged, labels): (&[usize], &[usize]),
    num_classes: usize,
    features: Option<&Features>,
) -> Option<Judgment> {
    let members = members(survey, judged, labels);
    let judgment = || {
        let (values, width) = values_of(survey, judged, features);
        let matrix = Matrix::standardized(&values, width);
        Judgment::of(&matrix, &members, num_classes)
    };
    if judged.len() < MANY {
        judgment()
    } else {
        kept_or(&key(survey, judged, &members, features), judgment)
    }
}

/// Returns the classes that have enough of the images, sorted.
fn classes_of<'a>(seen: impl Iterator<Item = &'a ScannedImage>) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    seen.for_each(|seen| *counts.entry(&seen.entry.class).or_default() += 1);
    counts
        .into_iter()
        .filter(|(_, count)| *count >= LEAST)
        .map(|(class, _)| class)
        .collect()
}

/// Returns the judged images as members of folds.
fn members(survey: &Scan, judged: &[usize], labels: &[usize]) -> Vec<Member> {
    let firsts = survey.firsts();
    let member = |(index, label): (&usize, &usize)| {
        // Copies share a fold. Otherwise a model fitted to an image's copy, with the same wrong
        // label, would confirm the label.
        let digest = survey.seen[firsts[*index]].facts.pixels;
        Member {
            class: *label,
            group: survey.seen[*index].entry.group.clone(),
            digest,
        }
    };
    judged.iter().zip(labels).map(member).collect()
}

/// Returns the features of the judged images, `[images, width]`, with their width.
fn values_of(survey: &Scan, judged: &[usize], features: Option<&Features>) -> (Vec<f32>, usize) {
    let Some(Features { width, values, .. }) = features else {
        let look = |index: &usize| &survey.seen[*index].facts.look;
        let looks: Vec<_> = judged.iter().map(look).collect();
        let Features { width, values, .. } = Features::of_looks(&looks);
        return (values, width);
    };
    let row = |index: &usize| &values[index * width..(index + 1) * width];
    (judged.iter().flat_map(row).copied().collect(), *width)
}

/// Returns the cache key, which covers everything that the judgment depends on.
fn key(survey: &Scan, judged: &[usize], members: &[Member], features: Option<&Features>) -> Key {
    let mut key = Key::new(VERSION);
    for (
        index,
        Member {
            class,
            group,
            digest,
        },
    ) in judged.iter().zip(members)
    {
        key.add_number(*class);
        key.add(group.as_deref().unwrap_or("").as_bytes());
        key.add(digest);
        if features.is_none() {
            key.add(survey.seen[*index].facts.look.bytes());
        }
    }
    for value in features.iter().flat_map(|features| &features.values) {
        key.add(&value.to_le_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::{
        base::rng::{Purpose, RngExt, stream},
        data::{
            listing::{Entry, Part},
            pixels::{decode::Pixels, image_stats::measure_image},
        },
    };

    /// Returns an image with a bright region on the left, on the right or below, by class, of
    /// varying brightness and with noise.
    fn image(class: usize, index: u64) -> Pixels {
        let mut draw = stream(5, Purpose::Synthetic, [index, class as u64, 0]);
        let (strength, noise) = (draw.random_range(60..120u8), draw.random_range(10..60u8));
        let is_bright = |row: usize, column: usize| [column < 20, column > 28, row > 18][class];
        let bytes = (0..40 * 48).map(|at| {
            draw.random_range(0..noise)
                + if is_bright(at / 48, at % 48) {
                    strength
                } else {
                    40
                }
        });
        Pixels {
            height: 40,
            width: 48,
            channels: 1,
            bytes: bytes.collect(),
        }
    }

    fn survey(labels: &[(usize, usize)]) -> Scan {
        let seen = |(index, (shown, label)): (usize, &(usize, usize))| {
            let pixels = image(*shown, index as u64);
            let gray = image::GrayImage::from_raw(48, 40, pixels.bytes).expect("all its pixels");
            let mut file = std::io::Cursor::new(Vec::new());
            gray.write_to(&mut file, image::ImageFormat::Png)
                .expect("memory");
            let (facts, _) =
                measure_image(file.get_ref(), crate::config::Color::Rgb).expect("an image");
            let path = PathBuf::from(format!("{index}.png"));
            let entry = Entry {
                path,
                class: format!("class {label}"),
                group: None,
                weight: 1.0,
                split: None,
            };
            ScannedImage {
                entry,
                part: Part::Train,
                facts: Arc::new(facts),
            }
        };
        Scan {
            seen: labels.iter().enumerate().map(seen).collect(),
            ..Scan::default()
        }
    }

    #[test]
    fn planted_wrong_labels_are_found_and_right_ones_are_believed() {
        let wrong = [7, 50, 101, 260, 400];
        let label = |index: usize| {
            (
                index % 3,
                if wrong.contains(&index) {
                    (index + 1) % 3
                } else {
                    index % 3
                },
            )
        };
        let labels = judge(
            &survey(&(0..420).map(label).collect::<Vec<_>>()),
            &Judge::Looks,
        )
        .expect("easy");
        assert!(
            labels.balanced_accuracy > 0.9 && labels.images == 420,
            "{labels:?}"
        );
        let mut found: Vec<usize> = labels.suspects.iter().map(DoubtfulLabel::index).collect();
        found.sort_unstable();
        assert_eq!(found, wrong);
        let worst = &labels.suspects[0];
        let index = worst.index();
        assert_eq!(
            [&worst.path, &worst.label, &worst.suggestion],
            [
                &format!("{index}.png"),
                &format!("class {}", (index + 1) % 3),
                &format!("class {}", index % 3)
            ]
        );
    }

    #[test]
    fn nobody_is_asked_who_knows_nothing() {
        // The labels are independent of what the images show.
        assert_eq!(
            judge(
                &survey(
                    &(0..90)
                        .map(|index| (index % 3, index / 3 % 3))
                        .collect::<Vec<_>>()
                ),
                &Judge::Looks
            ),
            None
        );
        // Too few images of each class.
        assert_eq!(
            judge(
                &survey(
                    &(0..30)
                        .map(|index| (index % 3, index % 3))
                        .collect::<Vec<_>>()
                ),
                &Judge::Looks
            ),
            None
        );
    }
}
