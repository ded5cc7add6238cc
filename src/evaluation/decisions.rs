//! What a checkpoint decides beyond the most probable class (`emberlens calibrate` fits it), measured on pictures.

use serde::Serialize;

use crate::{
    checkpoint::Meta,
    metrics::{Coverage, Estimate, Threshold, argmax, prediction_set, share},
};

/// What a promise that isn't kept means.
const OTHER_KIND: &str = ". That is less than was promised: these pictures are of another kind than the validation pictures";

/// The decisions of a checkpoint, measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Decisions {
    /// The class with a threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<AtThreshold>,
    /// Sets of classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<Sets>,
}

/// A class against all others from a probability on.
#[derive(Clone, Debug, Serialize)]
pub struct AtThreshold {
    /// What was fitted.
    pub fitted: Threshold,
    /// Share of the class's pictures that are found.
    pub sensitivity: Estimate,
    /// Share of the others that raise no alarm.
    pub specificity: Estimate,
}

/// Sets of classes.
#[derive(Clone, Debug, Serialize)]
pub struct Sets {
    /// What was fitted.
    pub fitted: Coverage,
    /// Share of the sets that hold the true class.
    pub coverage: Estimate,
    /// Classes in a set, on average.
    pub mean_size: f64,
    /// Share of the pictures that `predict --abstain` refers: their set has none or several classes.
    pub referred: f64,
    /// Accuracy on those that it answers.
    pub accuracy_of_answers: Estimate,
}

impl Decisions {
    /// Of the pictures with these labels and probabilities; those of one group are drawn together.
    pub fn measure(meta: &Meta, labels: &[usize], probabilities: &[&[f32]], groups: &[usize]) -> Self {
        let among = |hits: &dyn Fn(usize) -> bool, of: &dyn Fn(usize) -> bool| {
            let members: Vec<usize> = (0..labels.len()).filter(|index| of(*index)).collect();
            let hits: Vec<bool> = members.iter().map(|index| hits(*index)).collect();
            share(&hits, &members.iter().map(|index| groups[*index]).collect::<Vec<_>>(), 0)
        };
        let threshold = meta.threshold.as_ref().map(|fitted| {
            let class = meta.classes.iter().position(|class| *class == fitted.class).unwrap_or(0);
            let alarms = |index: usize| probabilities[index][class] >= fitted.probability;
            AtThreshold {
                fitted: fitted.clone(),
                sensitivity: among(&alarms, &|index| labels[index] == class),
                specificity: among(&|index| !alarms(index), &|index| labels[index] != class),
            }
        });
        let sets = meta.coverage.as_ref().map(|fitted| {
            let sets: Vec<Vec<usize>> = probabilities.iter().map(|row| prediction_set(row, fitted.probability)).collect();
            let is_answered = |index: usize| sets[index].len() == 1;
            let count = sets.len() as f64;
            Sets {
                fitted: fitted.clone(),
                coverage: among(&|index| sets[index].contains(&labels[index]), &|_| true),
                mean_size: sets.iter().map(Vec::len).sum::<usize>() as f64 / count,
                referred: (0..sets.len()).filter(|index| !is_answered(*index)).count() as f64 / count,
                accuracy_of_answers: among(&|index| argmax(probabilities[index]) == labels[index], &is_answered),
            }
        });
        Self { threshold, sets }
    }

    /// A line each.
    pub fn words(&self) -> Vec<String> {
        let shown = |Estimate { value, low, high }: Estimate| match value.is_nan() {
            true => "no picture to tell".to_owned(),
            false => format!("{value:.4} [{low:.4}, {high:.4}]"),
        };
        let threshold = self.threshold.as_ref().map(|AtThreshold { fitted, sensitivity, specificity }| {
            let kept = if sensitivity.high < fitted.sensitivity { OTHER_KIND } else { "" };
            format!(
                "{} from a probability of {:.4} on, fitted to find {}: sensitivity {}, specificity {}{kept}.",
                fitted.class,
                fitted.probability,
                fitted.sensitivity,
                shown(*sensitivity),
                shown(*specificity)
            )
        });
        let sets = self.sets.as_ref().map(|sets| {
            let kept = if sets.coverage.high < sets.fitted.coverage { OTHER_KIND } else { "" };
            format!(
                "Sets of classes promised to hold the true one for {} of new pictures: they do for {}; {:.2} classes on average; {:.1} % of the \
                 pictures would be referred, on the others the accuracy is {}{kept}.",
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
