//! Finds doubtful labels. A linear discriminant is fitted to features of the images in five folds;
//! confident learning (Northcutt et al. 2021, arXiv 1911.00068) selects labels by its held-out
//! probabilities, and of these, labels that are more probably wrong than their images are hard are
//! reported.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::discriminant::{Matrix, Model, Sums};
use crate::{
    base::{
        io::kept::{Key, kept_or},
        names,
        rng::{Purpose, RngExt, normal, permutation, stream},
    },
    data::{
        duplicates::scan::{Scan, ScannedImage},
        listing::split::{Member, folds},
        pixels::thumbnail::{SIDE, Thumbnail},
    },
    metrics::fit_weighted_temperature,
};

/// Version of the judgment in the cache key. Must change with anything that changes a judgment.
const VERSION: &str = "emberlens labels 2";
/// Number of labels from which a judgment is cached.
const MANY: usize = 500;
/// Number of folds. Each is judged by a model fitted to the others.
const FOLDS: usize = 5;
/// Number of images below which the labels of a class are not judged.
const LEAST: usize = 20;
/// Maximum number of images that the models are fitted to, over all folds.
const FITTED: usize = 16_000;
/// Maximum size of the samples that decide whether the model has any skill and that fit [`Belief`].
const ASKED: usize = 4000;
/// Skill from which the model's judgment counts: balanced accuracy above chance, as a fraction of
/// the possible range above chance.
const SKILLED: f64 = 0.5;
/// Probability of being wrong above which a label is reported.
const PROBABLY: f64 = 0.5;
/// Maximum number of rounds of expectation maximization.
const ROUNDS: usize = 20;
/// Change in the fraction of wrong labels below which the rounds end.
const STILL: f64 = 1e-4;
/// Number of bisections with which each round fits the temperature.
const HALVINGS: usize = 24;
/// Fraction of wrong labels that the first round starts from.
const FEW: f64 = 0.05;
/// Number of rows and columns of a thumbnail that are summed to one pixel of a small image.
const STEP: usize = 4;
/// Height and width of a small image, in pixels.
const SMALL: usize = SIDE / STEP;
/// Number of random Fourier features. On the brain-tumor set with 6 % of the labels flipped, the
/// balanced accuracy is 0.75 with them and 0.66 with the 16 x 16 gray values alone.
const WAVES: usize = 512;
/// Balanced accuracy by which the sample that is tried first may miss the required skill.
const LUCK: f64 = 0.1;
/// Ratio of the suggestion's probability to the label's from which a label is reported.
const ODDS: f64 = 5.0;

/// Features of the images, from which their labels are judged.
#[derive(Clone, Debug)]
pub struct Features {
    /// Description for messages, such as "small images (16x16, grey)".
    pub words: String,
    /// Number of features per image.
    pub width: usize,
    /// Features, `[images, width]`.
    pub values: Vec<f32>,
}

impl Features {
    /// Computes random Fourier features of small gray images, with which a linear model
    /// approximates a Gaussian kernel (Rahimi and Recht 2007).
    fn of_looks(looks: &[&Thumbnail]) -> Self {
        let small: Vec<f32> = looks.par_iter().flat_map_iter(|look| small(look)).collect();
        let small = Matrix::standardised(&small, SMALL * SMALL);
        let wave = |index: usize| {
            let mut draw = stream(0, Purpose::Waves, [index as u64, 0, 0]);
            // The product of a standardized image with such a wave has a variance of about one.
            let scale = 1.0 / SMALL as f64;
            let weights = (0..SMALL * SMALL)
                .map(|_| (scale * normal(&mut draw)) as f32)
                .collect();
            (
                small.padded(weights),
                draw.random_range(0.0..std::f32::consts::TAU),
            )
        };
        let (waves, phases): (Vec<Vec<f32>>, Vec<f32>) = (0..WAVES).map(wave).unzip();
        let waves = waves.concat();
        let of_one = |index: usize| {
            let products = small.products(index, &waves);
            products
                .into_iter()
                .zip(&phases)
                .map(|(product, phase)| (product + phase).cos())
                .collect::<Vec<_>>()
        };
        let values = (0..looks.len())
            .into_par_iter()
            .flat_map_iter(of_one)
            .collect();
        Self {
            words: words_of_looks(),
            width: WAVES,
            values,
        }
    }
}

/// Describes the features of small images.
fn words_of_looks() -> String {
    format!("small images ({SMALL}x{SMALL}, grey)")
}

/// Sums a thumbnail's pixel values over squares of `STEP` x `STEP`, to `[SMALL, SMALL]`.
fn small(look: &Thumbnail) -> Vec<f32> {
    let mut out = vec![0.0; SMALL * SMALL];
    for (at, level) in look.bytes().iter().enumerate() {
        out[at / SIDE / STEP * SMALL + at % SIDE / STEP] += f32::from(*level);
    }
    out
}

/// Judgment of the labels by a linear model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Labels {
    /// Description of the features that the model was fitted to.
    pub features: String,
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

/// Judges the labels of all images, from `features` or else from small images. Returns `None` if
/// fewer than two classes have enough images or the model's skill is too low.
pub(super) fn judge(survey: &Scan, features: Option<Features>) -> Option<Labels> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    survey
        .seen
        .iter()
        .for_each(|seen| *counts.entry(&seen.entry.class).or_default() += 1);
    let classes: Vec<&str> = counts
        .iter()
        .filter(|(_, count)| **count >= LEAST)
        .map(|(class, _)| *class)
        .collect();
    if classes.len() < 2 {
        return None;
    }
    let class = |seen: &ScannedImage| classes.binary_search(&seen.entry.class.as_str()).ok();
    let (judged, labels): (Vec<usize>, Vec<usize>) = survey
        .seen
        .iter()
        .enumerate()
        .filter_map(|(index, seen)| Some((index, class(seen)?)))
        .unzip();
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
    let members: Vec<Member> = judged.iter().zip(&labels).map(member).collect();
    let words = features
        .as_ref()
        .map_or_else(words_of_looks, |features| features.words.clone());
    let judgement = || {
        let of_judged = |features: &Features| -> Vec<f32> {
            judged
                .iter()
                .flat_map(|index| {
                    &features.values[index * features.width..(index + 1) * features.width]
                })
                .copied()
                .collect()
        };
        let looks = || {
            Features::of_looks(
                &judged
                    .iter()
                    .map(|index| &survey.seen[*index].facts.look)
                    .collect::<Vec<_>>(),
            )
        };
        let (values, width) = match &features {
            Some(features) => (of_judged(features), features.width),
            None => (looks().values, WAVES),
        };
        Judgement::of(
            &Matrix::standardised(&values, width),
            &members,
            classes.len(),
        )
    };
    let judgement = if judged.len() < MANY {
        judgement()
    } else {
        kept_or(
            &key(survey, &judged, &members, features.as_ref()),
            judgement,
        )
    };
    let Judgement {
        balanced_accuracy,
        doubts,
    } = judgement?;
    let suspect = |doubt: Doubt| DoubtfulLabel {
        path: names::of_path(&survey.seen[judged[doubt.at]].entry.path),
        label: classes[labels[doubt.at]].to_owned(),
        suggestion: classes[doubt.suggestion].to_owned(),
        label_probability: doubt.probabilities[0],
        suggestion_probability: doubt.probabilities[1],
        index: judged[doubt.at],
    };
    Some(Labels {
        features: words,
        images: judged.len(),
        balanced_accuracy,
        suspects: doubts.into_iter().map(suspect).collect(),
    })
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

/// A judgment in the form that is cached.
#[derive(Debug, Serialize, Deserialize)]
struct Judgement {
    balanced_accuracy: f64,
    doubts: Vec<Doubt>,
}

/// A doubtful label.
#[derive(Debug, Serialize, Deserialize)]
struct Doubt {
    /// Index among the judged images.
    at: usize,
    /// Most probable class.
    suggestion: usize,
    /// Probabilities of the label and of the suggestion.
    probabilities: [f64; 2],
}

impl Judgement {
    /// Judges the label of each row of `matrix`. Returns `None` if the model's skill is too low.
    fn of(matrix: &Matrix, members: &[Member], num_classes: usize) -> Option<Self> {
        let labels: Vec<usize> = members.iter().map(|member| member.class).collect();
        let logits = out_of_fold(matrix, &labels, num_classes, &folds(members, FOLDS, 0))?;
        let Belief { temperature, wrong } = Belief::of(&logits, &labels);
        let probabilities = softmax_all(&logits, temperature);
        let balanced_accuracy = balanced_accuracy(&probabilities, &labels, num_classes);
        if !is_skilled(balanced_accuracy, num_classes) {
            return None;
        }
        let mut doubts = doubtful(&probabilities, &labels, num_classes);
        let ratio = |(at, suggestion): &(usize, usize)| {
            probabilities[*at][labels[*at]] / probabilities[*at][*suggestion]
        };
        let is_wrong =
            |at: usize| wrong_label(probabilities[at][labels[at]], wrong, num_classes) > PROBABLY;
        // Confident learning alone reports the hard images of a clean set. Without the second
        // condition, 163 of 10,000 MNIST digits were doubted, with it 27.
        doubts.retain(|doubt| ratio(doubt) * ODDS <= 1.0 && is_wrong(doubt.0));
        doubts.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let doubt = |(at, suggestion): (usize, usize)| {
            let probabilities = [labels[at], suggestion].map(|class| probabilities[at][class]);
            Doubt {
                at,
                suggestion,
                probabilities,
            }
        };
        Some(Self {
            balanced_accuracy,
            doubts: doubts.into_iter().map(doubt).collect(),
        })
    }
}

/// Whether a balanced accuracy reaches [`SKILLED`].
fn is_skilled(balanced_accuracy: f64, num_classes: usize) -> bool {
    let chance = 1.0 / num_classes as f64;
    balanced_accuracy >= chance + SKILLED * (1.0 - chance)
}

/// Computes the held-out logits of each row, `[rows][classes]`, by a model fitted to the other
/// folds. Returns `None` if a sample of the first fold shows that the skill is too low, because
/// sets with many classes would take long without a result.
fn out_of_fold(
    matrix: &Matrix,
    labels: &[usize],
    num_classes: usize,
    folds: &[usize],
) -> Option<Vec<Vec<f32>>> {
    let order = permutation(&mut stream(0, Purpose::Folds, [2, 0, 0]), labels.len());
    let of_fold = |rows: &[usize], fold: usize| {
        rows.iter()
            .copied()
            .filter(|index| folds[*index] == fold)
            .collect::<Vec<_>>()
    };
    let fitted = &order[..order.len().min(FITTED)];
    let sums: Vec<Sums> = (0..FOLDS)
        .map(|fold| Sums::of(matrix, labels, num_classes, &of_fold(fitted, fold)))
        .collect();
    let model = |fold: usize| {
        let mut others = sums
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != fold)
            .map(|(_, sums)| sums);
        let mut all = others.next()?.clone();
        others.for_each(|other| all.add(other));
        Some(Model::of(&all, matrix))
    };
    let asked = of_fold(&order[..order.len().min(ASKED)], 0);
    let (found, of_asked): (Vec<_>, Vec<_>) = (
        softmax_all(&model(0)?.logits(matrix, &asked), 1.0),
        asked.iter().map(|index| labels[*index]).collect(),
    );
    // The sample is small, so the check is lenient; the final one is on all images.
    if !is_skilled(
        balanced_accuracy(&found, &of_asked, num_classes) + LUCK,
        num_classes,
    ) {
        return None;
    }
    let mut logits = vec![Vec::new(); labels.len()];
    for fold in 0..FOLDS {
        let judged = of_fold(&order, fold);
        let found = model(fold)?.logits(matrix, &judged);
        judged
            .into_iter()
            .zip(found)
            .for_each(|(index, found)| logits[index] = found);
    }
    Some(logits)
}

/// Computes the probabilities of each row at a temperature, `[rows][classes]`.
fn softmax_all(logits: &[Vec<f32>], temperature: f64) -> Vec<Vec<f64>> {
    let softmax = |row: &Vec<f32>| {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let mut out: Vec<f64> = row
            .iter()
            .map(|value| (f64::from(value - most) / temperature).exp())
            .collect();
        let sum: f64 = out.iter().sum();
        out.iter_mut().for_each(|value| *value /= sum);
        out
    };
    logits.par_iter().map(softmax).collect()
}

/// The temperature and the fraction of wrong labels that best explain the labels, given the logits.
struct Belief {
    /// Temperature of the logits, fitted to the labels that are probably right.
    temperature: f64,
    /// Fraction of labels replaced by any other class. Hard images get uncertain answers, which the
    /// temperature accounts for; wrong labels are what it doesn't account for.
    wrong: f64,
}

impl Belief {
    /// Fits both by expectation maximization, on a sample if there are many labels.
    fn of(logits: &[Vec<f32>], labels: &[usize]) -> Self {
        // The time of a round grows with the number of classes, so the sample shrinks with it.
        let most = (ASKED * 100 / logits.first().map_or(1, Vec::len)).clamp(LEAST * LEAST, ASKED);
        let asked = (0..labels.len()).step_by(labels.len().div_ceil(most));
        let (some, their_labels): (Vec<Vec<f32>>, Vec<usize>) =
            asked.map(|at| (logits[at].clone(), labels[at])).unzip();
        let mut belief = Self {
            temperature: 1.0,
            wrong: FEW,
        };
        let mut right = vec![1.0; some.len()];
        for _ in 0..ROUNDS {
            belief.temperature = fit_weighted_temperature(&some, &their_labels, &right, HALVINGS);
            let probabilities = softmax_all(&some, belief.temperature);
            for ((right, row), label) in right.iter_mut().zip(&probabilities).zip(&their_labels) {
                *right = 1.0 - wrong_label(row[*label], belief.wrong, row.len());
            }
            let wrong = 1.0 - right.iter().sum::<f64>() / right.len() as f64;
            let change = (wrong - belief.wrong).abs();
            belief.wrong = wrong;
            if change < STILL {
                break;
            }
        }
        belief
    }
}

/// Returns the probability that a label is wrong, from the model's `probability` of it and the
/// fraction `wrong` of wrong labels, each of which is any other class with equal probability.
fn wrong_label(probability: f64, wrong: f64, num_classes: usize) -> f64 {
    let otherwise = wrong / (num_classes - 1) as f64 * (1.0 - probability);
    otherwise / (otherwise + (1.0 - wrong) * probability).max(f64::MIN_POSITIVE)
}

/// Returns the most probable class, the first of equals.
fn most_likely(probabilities: &[f64]) -> usize {
    (0..probabilities.len())
        .rev()
        .max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]))
        .unwrap_or(0)
}

/// Computes the mean recall of the classes.
fn balanced_accuracy(probabilities: &[Vec<f64>], labels: &[usize], num_classes: usize) -> f64 {
    let (mut hits, mut counts) = (vec![0.0; num_classes], vec![0.0f64; num_classes]);
    for (probabilities, label) in probabilities.iter().zip(labels) {
        counts[*label] += 1.0;
        hits[*label] += f64::from(u8::from(most_likely(probabilities) == *label));
    }
    hits.iter()
        .zip(&counts)
        .map(|(hits, count)| hits / count.max(1.0))
        .sum::<f64>()
        / num_classes as f64
}

/// Returns the entries off the diagonal of the confident joint, each as the row and the class it is
/// counted as. A class is confident if its probability reaches the mean that it has over the images
/// with its label. A row whose most probable class isn't confident is left out; cleanlab may count
/// it as another class that is.
fn doubtful(
    probabilities: &[Vec<f64>],
    labels: &[usize],
    num_classes: usize,
) -> Vec<(usize, usize)> {
    let (mut sums, mut counts) = (vec![0.0; num_classes], vec![0.0f64; num_classes]);
    for (probabilities, label) in probabilities.iter().zip(labels) {
        sums[*label] += probabilities[*label];
        counts[*label] += 1.0;
    }
    let thresholds: Vec<f64> = sums
        .iter()
        .zip(&counts)
        .map(|(sum, count)| sum / count.max(1.0))
        .collect();
    let suspect = |(at, (probabilities, label)): (usize, (&Vec<f64>, &usize))| {
        let class = most_likely(probabilities);
        // The tolerance is cleanlab's.
        (class != *label && probabilities[class] >= thresholds[class] - 1e-6).then_some((at, class))
    };
    probabilities
        .iter()
        .zip(labels)
        .enumerate()
        .filter_map(suspect)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::data::{
        listing::{Entry, Part},
        pixels::{decode::Pixels, image_stats::measure_image},
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
            let grey = image::GrayImage::from_raw(48, 40, pixels.bytes).expect("all its pixels");
            let mut file = std::io::Cursor::new(Vec::new());
            grey.write_to(&mut file, image::ImageFormat::Png)
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
        let labels = judge(&survey(&(0..420).map(label).collect::<Vec<_>>()), None).expect("easy");
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

    /// The labels agree with a model that is wrong as often as its probabilities say, so none is
    /// wrong. Then some labels are flipped, which are found.
    #[test]
    fn hard_images_are_no_wrong_labels_and_turned_ones_are() {
        let mut draw = stream(5, Purpose::Synthetic, [0, 8, 0]);
        // Probability of the shown class: 0.9 for one image in twenty, 0.9999 for the others. The
        // logits claim twice the confidence.
        let shown: Vec<f64> = (0..4000)
            .map(|at| if at % 20 == 0 { 0.9 } else { 0.9999 })
            .collect();
        let logits: Vec<Vec<f32>> = shown
            .iter()
            .map(|shown| vec![2.0 * (shown / (1.0 - shown)).ln() as f32, 0.0])
            .collect();
        let mut labels: Vec<usize> = shown
            .iter()
            .map(|shown| usize::from(draw.random::<f64>() >= *shown))
            .collect();
        let mistakes = labels.iter().sum::<usize>();
        let Belief { temperature, wrong } = Belief::of(&logits, &labels);
        assert!(
            mistakes > 12 && wrong < 1e-3 && (1.5..2.8).contains(&temperature),
            "{mistakes}, {wrong}, {temperature}"
        );
        let turned: Vec<usize> = (1..4000).step_by(40).collect();
        turned.iter().for_each(|at| labels[*at] = 1 - labels[*at]);
        let Belief { temperature, wrong } = Belief::of(&logits, &labels);
        assert!(
            (wrong - 0.025).abs() < 0.003 && (1.5..2.8).contains(&temperature),
            "{wrong}, {temperature}"
        );
        let probabilities = softmax_all(&logits, temperature);
        let told: Vec<usize> = (0..4000)
            .filter(|at| wrong_label(probabilities[*at][labels[*at]], wrong, 2) > PROBABLY)
            .collect();
        assert!(
            turned.iter().all(|at| told.contains(at)) && told.len() <= turned.len() + 3,
            "{}",
            told.len()
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
                None
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
                None
            ),
            None
        );
    }

    /// Expected rows are those of cleanlab 2.9.0 (`scripts/reference/confident_learning.py`).
    #[test]
    fn what_is_off_the_diagonal_is_cleanlabs() {
        #[derive(serde::Deserialize)]
        struct Case {
            labels: Vec<usize>,
            probabilities: Vec<Vec<f64>>,
            issues: Vec<usize>,
        }
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/golden/confident_learning.json"))
                .expect("whole");
        assert!(cases.len() >= 6 && cases.iter().any(|case| case.issues.len() > 5));
        for (number, case) in cases.iter().enumerate() {
            let found = doubtful(
                &case.probabilities,
                &case.labels,
                case.probabilities[0].len(),
            );
            assert_eq!(
                found.into_iter().map(|(at, _)| at).collect::<Vec<_>>(),
                case.issues,
                "case {number}"
            );
        }
    }
}
