//! Mistakes with the images: validation images that are augmented, and orders that do harm.

use notebook_reader::{Origin, Value};

use crate::import::{
    arguments::Import,
    findings::Mistake,
    keras::{
        runs::Run,
        sources::{Reader, Source},
    },
};

/// Reports validation images that are augmented.
pub(super) fn compare(import: &mut Import<'_>, validation: &Source<'_>) {
    if let Some(change) = validation.augmenting() {
        let what = format!("the validation images are augmented (`{change}` among others)");
        let here = "validation images are never changed";
        let place = validation.place_of("directory");
        import.mistake(Mistake::ValidationAugmented, place, what, here);
    }
}

/// Reports an order of images that does harm.
pub(super) fn order(import: &mut Import<'_>, run: &Run<'_>, train: &Source<'_>) {
    let trace = import.trace;
    let shuffles = |step: &usize| {
        trace
            .call_numbered(*step)
            .is_some_and(|call| &*call.name == "shuffle")
    };
    if train.reader != Reader::Arrays && !train.is_shuffled() && !train.steps.iter().any(shuffles) {
        let what = "the training images aren't shuffled: each batch is of one class";
        let here = "they are shuffled in each epoch";
        import.mistake(Mistake::NotShuffled, train.place_of("shuffle"), what, here);
    }
    let predicted: Vec<Value> = trace
        .calls()
        .filter(|call| ["predict", "predict_generator"].contains(&&*call.name))
        .filter(|call| trace.receiver(call) == Some(&run.model))
        .filter_map(|call| call.arguments.first())
        .map(|argument| argument.value.clone())
        .collect();
    let compared = trace
        .opaques
        .iter()
        .find_map(|opaque| match &opaque.origin {
            Origin::Attribute { of, name } if &**name == "classes" && predicted.contains(of) => {
                let call = trace.call(of)?;
                let shuffle = call.argument("shuffle").map(|argument| &argument.value);
                let is_drawn =
                    call.name.starts_with("flow_from_") && shuffle != Some(&Value::Bool(false));
                is_drawn.then(|| (opaque.place, opaque.text.clone()))
            }
            _ => None,
        });
    if let Some((place, text)) = compared {
        let what = format!(
            "`{text}` is in the order of files, and the predictions are in the order of a \
             generator that shuffles: the comparison means nothing"
        );
        let here = "`evaluate` compares image by image";
        import.mistake(Mistake::ShuffledClasses, place, what, here);
    }
}
