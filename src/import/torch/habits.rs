//! What a training loop does beside its steps, and what it forgets.

use notebook_reader::{Event, Place};

use super::{calls::Made, chain::Step, described::Network, loaders::Images, training::Run};
use crate::import::{arguments::Import, findings::Mistake};

/// Sets what a loop has beside its steps, and reports what is missing in it.
pub(super) fn import(
    import: &mut Import<'_>,
    run: &Run<'_>,
    images: &Images<'_>,
    network: &Network<'_>,
) {
    let trace = import.trace;
    let place = run.place();
    let last = run.last();
    let calls: Vec<Made<'_>> = trace.events[last.events.clone()]
        .iter()
        .filter_map(|event| match event {
            Event::Call { number, .. } => Made::of(trace, *number),
            _ => None,
        })
        .collect();
    let has = |name: &str| calls.iter().any(|made| made.name() == name);
    if !has("zero_grad") {
        let what = "gradients are never set to zero: each step has those of all before it";
        let here = "each step has its own";
        import.mistake(Mistake::GradientsAddUp, place, what, here);
    }
    let has_modes = |step: &Step<'_>| match step {
        Step::Layer(made) => ["Dropout", "Norm"]
            .iter()
            .any(|part| made.name().contains(part)),
        Step::Function(_) | Step::Unknown(_) => false,
    };
    if network.base.is_some() || run.chain.steps.iter().any(has_modes) {
        mode(import, &calls, images, place);
    }
    if !has("state_dict") && !has("save") {
        let what = "the weights of the last epoch are kept";
        let here = "`best/` has those of the epoch with the best val_accuracy, `last/` the last";
        import.differs(place, what, here);
    }
    clipping(import, &calls);
    let half = trace
        .calls()
        .any(|call| ["autocast", "GradScaler"].contains(&&*call.name));
    if half {
        import.none(place, "mixed precision", "single precision");
    }
}

/// Sets the largest norm of a gradient.
fn clipping(import: &mut Import<'_>, calls: &[Made<'_>]) {
    if let Some(clip) = calls
        .iter()
        .find(|made| made.name().starts_with("clip_grad_norm"))
        && let Some(norm) = clip.number_of(1, "max_norm")
    {
        let place = clip.place_of(1, "max_norm");
        import.recipe.set("train.clip_norm", norm, place);
    }
    if let Some(clip) = calls
        .iter()
        .find(|made| made.name().starts_with("clip_grad_value"))
    {
        let what = "each value of the gradient is clipped";
        import.none(
            clip.place,
            what,
            "`train.clip_norm` clips the whole gradient",
        );
    }
}

/// Whether the network is in the right mode: validated in that of evaluation, and trained on in
/// that of training.
fn mode(import: &mut Import<'_>, calls: &[Made<'_>], images: &Images<'_>, place: Place) {
    let trace = import.trace;
    let called = |name: &str| {
        let is_it = |made: &Made<'_>| made.name() == name && trace.receiver(made.call).is_some();
        calls.iter().any(is_it)
    };
    let here = "dropout and batch norms know what they are used for";
    if images.validation.is_some() && !called("eval") {
        let what = "the network is validated without `eval()`: dropout and batch norms go on as \
                    in training";
        import.mistake(Mistake::WrongMode, place, what, here);
    }
    if called("eval") && !called("train") {
        let what = "the network is never put back into `train()`: from the second epoch on \
                    there is no dropout, and batch norms don't learn";
        import.mistake(Mistake::WrongMode, place, what, here);
    }
}
