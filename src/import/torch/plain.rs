//! A network of the notebook's own: a stack of layers, whether it is a `Sequential` or the
//! `forward` of a class.

use notebook_reader::Value;

use super::{calls::Made, chain::Step, described::Network, training::Run};
use crate::import::{
    arguments::Import,
    head::Head,
    list::{Conv, List},
};

/// Layers and functions that change nothing of values in their order.
const SHAPES: [&str; 12] = [
    "size",
    "shape",
    "contiguous",
    "squeeze",
    "unsqueeze",
    "permute",
    "type",
    "Identity",
    "view_as",
    "numpy",
    "item",
    "",
];

/// Sets the layers of a network, and its head.
pub(super) fn import<'t>(import: &mut Import<'t>, run: &Run<'t>) -> Network<'t> {
    let mut network = Network::default();
    let (mut list, mut head) = (List::default(), Head::default());
    let mut is_head = false;
    for step in &run.chain.steps {
        let made = match step {
            Step::Layer(made) | Step::Function(made) => *made,
            Step::Unknown(place) => {
                let what = "a part of the network that isn't a stack of layers";
                import.unclear(*place, what, "what comes before it isn't in the recipe");
                list = List::default();
                continue;
            }
        };
        is_head |= is_flat(&made) || made.name() == "Linear";
        if is_head {
            add_to_head(import, step, &mut head, &mut network);
        } else {
            add_to_list(import, &made, &mut list);
        }
    }
    if let Some((rate, place)) = head.take_first_dropout() {
        list.dropout(rate, place);
    }
    network.units = head.output().and_then(|output| output.units);
    let is_known = !list.is_empty();
    list.set(import, run.place());
    if is_known {
        head.set(import, run.place());
        let what = "weights begin as PyTorch draws them";
        import.differs(run.place(), what, "by He's rule, `model.init = \"he\"`");
    }
    network
}

/// Returns whether a layer or function makes a vector of a map.
fn is_flat(made: &Made<'_>) -> bool {
    const NAMES: [&str; 7] = [
        "Flatten",
        "flatten",
        "view",
        "reshape",
        "AdaptiveAvgPool2d",
        "adaptive_avg_pool2d",
        "AdaptiveMaxPool2d",
    ];
    NAMES.contains(&made.name()) || made.name() == "mean"
}

/// Adds a layer of the features.
fn add_to_list(import: &mut Import<'_>, made: &Made<'_>, list: &mut List) {
    let place = made.place;
    match made.name() {
        "Conv2d" => conv(import, made, list),
        "BatchNorm2d" => {
            let epsilon = made.number_of(1, "eps").unwrap_or(1e-5);
            let momentum = made.number_of(2, "momentum").unwrap_or(0.1);
            list.normalize(import, (epsilon, 1.0 - momentum), place);
        }
        "MaxPool2d" | "max_pool2d" => pool(import, made, list, "max_pool"),
        "AvgPool2d" | "avg_pool2d" => pool(import, made, list, "average_pool"),
        "Dropout" | "Dropout2d" | "dropout" | "dropout2d" => {
            list.dropout(rate(made), place);
        }
        name => match activation(name) {
            Some(name) => list.activate(import, name, place),
            None if SHAPES.contains(&name) => {}
            None => {
                let what = format!("the layer `{name}`");
                import.none(place, what, "it is left out");
            }
        },
    }
}

fn conv(import: &mut Import<'_>, made: &Made<'_>, list: &mut List) {
    let (trace, place) = (import.trace, made.place);
    let Some(filters) = made.count_of(1, "out_channels") else {
        let what = "a convolution whose number of filters isn't known";
        return import.unclear(place, what, "it is left out");
    };
    let mut side = |at: usize, name: &str, default: usize| {
        let Some([height, width]) = made.sides_of(trace, at, name) else {
            return default;
        };
        if height != width {
            let what = format!("`{name}` of {height} x {width}");
            import.none(place, what, "a square of the larger side");
        }
        height.max(width)
    };
    let kernel = side(2, "kernel_size", 3);
    let stride = side(3, "stride", 1);
    let padding = match made.value(4, "padding") {
        Some(Value::Str(name)) if &**name == "same" => kernel / 2,
        _ => side(4, "padding", 0),
    };
    for (at, name) in [(5, "dilation"), (6, "groups")] {
        if let Some(count) = made.count_of(at, name).filter(|own| *own > 1) {
            let what = format!("a convolution with `{name} = {count}`");
            import.none(place, what, "an ordinary one");
        }
    }
    let is_valid = padding == 0 && kernel > 1;
    if padding != 0 && padding != kernel / 2 {
        let what = format!("a padding of {padding} for a kernel of {kernel} x {kernel}");
        import.none(place, what, "\"same\": half the kernel");
    } else if padding != 0 && stride > 1 {
        let what = format!("a padding of {padding} on all sides at a stride of {stride}");
        let here = "Keras's rule, which may pad after the image alone";
        import.differs(place, what, here);
    }
    let conv = Conv {
        key: "conv",
        filters,
        kernel,
        stride,
        is_valid,
    };
    list.conv(import, &conv, place);
}

fn pool(import: &mut Import<'_>, made: &Made<'_>, list: &mut List, key: &str) {
    let trace = import.trace;
    // A function has the values first.
    let first = usize::from(made.name().ends_with("pool2d"));
    let side = |at: usize, name: &str| {
        let [height, width] = made.sides_of(trace, first + at, name)?;
        Some(height.max(width))
    };
    let window = side(0, "kernel_size").unwrap_or(2);
    let stride = side(1, "stride").unwrap_or(window);
    let padding = side(2, "padding").unwrap_or(0);
    list.pool(key, [window, stride], padding > 0, made.place);
}

/// Adds a layer of the head.
pub(super) fn add_to_head(
    import: &mut Import<'_>,
    step: &Step<'_>,
    head: &mut Head,
    network: &mut Network<'_>,
) {
    let made = match step {
        Step::Layer(made) | Step::Function(made) => *made,
        Step::Unknown(place) => {
            let what = "a part of the network's head";
            return import.unclear(*place, what, "it isn't in the recipe");
        }
    };
    let place = made.place;
    match made.name() {
        "Linear" => {
            let units = made.count_of(1, "out_features");
            head.dense(units, String::new(), place);
            network.ends_in = None;
        }
        // SqueezeNet's last layer.
        "Conv2d" => {
            head.dense(made.count_of(1, "out_channels"), String::new(), place);
            network.ends_in = None;
        }
        "Dropout" | "dropout" | "Dropout2d" => head.dropout(rate(&made), place),
        "BatchNorm1d" | "LayerNorm" => head.norm(place),
        "AdaptiveAvgPool2d" | "adaptive_avg_pool2d" | "mean" => average(import, &made, head),
        "AdaptiveMaxPool2d" => {
            head.pool("max_average", place);
            let here = "`model.pooling` is the maximum and the mean side by side";
            import.none(place, "`AdaptiveMaxPool2d`: the maximum alone", here);
        }
        "Flatten" | "flatten" | "view" | "reshape" => {
            if !head.is_begun() {
                head.pool("flatten", place);
            }
        }
        "Softmax" | "softmax" | "LogSoftmax" | "log_softmax" | "Sigmoid" | "sigmoid" => {
            let name = made.name().to_lowercase().replace('_', "");
            network.ends_in = Some((name, place));
        }
        name => match activation(name) {
            Some(name) => head.activate(name.to_owned()),
            None if SHAPES.contains(&name) => {}
            None => {
                let what = format!("`{name}` in the head");
                import.none(place, what, "it is left out");
            }
        },
    }
}

/// Global average pooling; one that leaves several positions has no counterpart.
fn average(import: &mut Import<'_>, made: &Made<'_>, head: &mut Head) {
    let trace = import.trace;
    let at = usize::from(made.name() == "adaptive_avg_pool2d");
    let sides = match made.name() {
        "mean" => None,
        _ => made.sides_of(trace, at, "output_size"),
    };
    if head.is_begun() {
        return;
    }
    match sides {
        Some(sides) if sides != [1, 1] => {
            let [height, width] = sides;
            let what = format!("features are averaged to {height} x {width}");
            let here = "all positions are flattened (`model.pooling`)";
            import.none(made.place, what, here);
            head.pool("flatten", made.place);
        }
        _ => head.pool("average", made.place),
    }
}

fn rate(made: &Made<'_>) -> f64 {
    // A function has the values first.
    let at = usize::from(made.name().starts_with('d'));
    made.number_of(at, "p").unwrap_or(0.5)
}

/// Returns the usual name of an activation.
fn activation(name: &str) -> Option<&'static str> {
    Some(match name {
        "ReLU" | "relu" | "relu_" => "relu",
        "ReLU6" | "relu6" => "relu6",
        "LeakyReLU" | "leaky_relu" => "leaky_relu",
        "ELU" | "elu" => "elu",
        "GELU" | "gelu" => "gelu",
        "SiLU" | "silu" => "silu",
        "Tanh" | "tanh" => "tanh",
        "Hardswish" | "hardswish" => "hardswish",
        "PReLU" => "prelu",
        _ => return None,
    })
}
