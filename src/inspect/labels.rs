//! Labels that a cheap model doesn't believe: a regression on features of the pictures, fitted without the picture that is judged, and
//! confident learning (Northcutt et al. 2021, arXiv 1911.00068) on its probabilities.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::logistic::{Bound, Matrix, dot, fit};
use crate::{
    base::{
        names,
        rng::{Purpose, RngExt, normal, permutation, stream},
    },
    data::{
        duplicates::survey::{Seen, Survey},
        listing::split::{Member, folds},
        pixels::look::{Look, SIDE},
    },
};

/// Parts that the pictures are dealt to; each is judged by a model of the others.
const FOLDS: usize = 5;
/// Pictures of a class below which nothing is said of it.
const LEAST: usize = 20;
/// Pictures that a model is fitted to at most.
const FITTED: usize = 8000;
/// How far above chance a model must be to be asked, as a share of what is left above chance.
const SKILLED: f64 = 0.5;
/// A small picture has a row for so many of a look, and so many rows and columns.
const STEP: usize = 4;
const SMALL: usize = SIDE / STEP;
/// Waves over them.
const WAVES: usize = 512;
/// How many times as likely as the label the suggestion must be.
const ODDS: f64 = 5.0;

/// Numbers of each picture that tell more than its pixels.
#[derive(Clone, Debug)]
pub struct Features {
    /// What they are, in words.
    pub words: String,
    /// Of each picture.
    pub width: usize,
    /// Picture by picture.
    pub values: Vec<f32>,
}

impl Features {
    /// Of small grey pictures: cosines of random waves over them, which do for a linear model what a Gaussian kernel would (Rahimi and Recht
    /// 2007).
    fn of_looks(looks: &[&Look]) -> Self {
        let small: Vec<f32> = looks.iter().flat_map(|look| small(look)).collect();
        let small = Matrix::standardised(&small, SMALL * SMALL);
        let wave = |index: usize| -> Vec<f32> {
            let mut draw = stream(0, Purpose::Waves, [index as u64, 0, 0]);
            let scale = 1.0 / SMALL as f64;
            let weights: Vec<f32> = (0..SMALL * SMALL).map(|_| (scale * normal(&mut draw)) as f32).collect();
            weights.into_iter().chain([draw.random_range(0.0..std::f32::consts::TAU)]).collect()
        };
        let waves: Vec<Vec<f32>> = (0..WAVES).map(wave).collect();
        let of_one = |index: usize| waves.iter().map(|wave| dot(wave, small.row(index)).cos()).collect::<Vec<_>>();
        let values = (0..looks.len()).into_par_iter().flat_map_iter(of_one).collect();
        Self { words: format!("small pictures ({SMALL}x{SMALL}, grey)"), width: WAVES, values }
    }
}

fn small(look: &Look) -> Vec<f32> {
    let mut out = vec![0.0; SMALL * SMALL];
    for (at, level) in look.bytes().iter().enumerate() {
        out[at / SIDE / STEP * SMALL + at % SIDE / STEP] += f32::from(*level);
    }
    out
}

/// What a cheap model says of the labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Labels {
    /// What it looked at.
    pub features: String,
    /// Labels that it judged: those of classes with enough pictures.
    pub images: usize,
    /// Mean recall of the classes, on pictures that it wasn't fitted to.
    pub balanced_accuracy: f64,
    /// Labels that it doesn't believe, the least believed first.
    pub suspects: Vec<DoubtfulLabel>,
}

/// A label that a model doesn't believe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoubtfulLabel {
    /// Where the picture is.
    pub path: String,
    /// What it is said to be.
    pub label: String,
    /// What the model takes it for.
    pub suggestion: String,
    /// Its probability of the label.
    pub label_probability: f64,
    /// Its probability of the suggestion.
    pub suggestion_probability: f64,
    #[serde(skip)]
    index: usize,
}

impl DoubtfulLabel {
    /// Its position among the pictures that were seen.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Judges the labels of all pictures; `None` where there are too few to fit a model to, or the model knows too little to be asked.
pub(super) fn judge(survey: &Survey, features: Option<Features>) -> Option<Labels> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    survey.seen.iter().for_each(|seen| *counts.entry(&seen.entry.class).or_default() += 1);
    let classes: Vec<&str> = counts.iter().filter(|(_, count)| **count >= LEAST).map(|(class, _)| *class).collect();
    if classes.len() < 2 {
        return None;
    }
    let features = features.unwrap_or_else(|| Features::of_looks(&survey.seen.iter().map(|seen| &seen.facts.look).collect::<Vec<_>>()));
    let class = |seen: &Seen| classes.binary_search(&seen.entry.class.as_str()).ok();
    let (judged, labels): (Vec<usize>, Vec<usize>) =
        survey.seen.iter().enumerate().filter_map(|(index, seen)| Some((index, class(seen)?))).unzip();
    let values: Vec<f32> =
        judged.iter().flat_map(|index| &features.values[index * features.width..(index + 1) * features.width]).copied().collect();
    let firsts = survey.firsts();
    let member = |(index, label): (&usize, &usize)| {
        // Copies are in one part, so that nobody is judged by its own copy.
        let digest = survey.seen[firsts[*index]].facts.pixels;
        Member { class: *label, group: survey.seen[*index].entry.group.clone(), digest }
    };
    let members: Vec<Member> = judged.iter().zip(&labels).map(member).collect();
    let probabilities = out_of_fold(&Matrix::standardised(&values, features.width), &labels, classes.len(), &folds(&members, FOLDS, 0));
    let balanced_accuracy = balanced_accuracy(&probabilities, &labels, classes.len());
    let chance = 1.0 / classes.len() as f64;
    if balanced_accuracy < chance + SKILLED * (1.0 - chance) {
        return None;
    }
    let suspect = |(at, suggestion): (usize, usize)| DoubtfulLabel {
        path: names::of_path(&survey.seen[judged[at]].entry.path),
        label: classes[labels[at]].to_owned(),
        suggestion: classes[suggestion].to_owned(),
        label_probability: probabilities[at][labels[at]],
        suggestion_probability: probabilities[at][suggestion],
        index: judged[at],
    };
    let mut suspects: Vec<DoubtfulLabel> = doubtful(&probabilities, &labels, classes.len()).into_iter().map(suspect).collect();
    // Confident learning alone takes each hard picture of a clean set for a wrong label.
    suspects.retain(|suspect| suspect.label_probability * ODDS <= suspect.suggestion_probability);
    let margin = |suspect: &DoubtfulLabel| suspect.label_probability - suspect.suggestion_probability;
    suspects.sort_by(|a, b| margin(a).total_cmp(&margin(b)));
    Some(Labels { features: features.words, images: judged.len(), balanced_accuracy, suspects })
}

/// Probabilities of the classes for each row, by a model of the rows of the other folds.
fn out_of_fold(matrix: &Matrix, labels: &[usize], num_classes: usize, folds: &[usize]) -> Vec<Vec<f64>> {
    let order = permutation(&mut stream(0, Purpose::Folds, [2, 0, 0]), labels.len());
    // What bounds the curvature over more rows bounds it over fewer.
    let bound = Bound::of(matrix, &order[..order.len().min(2 * FITTED)]);
    let of_fold = |fold: usize| {
        let fitted: Vec<usize> = order.iter().copied().take(2 * FITTED).filter(|index| folds[*index] != fold).take(FITTED).collect();
        let model = fit(matrix, labels, num_classes, &fitted, &bound);
        let judged: Vec<usize> = (0..labels.len()).filter(|index| folds[*index] == fold).collect();
        let found = model.probabilities(matrix, &judged);
        judged.into_iter().zip(found).collect::<Vec<_>>()
    };
    let mut probabilities = vec![Vec::new(); labels.len()];
    (0..FOLDS)
        .into_par_iter()
        .flat_map_iter(of_fold)
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|(index, found)| probabilities[index] = found);
    probabilities
}

fn most_likely(probabilities: &[f64]) -> usize {
    (0..probabilities.len()).rev().max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap_or(0)
}

fn balanced_accuracy(probabilities: &[Vec<f64>], labels: &[usize], num_classes: usize) -> f64 {
    let (mut hits, mut counts) = (vec![0.0; num_classes], vec![0.0f64; num_classes]);
    for (probabilities, label) in probabilities.iter().zip(labels) {
        counts[*label] += 1.0;
        hits[*label] += f64::from(u8::from(most_likely(probabilities) == *label));
    }
    hits.iter().zip(&counts).map(|(hits, count)| hits / count.max(1.0)).sum::<f64>() / num_classes as f64
}

/// Positions off the diagonal of the confident joint, each with the class that it is taken for. A class is confidently predicted from the
/// mean probability on that it gets from pictures with its label.
fn doubtful(probabilities: &[Vec<f64>], labels: &[usize], num_classes: usize) -> Vec<(usize, usize)> {
    let threshold = |class: usize| {
        let own = || probabilities.iter().zip(labels).filter(|(_, label)| **label == class);
        own().map(|(probabilities, _)| probabilities[class]).sum::<f64>() / own().count().max(1) as f64
    };
    let thresholds: Vec<f64> = (0..num_classes).map(threshold).collect();
    let suspect = |(at, (probabilities, label)): (usize, (&Vec<f64>, &usize))| {
        let class = most_likely(probabilities);
        (class != *label && probabilities[class] >= thresholds[class] - 1e-6).then_some((at, class))
    };
    probabilities.iter().zip(labels).enumerate().filter_map(suspect).collect()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::data::{
        listing::{Entry, Part},
        pixels::{decode::Pixels, facts::look_at},
    };

    /// A picture whose class shows, in many ways: a bright half on the left, on the right, or below, of any brightness, in noise.
    fn picture(class: usize, index: u64) -> Pixels {
        let mut draw = stream(5, Purpose::Synthetic, [index, class as u64, 0]);
        let (strength, noise) = (draw.random_range(60..120u8), draw.random_range(10..60u8));
        let is_bright = |row: usize, column: usize| [column < 20, column > 28, row > 18][class];
        let bytes = (0..40 * 48).map(|at| draw.random_range(0..noise) + if is_bright(at / 48, at % 48) { strength } else { 40 });
        Pixels { height: 40, width: 48, channels: 1, bytes: bytes.collect() }
    }

    fn survey(labels: &[(usize, usize)]) -> Survey {
        let seen = |(index, (shown, label)): (usize, &(usize, usize))| {
            let pixels = picture(*shown, index as u64);
            let grey = image::GrayImage::from_raw(48, 40, pixels.bytes).expect("all its pixels");
            let mut file = std::io::Cursor::new(Vec::new());
            grey.write_to(&mut file, image::ImageFormat::Png).expect("memory");
            let (facts, _) = look_at(file.get_ref(), crate::config::Color::Rgb).expect("a picture");
            let path = PathBuf::from(format!("{index}.png"));
            let entry = Entry { path, class: format!("class {label}"), group: None, weight: 1.0, split: None };
            Seen { entry, part: Part::Train, facts: Arc::new(facts) }
        };
        Survey { seen: labels.iter().enumerate().map(seen).collect(), ..Survey::default() }
    }

    #[test]
    fn planted_wrong_labels_are_found_and_right_ones_are_believed() {
        let wrong = [7, 50, 101, 260, 400];
        let label = |index: usize| (index % 3, if wrong.contains(&index) { (index + 1) % 3 } else { index % 3 });
        let labels = judge(&survey(&(0..420).map(label).collect::<Vec<_>>()), None).expect("easy");
        assert!(labels.balanced_accuracy > 0.9 && labels.images == 420, "{labels:?}");
        let mut found: Vec<usize> = labels.suspects.iter().map(DoubtfulLabel::index).collect();
        found.sort_unstable();
        assert_eq!(found, wrong);
        let worst = &labels.suspects[0];
        let index = worst.index();
        assert_eq!(
            [&worst.path, &worst.label, &worst.suggestion],
            [&format!("{index}.png"), &format!("class {}", (index + 1) % 3), &format!("class {}", index % 3)]
        );
    }

    #[test]
    fn nobody_is_asked_who_knows_nothing() {
        // What the pictures show has nothing to do with their labels.
        assert_eq!(judge(&survey(&(0..90).map(|index| (index % 3, index / 3 % 3)).collect::<Vec<_>>()), None), None);
        // Too few.
        assert_eq!(judge(&survey(&(0..30).map(|index| (index % 3, index % 3)).collect::<Vec<_>>()), None), None);
    }

    /// `scripts/reference/confident_learning.py`, cleanlab 2.9.0.
    #[test]
    fn what_is_off_the_diagonal_is_cleanlabs() {
        #[derive(serde::Deserialize)]
        struct Case {
            labels: Vec<usize>,
            probabilities: Vec<Vec<f64>>,
            issues: Vec<usize>,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/golden/confident_learning.json")).expect("whole");
        assert!(cases.len() >= 6 && cases.iter().any(|case| case.issues.len() > 5));
        for (number, case) in cases.iter().enumerate() {
            let found = doubtful(&case.probabilities, &case.labels, case.probabilities[0].len());
            assert_eq!(found.into_iter().map(|(at, _)| at).collect::<Vec<_>>(), case.issues, "case {number}");
        }
    }
}
