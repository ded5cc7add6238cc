//! A network's parameters by name, each as one flat vector. The optimizer, the moving average,
//! initialization and the weight files work on these.

use super::paths;
use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use super::classifier::Classifier;

/// A parameter or running statistic.
#[derive(Clone, Debug)]
pub struct Named {
    /// Dotted path, such as `backbone.blocks.0.conv.weight`.
    pub path: String,
    /// Shape in the network.
    pub dims: Vec<usize>,
    /// Values as `[values]`, without autodiff.
    pub values: Tensor<1>,
    /// Whether a backward pass through it gives it a gradient.
    pub requires_grad: bool,
}

impl Named {
    /// Whether this is a running statistic rather than a trained parameter.
    pub fn is_statistic(&self) -> bool {
        self.path.ends_with("running_mean") || self.path.ends_with("running_var")
    }

    /// Whether weight decay applies: to kernels and weight matrices, not to biases and norm layers.
    pub fn is_decayed(&self) -> bool {
        self.path.ends_with("weight") && self.dims.len() > 1
    }
}

/// Lists all parameters and running statistics, in the order of the network's fields.
pub fn collect(model: &Classifier) -> Vec<Named> {
    let mut visitor = Collect {
        path: Path::of(model),
        found: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.found
}

/// Lists the parameters that training changes: no running statistics, and nothing of the first
/// `frozen` layer groups.
pub fn trained(model: &Classifier, frozen: usize) -> Vec<Named> {
    collect(model)
        .into_iter()
        .filter(|param| !param.is_statistic() && !paths::is_frozen(&param.path, frozen))
        .collect()
}

/// Takes the gradients out of Burn's container, by parameter name. Parameters without a gradient
/// are left out.
///
/// # Shapes
/// Each gradient is `[values]`.
pub fn take_gradients(
    model: &Classifier,
    gradients: GradientsParams,
) -> BTreeMap<String, Tensor<1>> {
    let mut visitor = TakeGradients {
        path: Path::of(model),
        gradients,
        found: BTreeMap::new(),
    };
    model.visit(&mut visitor);
    visitor.found
}

/// Returns the network with the values of `values` in place of its own; parameters that are not in
/// it stay as they are.
///
/// # Shapes
/// Each tensor of `values` is `[values]`.
///
/// # Panics
/// Panics if a tensor has another number of values than its parameter.
pub fn replace(model: Classifier, values: BTreeMap<String, Tensor<1>>) -> Classifier {
    let path = Path::of(&model);
    model.map(&mut Replace { path, values })
}

/// The position of a visitor in the network.
struct Path {
    /// The names of the backbone's layers, which the module only numbers.
    layers: Vec<String>,
    parts: Vec<Option<String>>,
}

impl Path {
    fn of(model: &Classifier) -> Self {
        let layers = model
            .network()
            .modules()
            .into_iter()
            .map(|(layer, _)| layer.name.clone())
            .collect();
        Self {
            layers,
            parts: Vec::new(),
        }
    }

    /// An enum's variant adds no name, so that a path doesn't depend on the kind of layer.
    fn enter(&mut self, name: &str, container: &str) {
        self.parts
            .push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    fn exit(&mut self) {
        self.parts.pop();
    }

    fn dotted(&self) -> String {
        let parts: Vec<&str> = self.parts.iter().flatten().map(String::as_str).collect();
        match parts[..] {
            ["backbone", "layers", index, ref rest @ ..] => {
                let name = &self.layers[index.parse::<usize>().expect("layers are numbered")];
                format!("backbone.{name}.{}", rest.join("."))
            }
            _ => parts.join("."),
        }
    }
}

/// Flattens a tensor and detaches it from autodiff.
///
/// # Shapes
/// Any shape to `[values]`.
fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.without_autodiff().reshape([count])
}

struct Collect {
    path: Path,
    found: Vec<Named>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.found.push(Named {
            path: self.path.dotted(),
            dims: tensor.dims().to_vec(),
            requires_grad: tensor.is_require_grad(),
            values: flat(tensor),
        });
    }
}

struct TakeGradients {
    path: Path,
    gradients: GradientsParams,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for TakeGradients {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.found.insert(self.path.dotted(), flat(gradient));
        }
    }
}

struct Replace {
    path: Path,
    values: BTreeMap<String, Tensor<1>>,
}

impl ModuleMapper for Replace {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.remove(&self.path.dotted()) else {
            return param;
        };
        // Keep the id: Burn's gradients and records refer to parameters by it.
        let (id, old, mapper) = param.consume();
        let new = values.reshape(old.shape());
        let new = if old.device().is_autodiff() {
            Tensor::from_inner(new).set_require_grad(old.is_require_grad())
        } else {
            new
        };
        Param::from_mapped_value(id, new, mapper)
    }
}
