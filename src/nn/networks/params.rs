//! Parameters by name, each as one flat vector: what the optimiser, the moving average and the initialiser work on.

use super::paths;
use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use super::classifier::Classifier;

/// One parameter or running statistic.
#[derive(Clone, Debug)]
pub struct Named {
    /// Dotted, as `backbone.blocks.0.conv.weight`.
    pub path: String,
    /// Its shape in the network.
    pub dims: Vec<usize>,
    /// Its values, flat, without autodiff.
    pub values: Tensor<1>,
}

impl Named {
    /// Is it a statistic that is measured rather than trained?
    pub fn is_statistic(&self) -> bool {
        self.path.ends_with("running_mean") || self.path.ends_with("running_var")
    }

    /// Weight decay acts on weight matrices and kernels only, not on biases and norm layers.
    pub fn is_decayed(&self) -> bool {
        self.path.ends_with("weight") && self.dims.len() > 1
    }
}

/// All parameters and statistics, in the order of the network.
pub fn collect(model: &Classifier) -> Vec<Named> {
    let mut visitor = Collect::default();
    model.visit(&mut visitor);
    visitor.found
}

/// What training may change: no statistics, and nothing of the first `frozen` layer groups.
pub fn trained(model: &Classifier, frozen: usize) -> Vec<Named> {
    collect(model).into_iter().filter(|param| !param.is_statistic() && !paths::is_frozen(&param.path, frozen)).collect()
}

/// The gradients by name, taken out of Burn's container; parameters without one are left out.
pub fn take_gradients(model: &Classifier, gradients: GradientsParams) -> BTreeMap<String, Tensor<1>> {
    let mut visitor = TakeGradients { path: Path::default(), gradients, found: BTreeMap::new() };
    model.visit(&mut visitor);
    visitor.found
}

/// The network with other values where `values` has some.
pub fn replace(model: Classifier, values: BTreeMap<String, Tensor<1>>) -> Classifier {
    model.map(&mut Replace { path: Path::default(), values })
}

/// Where in the network a visitor is; variants of enums have no name of their own.
#[derive(Default)]
struct Path(Vec<Option<String>>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn dotted(&self) -> String {
        self.0.iter().flatten().cloned().collect::<Vec<_>>().join(".")
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.without_autodiff().reshape([count])
}

#[derive(Default)]
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
        self.found.push(Named { path: self.path.dotted(), dims: tensor.dims().to_vec(), values: flat(tensor) });
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
        let Some(values) = self.values.remove(&self.path.dotted()) else { return param };
        let (id, old, mapper) = param.consume();
        let new = values.reshape(old.shape());
        let new = if old.device().is_autodiff() { Tensor::from_inner(new).set_require_grad(old.is_require_grad()) } else { new };
        Param::from_mapped_value(id, new, mapper)
    }
}
