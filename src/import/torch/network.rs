//! The network: one of torchvision or timm with its weights and head, or a plain stack of layers.

use notebook_reader::{Event, Place, Value};

use super::{
    calls::{Made, maker, root},
    chain::Step,
    described::{Base, Network},
    plain, top,
    training::Run,
};
use crate::{
    architecture::Architecture,
    import::{arguments::Import, head::Head},
};

/// Networks that aren't here, by the beginnings of their names, with the one that is nearest.
const INSTEAD: [(&str, &str); 22] = [
    ("resnet152", "resnet101"),
    ("resnext101", "resnet101"),
    ("wide_resnet101", "resnet101"),
    ("resnext", "resnet50"),
    ("wide_resnet", "resnet50"),
    ("regnet", "resnet50"),
    ("seresnet", "resnet50"),
    ("vgg11", "vgg16"),
    ("vgg13", "vgg16"),
    ("vgg19_bn", "vgg19"),
    ("alexnet", "squeezenet1_1"),
    ("squeezenet1_0", "squeezenet1_1"),
    ("shufflenet", "mobilenet_v2"),
    ("mnasnet", "mobilenet_v2"),
    ("densenet", "densenet121"),
    ("googlenet", "inception_v3"),
    ("xception", "inception_v3"),
    ("efficientnet_v2", "efficientnet_b3"),
    ("efficientnet", "efficientnet_b4"),
    ("convnext", "convnext_tiny"),
    ("vit", "dinov2_s"),
    ("swin", "convnext_tiny"),
];

/// timm's names of networks whose usual names are others.
const TIMM: [(&str, &str); 6] = [
    ("mobilenetv2_100", "mobilenet_v2"),
    ("mobilenetv3_large_100", "mobilenet_v3_large"),
    ("mobilenetv3_small_100", "mobilenet_v3_small"),
    ("mobilenetv1_100", "mobilenet_v1"),
    ("vit_small_patch14_dinov2", "dinov2_s"),
    ("dinov2_vits14", "dinov2_s"),
];

/// Returns the name of the network that a call makes, and that of its counterpart.
fn named(made: &Made<'_>) -> Option<(String, &'static str, bool)> {
    let text = |at: usize, name: &str| match made.value(at, name) {
        Some(Value::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    let name = match made.name() {
        "create_model" => text(0, "model_name")?,
        "get_model" => text(0, "name")?,
        // `torch.hub.load`.
        "load" => text(1, "model")?,
        // Of `efficientnet_pytorch`.
        "from_pretrained" | "from_name" => text(0, "model_name")?.replace('-', "_"),
        name => name.to_owned(),
    };
    // timm's tags of weights: `resnet50.a1_in1k`.
    let plain = name.split('.').next().unwrap_or(&name).to_lowercase();
    let usual = plain.strip_prefix("tf_").unwrap_or(&plain);
    let usual = usual.strip_suffix("_ns").unwrap_or(usual);
    let alias = TIMM.iter().find(|(known, _)| *known == usual);
    let usual = alias.map_or(usual, |(_, name)| *name);
    if let Some(architecture) = Architecture::find(usual).filter(|own| !own.is_of_recipe()) {
        return Some((name, architecture.name(), true));
    }
    let (_, nearest) = INSTEAD.iter().find(|(known, _)| usual.starts_with(known))?;
    Some((name, nearest, false))
}

/// Returns whether a network gets pretrained weights.
fn is_pretrained(made: &Made<'_>) -> bool {
    if made.name() == "from_pretrained" {
        return true;
    }
    // Older versions of torchvision have `pretrained` first.
    let at = match made.name() {
        "create_model" => 1,
        "load" => usize::MAX,
        _ => 0,
    };
    let first = made.call.positional().nth(at);
    let given = [
        made.call.argument("pretrained"),
        made.call.argument("weights"),
        first,
    ];
    let is_off = |value: &Value| matches!(value, Value::None | Value::Bool(false));
    let mut given = given.into_iter().flatten();
    given.any(|argument| !is_off(&argument.value))
}

/// Sets the architecture, its weights and the head.
pub(super) fn import<'t>(import: &mut Import<'t>, run: &Run<'t>) -> Network<'t> {
    let found = run
        .chain
        .steps
        .iter()
        .enumerate()
        .find_map(|(at, step)| match step {
            Step::Layer(made) => named(made).map(|named| (at, *made, named)),
            _ => None,
        });
    let Some((at, made, (name, architecture, is_same))) = found else {
        return plain::import(import, run);
    };
    let architecture = Architecture::find(architecture).expect("the tables name known ones");
    let is_pretrained = is_pretrained(&made);
    let key = "model.architecture";
    import.recipe.set(key, architecture.name(), made.place);
    if !is_same {
        let here = format!(
            "`{}`, the nearest of the program's networks",
            architecture.name()
        );
        import.none(made.place, format!("`{name}`"), here);
    }
    let base = Base {
        made,
        name,
        architecture,
        is_pretrained,
    };
    weights(import, run, &base);
    let mut head = Head::default();
    let mut network = Network::default();
    top::import(import, run, &base, &mut head, &mut network);
    for step in &run.chain.steps[at + 1..] {
        plain::add_to_head(import, step, &mut head, &mut network);
    }
    for step in &run.chain.steps[..at] {
        if let Step::Layer(layer) = step {
            let what = format!("the layer `{}` before the pretrained network", layer.name());
            import.none(layer.place, what, "it is left out");
        }
    }
    network.units = head.output().and_then(|output| output.units);
    head.set(import, base.made.place);
    network.base = Some(base);
    network
}

fn weights(import: &mut Import<'_>, run: &Run<'_>, base: &Base<'_>) {
    let place = base.made.place;
    if let Some((file, place)) = loaded(import, run, base) {
        return import.recipe.set("model.weights", file, place);
    }
    if !base.is_pretrained {
        return import.recipe.set("model.weights", "none", place);
    }
    if base.architecture.entry().published.is_some() {
        return import.recipe.set("model.weights", "imagenet", place);
    }
    let what = format!("the pretrained weights of `{}`", base.name);
    let here = "no address of such weights is known here: `model.weights` is to name their file, \
                which PyTorch keeps in ~/.cache/torch/hub/checkpoints";
    import.none(place, what, here);
    let file = format!("{}.pth", base.architecture.name());
    let note = "the file goes here";
    import.recipe.set_noted("model.weights", file, place, note);
}

/// Returns the file of weights that is loaded into the network before it is trained.
fn loaded(import: &Import<'_>, run: &Run<'_>, base: &Base<'_>) -> Option<(String, Place)> {
    let trace = import.trace;
    let start = run.stretches[0].events.start;
    trace.events[..start].iter().rev().find_map(|event| {
        let Event::Call { number, .. } = *event else {
            return None;
        };
        let made = Made::of(trace, number).filter(|made| made.name() == "load_state_dict")?;
        let of = trace.receiver(made.call)?;
        if root(trace, of) != Value::Opaque(base.made.number) {
            return None;
        }
        let load = maker(trace, made.value(0, "state_dict")?)?;
        match load.value(0, "f") {
            Some(Value::Str(file)) if load.name() == "load" => {
                Some((file.to_string(), load.place_of(0, "f")))
            }
            _ => None,
        }
    })
}
