//! The head of a network of torchvision or timm: its own, or what a notebook puts in its place.

use notebook_reader::{Event, Origin, Place, Trace, Value};

use super::{
    calls::root,
    chain,
    described::{Base, Network},
    plain,
    training::Run,
};
use crate::import::{
    arguments::{Import, count},
    head::Head,
};

/// Names of a network's last layers.
const NAMES: [&str; 8] = [
    "fc",
    "_fc",
    "classifier",
    "head",
    "heads",
    "last_linear",
    "linear",
    "output",
];

/// What takes the place of a head.
enum Replaced {
    /// All of it.
    Whole(Value, Place),
    /// Its last layer.
    Last(Value, Place),
}

/// Adds the layers of the head.
pub(super) fn import<'t>(
    import: &mut Import<'t>,
    run: &Run<'t>,
    base: &Base<'t>,
    head: &mut Head,
    network: &mut Network<'t>,
) {
    let trace = import.trace;
    let is_vgg = base.architecture.name().starts_with("vgg");
    match replaced(trace, run, base) {
        Some(Replaced::Whole(value, place)) => {
            head.pool(if is_vgg { "flatten" } else { "average" }, place);
            for step in chain::layers(trace, &value) {
                plain::add_to_head(import, &step, head, network);
            }
        }
        Some(Replaced::Last(value, place)) => {
            own(import, base, head, place);
            for step in chain::layers(trace, &value) {
                plain::add_to_head(import, &step, head, network);
            }
        }
        None => {
            own(import, base, head, base.made.place);
            let classes = base.made.call.argument("num_classes");
            let is_given = classes.is_some() || is_reset(trace, base);
            let units = classes.and_then(|own| count(&own.value));
            head.dense(units, String::new(), base.made.place);
            if !is_given {
                let what = format!(
                    "`{}` with its own last layer for the 1000 classes of ImageNet",
                    base.name
                );
                let here = "a new one for the classes of the images";
                import.differs(base.made.place, what, here);
            }
        }
    }
}

/// The layers of torchvision's head before the last one.
fn own(import: &mut Import<'_>, base: &Base<'_>, head: &mut Head, place: Place) {
    let name = base.architecture.name();
    let is_torchvision = base.made.name() != "create_model";
    if name.starts_with("vgg") {
        head.pool("flatten", place);
        for units in [4096, 4096] {
            head.dense(Some(units), "relu".to_owned(), place);
            head.dropout(0.5, place);
        }
        if base.is_pretrained {
            let what = format!("the two dense layers of `{}` keep their weights", base.name);
            let here = "two new ones; `model.pooling = \"average\"` without any learns faster";
            import.none(place, what, here);
        }
        return;
    }
    head.pool("average", place);
    if !is_torchvision {
        return;
    }
    match name {
        "mobilenet_v3_small" => head.dense(Some(1024), "hardswish".to_owned(), place),
        "mobilenet_v3_large" => head.dense(Some(1280), "hardswish".to_owned(), place),
        _ => {}
    }
    let rate = match name {
        "mobilenet_v2" | "efficientnet_b0" | "efficientnet_b1" | "mobilenet_v3_small"
        | "mobilenet_v3_large" => 0.2,
        "efficientnet_b2" | "efficientnet_b3" => 0.3,
        "efficientnet_b4" => 0.4,
        "squeezenet1_1" | "inception_v3" => 0.5,
        _ => return,
    };
    head.dropout(rate, place);
}

/// Returns what is set in the place of the head before the network is trained.
fn replaced(trace: &Trace, run: &Run<'_>, base: &Base<'_>) -> Option<Replaced> {
    let own = Value::Opaque(base.made.number);
    let events = &trace.events[..run.last().events.start];
    events.iter().rev().find_map(|event| match event {
        Event::Set {
            of,
            name,
            value,
            place,
            ..
        } => {
            if root(trace, of) == own && NAMES.contains(&&**name) {
                return Some(Replaced::Whole(value.clone(), *place));
            }
            // `model.heads.head`, `model.classifier.fc`.
            let inner = attribute(trace, of, &own)?;
            let is_layer = trace.call(value).is_some();
            (NAMES.contains(&inner) && is_layer).then(|| Replaced::Last(value.clone(), *place))
        }
        Event::SetItem {
            of, value, place, ..
        } => {
            let inner = attribute(trace, of, &own)?;
            NAMES
                .contains(&inner)
                .then(|| Replaced::Last(value.clone(), *place))
        }
        Event::Call { .. } => None,
    })
}

/// Returns the name of the attribute of the network that a value is.
fn attribute<'t>(trace: &'t Trace, value: &Value, network: &Value) -> Option<&'t str> {
    match &trace.opaque(value)?.origin {
        Origin::Attribute { of, name } if root(trace, of) == *network => Some(name),
        _ => None,
    }
}

/// Returns whether timm's `reset_classifier` is called.
fn is_reset(trace: &Trace, base: &Base<'_>) -> bool {
    trace.calls().any(|call| {
        &*call.name == "reset_classifier"
            && trace
                .receiver(call)
                .is_some_and(|of| root(trace, of) == Value::Opaque(base.made.number))
    })
}
