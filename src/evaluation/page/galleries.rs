//! The images that a report shows, each beside its map.

use image::RgbImage;

use super::subject::Subject;
use crate::{
    base::{
        names,
        progress::{Progress, Task},
    },
    evaluation::Evaluation,
    explain::{Explainer, Map, Method, SURE, overlay},
    metrics::argmax,
    report::{
        Shot,
        images::{colored, in_a_row, jpeg, magnified},
    },
};

/// Maximum number of mistakes shown.
const MISTAKES: usize = 24;

/// Number of correct predictions shown of each class.
const HITS: usize = 2;

/// Maximum number of correct predictions shown of all classes together.
const ALL_HITS: usize = 24;

/// Maximum width of an image with its maps in pixels, so that the size of the page doesn't depend
/// on the network's input.
const SHOT_WIDTH: u32 = 660;

impl Subject<'_> {
    /// Returns the worst mistakes and typical correct predictions, each beside its Grad-CAM.
    ///
    /// # Errors
    /// Returns an error if an image can't be read again or the device fails.
    pub(super) fn galleries(&self, progress: &dyn Progress) -> anyhow::Result<[Vec<Shot>; 2]> {
        let Evaluation {
            set,
            probabilities,
            classes,
            ..
        } = self.evaluation;
        let truth = |index: usize| probabilities[index][set.images[index].label];
        let is_right = |index: &usize| argmax(&probabilities[*index]) == set.images[*index].label;
        let mut order: Vec<usize> = (0..set.images.len()).collect();
        // By the probability of the true class: the worst mistakes come first.
        order.sort_by(|a, b| truth(*a).total_cmp(&truth(*b)));
        let mistakes: Vec<usize> = order
            .iter()
            .copied()
            .filter(|index| !is_right(index))
            .take(MISTAKES)
            .collect();
        let mut right: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
        order
            .iter()
            .filter(|index| is_right(index))
            .for_each(|index| right[set.images[*index].label].push(*index));
        // Around the median: the surest predictions look alike, the least sure are close to
        // mistakes.
        let of_class = |hits: Vec<usize>| {
            let start = (hits.len() / 2).saturating_sub(HITS / 2);
            hits.into_iter().skip(start).take(HITS).collect::<Vec<_>>()
        };
        let hits: Vec<usize> = right
            .into_iter()
            .flat_map(of_class)
            .take(ALL_HITS)
            .collect();
        let explain =
            |networks| Explainer::new(networks, &self.compute.device, Method::GradCam, None);
        // Networks that classified together are explained together.
        let together = if self.of_image().is_some() {
            1
        } else {
            self.checkpoints.len()
        };
        let networks = self.checkpoints.chunks(together);
        let explainers = networks.map(explain).collect::<Result<Vec<_>, _>>()?;
        let task = progress.items("Explaining");
        task.set_total(mistakes.len() + hits.len());
        let shots = |indices: &[usize]| {
            indices
                .iter()
                .map(|index| {
                    let of_image = self.of_image().map_or(0, |of_image| of_image[*index]);
                    self.shot(&explainers[of_image], *index, &*task)
                })
                .collect::<anyhow::Result<Vec<_>>>()
        };
        Ok([shots(&mistakes)?, shots(&hits)?])
    }

    /// Says whose maps the galleries show, if there are several networks.
    pub(super) fn whose_maps(&self) -> &'static str {
        match (self.checkpoints.len(), &self.evaluation.folds) {
            (1, _) => "",
            (_, Some(_)) => " Each map is of the network that classified the image.",
            (_, None) if self.of_image().is_some() => " The maps are those of one network.",
            (_, None) => " Each map is the mean of the maps of all networks.",
        }
    }

    fn shot(&self, explainer: &Explainer, index: usize, task: &dyn Task) -> anyhow::Result<Shot> {
        let Evaluation {
            set,
            probabilities,
            classes,
            copies,
            ..
        } = self.evaluation;
        let (image, row) = (&set.images[index], &probabilities[index]);
        let predicted = argmax(row);
        let input = explainer.inputs(set, index..index + 1)?;
        let map = explainer.explain(&input, &[predicted])?.swap_remove(0);
        let shape = set.store.format().shape();
        let plain = colored(&set.store.colored(image.slot)?, shape);
        // A map without evidence for a class that the network is sure of would leave the reader
        // with nothing, so another method's map is shown beside it.
        let next = if !map.places_evidence() && f64::from(row[predicted]) >= SURE {
            explainer.next_evidence(&input, predicted)?
        } else {
            None
        };
        let shown = |map: &Map| magnified(&overlay(&plain, &map.at_size([shape[0], shape[1]])));
        let sides: Vec<RgbImage> = [magnified(&plain), shown(&map)]
            .into_iter()
            .chain(next.iter().map(|(_, map)| shown(map)))
            .collect();
        let jpeg = jpeg(&in_a_row(&sides), SHOT_WIDTH)?;
        let mut lines = if predicted == image.label {
            vec![format!("{} ({:.3})", classes[predicted], row[predicted])]
        } else {
            vec![
                format!("taken for {} ({:.3})", classes[predicted], row[predicted]),
                format!("is {} ({:.3})", classes[image.label], row[image.label]),
            ]
        };
        lines.push(names::of_os(image.path.file_name().unwrap_or_default()));
        if copies.get(index).is_some_and(|is_copy| *is_copy) {
            lines.push("a copy of an image known from training".to_owned());
        }
        if !map.places_evidence() {
            let words = if map.has_evidence() {
                "the evidence is the same everywhere"
            } else {
                "no positive evidence at this layer"
            };
            let beside =
                next.map(|(explainer, _)| format!("; on the right: {}", explainer.method().name()));
            lines.push(format!("{words}{}", beside.unwrap_or_default()));
        }
        task.add(1);
        Ok(Shot { jpeg, lines })
    }
}
