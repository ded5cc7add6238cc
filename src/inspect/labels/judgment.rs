//! Judges labels by held-out probabilities, of a linear discriminant of features or of a network:
//! how far they can be believed, and which labels they speak against.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    base::rng::{Purpose, permutation, stream},
    data::listing::split::{Member, folds},
    inspect::discriminant::{Matrix, Model, Sums},
    metrics::{argmax, fit_weighted_temperature, softmax},
};

/// Number of folds. Each is judged by a model fitted to the others.
const FOLDS: usize = 5;
/// Number of dealings of at most [`ASKED`] images into folds.
const DEALINGS: u64 = 5;
/// Number of images below which the labels of a class are not judged.
pub(super) const LEAST: usize = 20;
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
/// Balanced accuracy by which the sample that is tried first may miss the required skill.
const LUCK: f64 = 0.1;
/// Ratio of the suggestion's probability to the label's from which a label is reported.
const ODDS: f64 = 5.0;

/// A judgment in the form that is cached.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Judgment {
    pub(super) balanced_accuracy: f64,
    pub(super) doubts: Vec<Doubt>,
}

/// A doubtful label.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Doubt {
    /// Index among the judged images.
    pub(super) at: usize,
    /// Most probable class.
    pub(super) suggestion: usize,
    /// Probabilities of the label and of the suggestion.
    pub(super) probabilities: [f64; 2],
}

impl Judgment {
    /// Judges the label of each row of `matrix`. Returns `None` if the model's skill is too low.
    pub(super) fn of(matrix: &Matrix, members: &[Member], num_classes: usize) -> Option<Self> {
        let labels: Vec<usize> = members.iter().map(|member| member.class).collect();
        let logits = mean_out_of_fold(matrix, &labels, num_classes, members)?;
        Self::of_logits(&logits, &labels, num_classes)
    }

    /// Judges labels by the held-out logits of a network, `[images][classes]`. Returns `None` if
    /// its skill is too low.
    pub(super) fn of_logits(
        logits: &[Vec<f32>],
        labels: &[usize],
        num_classes: usize,
    ) -> Option<Self> {
        let Belief { temperature, wrong } = Belief::of(logits, labels);
        let probabilities = softmax_all(logits, temperature);
        let balanced_accuracy = balanced_accuracy(&probabilities, labels, num_classes);
        if !is_skilled(balanced_accuracy, num_classes) {
            return None;
        }
        let mut doubts = doubtful(&probabilities, labels, num_classes);
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

/// Computes the held-out logits of each row, `[rows][classes]`, as the mean over several dealings
/// of a small set into folds: by one alone, which labels are doubted depends on the dealing.
/// Returns `None` as [`out_of_fold`].
fn mean_out_of_fold(
    matrix: &Matrix,
    labels: &[usize],
    num_classes: usize,
    members: &[Member],
) -> Option<Vec<Vec<f32>>> {
    let dealings = if labels.len() <= ASKED { DEALINGS } else { 1 };
    let dealt = |seed| out_of_fold(matrix, labels, num_classes, &folds(members, FOLDS, seed));
    let mut mean = dealt(0)?;
    for seed in 1..dealings {
        let other = dealt(seed)?;
        for (sum, value) in mean.iter_mut().flatten().zip(other.iter().flatten()) {
            *sum += value;
        }
    }
    mean.iter_mut()
        .flatten()
        .for_each(|sum| *sum /= dealings as f32);
    Some(mean)
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
    let of_row = |row: &Vec<f32>| {
        let scaled = row.iter().map(|value| f64::from(*value) / temperature);
        softmax(&scaled.collect::<Vec<_>>())
    };
    logits.par_iter().map(of_row).collect()
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

/// Computes the mean recall of the classes.
fn balanced_accuracy(probabilities: &[Vec<f64>], labels: &[usize], num_classes: usize) -> f64 {
    let (mut hits, mut counts) = (vec![0.0; num_classes], vec![0.0f64; num_classes]);
    for (probabilities, label) in probabilities.iter().zip(labels) {
        counts[*label] += 1.0;
        if argmax(probabilities) == *label {
            hits[*label] += 1.0;
        }
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
        let class = argmax(probabilities);
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
    use super::*;
    use crate::base::rng::RngExt;

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

    /// Expected rows are those of cleanlab 2.9.0 (`scripts/reference/confident_learning.py`).
    #[test]
    fn what_is_off_the_diagonal_is_cleanlabs() {
        #[derive(serde::Deserialize)]
        struct Case {
            labels: Vec<usize>,
            probabilities: Vec<Vec<f64>>,
            issues: Vec<usize>,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!(
            "../../../tests/golden/confident_learning.json"
        ))
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
