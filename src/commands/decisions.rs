//! What a checkpoint decides beyond the most probable class: fitted on the run's validation pictures, kept in `meta.json`, measured on others.

use std::{path::Path, str::FromStr, sync::Arc};

use anyhow::bail;
use serde::Serialize;

use super::{
    evaluate::{Setup, SplitName, data_settings, from_split, infer},
    ui::{UsageError, say},
};
use crate::{
    checkpoint::{self, Checkpoint, Meta},
    data::load_listed,
    metrics::{Coverage, Estimate, Threshold, argmax, fit_coverage, fit_temperature, fit_threshold, pictures_for, prediction_set, share},
    nn::device::Compute,
};

/// A share, without its ends.
#[derive(Clone, Copy, Debug)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_share = |share: &f64| *share > 0.0 && *share < 1.0;
        text.parse().ok().filter(is_share).map(Self).ok_or_else(|| format!("found {text}, expected a number between 0 and 1, as 0.95"))
    }
}

/// A class and the share of its pictures that is to be found.
#[derive(Clone, Debug)]
pub struct Sensitivity {
    class: String,
    share: Share,
}

impl FromStr for Sensitivity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, share) = text.rsplit_once('=').ok_or("expected CLASS=SHARE, as glioma=0.95")?;
        Ok(Self { class: class.to_owned(), share: share.parse()? })
    }
}

/// What is to be fitted.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// A temperature.
    pub calibrate: bool,
    /// A threshold for a class.
    pub sensitivity: Option<Sensitivity>,
    /// Sets of classes.
    pub coverage: Option<Share>,
}

impl Wishes {
    /// Is anything?
    pub fn any(&self) -> bool {
        self.calibrate || self.sensitivity.is_some() || self.coverage.is_some()
    }
}

/// Fits what is wished on the pictures that the run held back, and keeps it in the checkpoint. A new temperature makes new probabilities, so
/// what was fitted on the old ones is fitted again.
///
/// # Errors
/// No validation picture that can be read; a class that the checkpoint doesn't know; too few pictures for a promise.
pub fn fit(checkpoint: &mut Checkpoint, path: &Path, run: &Path, compute: &Compute, wishes: &Wishes) -> anyhow::Result<()> {
    let classes = Arc::new(checkpoint.meta.classes.clone());
    let threshold = match &wishes.sensitivity {
        Some(Sensitivity { class, share }) => Some((class.clone(), share.0)),
        None => checkpoint.meta.threshold.as_ref().filter(|_| wishes.calibrate).map(|old| (old.class.clone(), old.sensitivity)),
    };
    if let Some((class, _)) = threshold.as_ref().filter(|(class, _)| !classes.contains(class)) {
        return Err(UsageError(format!("--sensitivity: found the unknown class {class}, expected one of {}", classes.join(", "))).into());
    }
    let coverage = match wishes.coverage {
        Some(Share(share)) => Some(share),
        None => checkpoint.meta.coverage.as_ref().filter(|_| wishes.calibrate).map(|old| old.coverage),
    };
    let data = data_settings(&checkpoint.meta);
    let (set, _) = load_listed(&from_split(SplitName::Val, run)?.entries, &classes, &data, &|_| ())?;
    if set.pictures.is_empty() {
        bail!("found no validation picture of the run that can be read, expected some to fit on: {}", run.display());
    }
    let setup = Setup { run: None, data: &data, compute, batch_size: 32, tta: None };
    let labels = set.labels();
    let mut found = infer(checkpoint, &set, &setup)?;
    if wishes.calibrate {
        checkpoint.meta.temperature = fit_temperature(&found.logits, &labels);
        say(&format!("Temperature {:.4}, fitted on {} validation pictures", checkpoint.meta.temperature, labels.len()));
        found = infer(checkpoint, &set, &setup)?;
    }
    if let Some((class, sensitivity)) = threshold {
        let index = classes.iter().position(|known| *known == class).unwrap_or(0);
        let own: Vec<f32> =
            labels.iter().zip(&found.probabilities).filter(|(label, _)| **label == index).map(|(_, row)| row[index]).collect();
        let fitted_on = own.len();
        let Some(probability) = fit_threshold(own, sensitivity) else {
            bail!("found no validation picture of the class {class}, expected some to fit --sensitivity on: {}", run.display());
        };
        say(&format!(
            "{class} from a probability of {probability:.4} on: finds {sensitivity} of its {fitted_on} validation pictures or more"
        ));
        checkpoint.meta.threshold = Some(Threshold { class, sensitivity, probability, fitted_on });
    }
    if let Some(coverage) = coverage {
        let own = labels.iter().zip(&found.probabilities).map(|(label, row)| row[*label]).collect();
        let Some(probability) = fit_coverage(own, coverage) else {
            bail!(
                "found {} validation pictures, expected {} or more to promise a coverage of {coverage}",
                labels.len(),
                pictures_for(coverage)
            );
        };
        say(&format!(
            "Sets of the classes from a probability of {probability:.4} on: hold the true one for {coverage} of new pictures or more"
        ));
        checkpoint.meta.coverage = Some(Coverage { coverage, probability, fitted_on: labels.len() });
    }
    checkpoint::save_meta(path, &checkpoint.meta)?;
    say(&format!("Kept in {}; predict uses it", path.display()));
    Ok(())
}

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
    pub fn measure(meta: &Meta, labels: &[usize], probabilities: &[Vec<f32>], groups: &[usize]) -> Self {
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
                accuracy_of_answers: among(&|index| argmax(&probabilities[index]) == labels[index], &is_answered),
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
