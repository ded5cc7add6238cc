//! `data.normalize`: what `Normalize` makes of pixel values, and what weights expect.

use notebook_reader::Trace;

use crate::import::{
    arguments::{Import, number},
    findings::Mistake,
    torch::{calls::Made, described::Network, loaders::Source},
};

/// Mean and standard deviation of ImageNet, as torchvision has them.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// Returns mean and standard deviation of a `Normalize`.
pub(super) fn statistics(trace: &Trace, made: &Made<'_>) -> Option<[Vec<f64>; 2]> {
    if made.name() == "transforms" {
        return Some(IMAGENET.map(|own| own.to_vec()));
    }
    if made.name() != "Normalize" {
        return None;
    }
    let numbers = |at: usize, name: &str| -> Option<Vec<f64>> {
        let value = made.value(at, name)?;
        match trace.sequence(value) {
            Some(values) => values.iter().map(number).collect(),
            None => Some(vec![number(value)?]),
        }
    };
    Some([numbers(0, "mean")?, numbers(1, "std")?])
}

/// Sets the normalization, and reports one that pretrained weights weren't trained on.
pub(super) fn normalize(
    import: &mut Import<'_>,
    list: &[Made<'_>],
    train: &Source<'_>,
    network: &Network<'_>,
) {
    let trace = import.trace;
    let found = list
        .iter()
        .find_map(|made| Some((statistics(trace, made)?, made.place)));
    let is_imagenet = found.as_ref().is_some_and(|(pair, _)| {
        let near = |own: &[f64], known: &[f64; 3]| {
            own.len() == 3
                && own
                    .iter()
                    .zip(known)
                    .all(|(own, known)| (own - known).abs() < 0.006)
        };
        near(&pair[0], &IMAGENET[0]) && near(&pair[1], &IMAGENET[1])
    });
    if let Some(base) = network.base.as_ref().filter(|base| base.is_pretrained) {
        if !is_imagenet && train.transform().is_some() {
            let (words, place) = match &found {
                Some((pair, place)) => {
                    (format!("mean {:?} and std {:?}", pair[0], pair[1]), *place)
                }
                None => ("no `Normalize`".to_owned(), train.loader.place),
            };
            let what = format!(
                "images reach the weights of `{}` with {words}, and not with ImageNet's mean and \
                 standard deviation, which they were trained on",
                base.name
            );
            let here = "`data.normalize = \"auto\"`: what belongs to the weights";
            import.mistake(Mistake::PixelsOfWeights, place, what, here);
        }
        return;
    }
    let Some((pair, place)) = found else {
        return;
    };
    if is_imagenet {
        return import.recipe.set("data.normalize", "imagenet", place);
    }
    let channels = if import.recipe.has("data.color") {
        1
    } else {
        3
    };
    let [mean, std] = pair.map(|own| match own[..] {
        [one] => vec![one; channels],
        _ => own,
    });
    import.recipe.set("data.normalize.mean", mean, place);
    import.recipe.set("data.normalize.std", std, place);
}
