//! Measures the decisions that `emberlens calibrate` fits: a threshold for one class, prediction
//! sets, and novelty.

use serde::Serialize;

use crate::{
    checkpoint::Meta,
    metrics::{Coverage, Estimate, Novelty, Rank, Threshold, argmax, prediction_set, share},
};

/// What it means that fewer images reach a threshold than chance explains.
const OTHER_KIND: &str = ". That is less than chance explains: these images are of another kind \
                          than the validation images";

/// Probability below which chance doesn't explain how few images reach a threshold.
const SELDOM: f64 = 0.025;

/// Metrics of a checkpoint's decisions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Decisions {
    /// Metrics of the threshold, if one was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<AtThreshold>,
    /// Metrics of the prediction sets, if they were fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<Sets>,
}

/// Metrics of a threshold, which tells one class from all others.
#[derive(Clone, Debug, Serialize)]
pub struct AtThreshold {
    /// The fitted threshold.
    pub fitted: Threshold,
    /// Fraction of the class's images at or above the threshold.
    pub sensitivity: Estimate,
    /// Fraction of the other images below it.
    pub specificity: Estimate,
    /// Whether the class's images reach it less often than chance explains.
    pub below_chance: bool,
}

/// Metrics of prediction sets (split conformal prediction).
#[derive(Clone, Debug, Serialize)]
pub struct Sets {
    /// The fitted coverage.
    pub fitted: Coverage,
    /// Fraction of the sets that contain the true class.
    pub coverage: Estimate,
    /// Mean number of classes in a set.
    pub mean_size: f64,
    /// Fraction of the images that `predict --abstain` refers, because their set has no class or
    /// several.
    pub referred: f64,
    /// Accuracy on the other images.
    pub accuracy_of_answers: Estimate,
    /// Whether the true classes are in the sets less often than chance explains.
    pub below_chance: bool,
}

impl Decisions {
    /// Measures the decisions of a checkpoint on images with these labels and probabilities. Groups
    /// are resampled as a whole.
    pub fn measure(
        meta: &Meta,
        labels: &[usize],
        probabilities: &[&[f32]],
        groups: &[usize],
    ) -> Self {
        let among = |hits: &dyn Fn(usize) -> bool, of: &dyn Fn(usize) -> bool| {
            let members: Vec<usize> = (0..labels.len()).filter(|index| of(*index)).collect();
            let hits: Vec<bool> = members.iter().map(|index| hits(*index)).collect();
            share(
                &hits,
                &members
                    .iter()
                    .map(|index| groups[*index])
                    .collect::<Vec<_>>(),
                0,
            )
        };
        let threshold = meta.threshold.as_ref().map(|fitted| {
            // A checked `meta.json` names one of its classes.
            let class = meta
                .classes
                .iter()
                .position(|class| *class == fitted.class)
                .unwrap_or(0);
            let alarms = |index: usize| probabilities[index][class] >= fitted.probability;
            let own: Vec<usize> = (0..labels.len())
                .filter(|at| labels[*at] == class)
                .collect();
            let found = own.iter().filter(|index| alarms(**index)).count();
            let sensitivity = among(&alarms, &|index| labels[index] == class);
            AtThreshold {
                fitted: fitted.clone(),
                sensitivity,
                below_chance: sensitivity.high < fitted.sensitivity
                    && fitted.rank().chance_of_at_most(found, own.len()) < SELDOM,
                specificity: among(&|index| !alarms(index), &|index| labels[index] != class),
            }
        });
        let sets = meta.coverage.as_ref().map(|fitted| {
            let sets: Vec<Vec<usize>> = probabilities
                .iter()
                .map(|row| prediction_set(row, fitted.probability))
                .collect();
            let is_answered = |index: usize| sets[index].len() == 1;
            let count = sets.len() as f64;
            let holds = |index: usize| sets[index].contains(&labels[index]);
            let held = (0..sets.len()).filter(|index| holds(*index)).count();
            let coverage = among(&holds, &|_| true);
            Sets {
                fitted: fitted.clone(),
                coverage,
                below_chance: coverage.high < fitted.coverage
                    && fitted.rank().chance_of_at_most(held, sets.len()) < SELDOM,
                mean_size: sets.iter().map(Vec::len).sum::<usize>() as f64 / count,
                referred: (0..sets.len()).filter(|index| !is_answered(*index)).count() as f64
                    / count,
                accuracy_of_answers: among(
                    &|index| argmax(probabilities[index]) == labels[index],
                    &is_answered,
                ),
            }
        });
        Self { threshold, sets }
    }

    /// Describes each decision in a line.
    pub fn words(&self) -> Vec<String> {
        let shown = |estimate: Estimate| {
            if estimate.value.is_nan() {
                "unknown, as there is no image to tell".to_owned()
            } else {
                estimate.in_brackets()
            }
        };
        let threshold = self.threshold.as_ref().map(|at| {
            let AtThreshold {
                fitted,
                sensitivity,
                specificity,
                below_chance,
            } = at;
            let kept = if *below_chance { OTHER_KIND } else { "" };
            format!(
                "{} from a probability of {:.4} on, fitted to find {}: sensitivity {}, specificity \
                 {}{kept}.",
                fitted.class,
                fitted.probability,
                fitted.sensitivity,
                shown(*sensitivity),
                shown(*specificity)
            )
        });
        let sets = self.sets.as_ref().map(|sets| {
            let kept = if sets.below_chance { OTHER_KIND } else { "" };
            format!(
                "Sets of classes promised to hold the true one for {} of new images: they do for \
                 {}; {:.2} classes on average; {:.1} % of the images would be referred, on the \
                 others the accuracy is {}{kept}.",
                sets.fitted.coverage,
                shown(sets.coverage),
                sets.mean_size,
                sets.referred * 100.0,
                shown(sets.accuracy_of_answers)
            )
        });
        threshold.into_iter().chain(sets).collect()
    }
}

/// Describes that of `total` images so many more are unlike the training images than a rate of
/// false alarms, fitted on so many images, and chance explain; nothing if they explain it. `share`
/// is the fraction of the images that is.
pub(super) fn alarm_words(
    (rate, fitted_on): (f64, usize),
    (alarms, total): (usize, usize),
    share: Estimate,
) -> &'static str {
    let chance = || Rank::of_rate(rate, fitted_on).chance_of_at_most(total - alarms, total);
    if share.low > rate && chance() < SELDOM {
        ". That is more than chance explains: these images are of another kind than the \
             validation images"
    } else {
        ""
    }
}

/// The images that count as unlike the training images.
#[derive(Clone, Debug, Serialize)]
pub struct Unlike {
    /// The novelty: a promised rate of false alarms, and what it was fitted on.
    pub fitted: Novelty,
    /// Number of images.
    pub count: usize,
    /// Fraction of the measured images.
    pub share: Estimate,
    /// Number of images measured.
    #[serde(skip)]
    total: usize,
}

impl Unlike {
    /// Measures images with these features. Groups are resampled as a whole.
    pub(super) fn of(fitted: &Novelty, features: &[Vec<f32>], groups: &[usize]) -> Self {
        let is_unlike = |row: &Vec<f32>| fitted.is_unlike(fitted.model.p_value(row));
        let unlike: Vec<bool> = features.iter().map(is_unlike).collect();
        Self {
            fitted: fitted.clone(),
            count: unlike.iter().filter(|is| **is).count(),
            share: share(&unlike, groups, 0),
            total: unlike.len(),
        }
    }

    /// Describes the share in a line.
    pub(super) fn words(&self) -> String {
        format!(
            "Unlike the training images: {} of the images; of images of their kind, at most {} in \
             the long run{}.",
            self.share.in_brackets(),
            self.fitted.rate,
            alarm_words(
                (self.fitted.rate, self.fitted.fitted_on),
                (self.count, self.total),
                self.share
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_alarms_than_promised_are_told_from_chance() {
        for (rate, fitted_on, alarms, total, is_told) in [
            // As many as expected, a few more, and those of another scanner.
            (0.05, 494, 23, 494, false),
            (0.05, 30, 12, 100, false),
            (0.05, 494, 178, 289, true),
            (0.05, 19, 9, 12, true),
            // Nothing is measured.
            (0.05, 19, 0, 0, false),
        ] {
            let hits: Vec<bool> = (0..total).map(|index| index < alarms).collect();
            let groups: Vec<usize> = (0..total).collect();
            let found = alarm_words((rate, fitted_on), (alarms, total), share(&hits, &groups, 0));
            assert_eq!(!found.is_empty(), is_told, "{alarms} of {total}");
        }
    }
}
