//! Adam, AdamW, SGD and RMSprop with PyTorch's formulas, on flat parameters, with a state that is
//! saved by parameter name.
//!
//! Burn's own optimizers compute the same values, but (0.22.1, `ModuleOptimizer::load_record`) load
//! a saved state onto `Device::default()`, which in a build with GPU support is a GPU that may not
//! exist, and clip each parameter's gradient instead of the whole.

use std::collections::BTreeMap;

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use super::{
    clip::clip,
    cpu::{
        backend,
        fused_step::{self, Rule},
    },
    networks::{classifier::Classifier, params, paths},
};
use crate::config::Optimizer;

/// The optimizer's state of one parameter.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Number of steps taken.
    pub steps: u64,
    /// Running mean of the gradient (Adam), or the momentum buffer (SGD, RMSprop).
    pub first: Option<Tensor<1>>,
    /// Running mean of the squared gradient (Adam, RMSprop).
    pub second: Option<Tensor<1>>,
}

/// The learning rates of the head and of the backbone's layer groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Learning rate of the head.
    pub head: f64,
    /// Ratio of a layer group's learning rate to that of the layers after it; 1 gives all layers
    /// the same rate.
    pub layer_factor: f64,
    /// Number of layer groups in the backbone.
    pub num_groups: usize,
}

impl Rates {
    /// Returns the learning rate of the parameter at `path`.
    pub fn of(&self, path: &str) -> f64 {
        let distance = paths::group(path).map_or(0, |group| self.num_groups - group);
        self.head
            * self
                .layer_factor
                .powi(i32::try_from(distance).unwrap_or(i32::MAX))
    }
}

/// An optimizer and its state.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    settings: Optimizer,
    /// State of each parameter, by the parameter's name.
    pub slots: BTreeMap<String, Slot>,
}

impl OptimizerState {
    /// Creates an optimizer that has taken no step.
    pub fn new(settings: &Optimizer) -> Self {
        Self {
            settings: settings.clone(),
            slots: BTreeMap::new(),
        }
    }

    /// Takes one step against `gradients`, which are given by parameter name, at the learning rates
    /// `rates`, and returns the network with the new values. If the norm of all gradients together
    /// exceeds `clip_norm`, they are first scaled down to it. Parameters without a gradient stay as
    /// they are.
    ///
    /// # Shapes
    /// Each gradient is `[values]`.
    pub fn step(
        &mut self,
        model: Classifier,
        mut gradients: BTreeMap<String, Tensor<1>>,
        rates: Rates,
        clip_norm: Option<f64>,
    ) -> Classifier {
        if let Some(limit) = clip_norm {
            clip(&mut gradients, limit);
        }
        let mut changed = BTreeMap::new();
        for param in params::collect(&model) {
            // Frozen parameters have no gradient; they must not gain a state or a step.
            if let Some(gradient) = gradients.remove(&param.path) {
                let is_decayed = param.is_decayed();
                let slot = self.slots.entry(param.path.clone()).or_default();
                slot.steps += 1;
                let rate = rates.of(&param.path);
                changed.insert(
                    param.path,
                    update(
                        &self.settings,
                        slot,
                        param.values,
                        gradient,
                        rate,
                        is_decayed,
                    ),
                );
            }
        }
        params::replace(model, changed)
    }
}

/// Computes the new values of one parameter.
///
/// # Shapes
/// All tensors are `[values]`.
fn update(
    settings: &Optimizer,
    slot: &mut Slot,
    values: Tensor<1>,
    gradient: Tensor<1>,
    lr: f64,
    is_decayed: bool,
) -> Tensor<1> {
    if backend::has_kernels(&values.device())
        && let Some(rule) = rule(settings, slot.steps, lr, is_decayed)
    {
        return update_on_host(rule, slot, values, gradient);
    }
    update_by_tensors(settings, slot, [values, gradient], lr, is_decayed)
}

/// Computes the new values with Burn's operations, on any device.
///
/// # Shapes
/// All tensors are `[values]`.
fn update_by_tensors(
    settings: &Optimizer,
    slot: &mut Slot,
    [values, gradient]: [Tensor<1>; 2],
    lr: f64,
    is_decayed: bool,
) -> Tensor<1> {
    let decay = |weight_decay: f64| if is_decayed { weight_decay } else { 0.0 };
    let with_decay =
        |gradient: Tensor<1>, values: &Tensor<1>, weight_decay: f64| match decay(weight_decay) {
            0.0 => gradient,
            decay => gradient + values.clone() * decay,
        };
    match settings {
        Optimizer::Adam {
            betas,
            epsilon,
            weight_decay,
            ..
        } => {
            let gradient = with_decay(gradient, &values, *weight_decay);
            adam(slot, values, gradient, lr, *betas, *epsilon)
        }
        Optimizer::Adamw {
            betas,
            epsilon,
            weight_decay,
            ..
        } => {
            let values = match decay(*weight_decay) {
                0.0 => values,
                decay => values * (1.0 - lr * decay),
            };
            adam(slot, values, gradient, lr, *betas, *epsilon)
        }
        Optimizer::Sgd {
            momentum,
            nesterov,
            weight_decay,
            ..
        } => {
            let gradient = with_decay(gradient, &values, *weight_decay);
            if *momentum == 0.0 {
                return values - gradient * lr;
            }
            let buffer = push(slot, gradient.clone(), *momentum);
            if *nesterov {
                values - (gradient + buffer * *momentum) * lr
            } else {
                values - buffer * lr
            }
        }
        Optimizer::Rmsprop {
            alpha,
            epsilon,
            momentum,
            weight_decay,
            ..
        } => {
            let gradient = with_decay(gradient, &values, *weight_decay);
            let scaled = scaled(slot, gradient, *alpha, *epsilon);
            if *momentum == 0.0 {
                return values - scaled * lr;
            }
            values - push(slot, scaled, *momentum) * lr
        }
    }
}

/// Updates RMSprop's running mean of squares in `slot` and returns the gradient over its root.
///
/// # Shapes
/// Both tensors are `[values]`.
fn scaled(slot: &mut Slot, gradient: Tensor<1>, alpha: f64, epsilon: f64) -> Tensor<1> {
    let square = mean_of(slot.second.take(), gradient.clone().square(), alpha);
    slot.second = Some(square.clone());
    gradient / (square.sqrt() + epsilon)
}

/// Adds a step to the momentum buffer in `slot` and returns the buffer.
///
/// # Shapes
/// Both tensors are `[values]`.
fn push(slot: &mut Slot, step: Tensor<1>, momentum: f64) -> Tensor<1> {
    let buffer = match slot.first.take() {
        Some(buffer) => buffer * momentum + step,
        None => step,
    };
    slot.first = Some(buffer.clone());
    buffer
}

/// Returns the rule for the single pass of [`fused_step`], or `None` for plain SGD and RMSprop,
/// which it doesn't implement.
fn rule(settings: &Optimizer, steps: u64, lr: f64, is_decayed: bool) -> Option<Rule> {
    let decay = |weight_decay: f64| if is_decayed { weight_decay } else { 0.0 };
    let adam = |[beta1, beta2]: [f64; 2], epsilon: f64, decay: f64, shrink: f64| {
        // The bias corrections move into epsilon and the rate, as in [`adam`], in double precision.
        let (correction1, root2) = corrections([beta1, beta2], steps);
        Rule::Adam {
            betas: [beta1 as f32, beta2 as f32],
            epsilon: (epsilon * root2) as f32,
            rate: (lr * root2 / correction1) as f32,
            decay: decay as f32,
            shrink: shrink as f32,
        }
    };
    match settings {
        Optimizer::Adam {
            betas,
            epsilon,
            weight_decay,
            ..
        } => Some(adam(*betas, *epsilon, decay(*weight_decay), 1.0)),
        Optimizer::Adamw {
            betas,
            epsilon,
            weight_decay,
            ..
        } => Some(adam(*betas, *epsilon, 0.0, 1.0 - lr * decay(*weight_decay))),
        Optimizer::Sgd {
            momentum,
            nesterov,
            weight_decay,
            ..
        } if *momentum > 0.0 => Some(Rule::Sgd {
            momentum: *momentum as f32,
            is_nesterov: *nesterov,
            is_first: steps == 1,
            rate: lr as f32,
            decay: decay(*weight_decay) as f32,
        }),
        Optimizer::Sgd { .. } | Optimizer::Rmsprop { .. } => None,
    }
}

/// Computes the new values in a single pass on the CPU.
///
/// # Shapes
/// All tensors are `[values]`.
fn update_on_host(
    rule: Rule,
    slot: &mut Slot,
    values: Tensor<1>,
    gradient: Tensor<1>,
) -> Tensor<1> {
    let first = slot.first.take().unwrap_or_else(|| values.zeros_like());
    let has_second = matches!(rule, Rule::Adam { .. });
    // A rule without a second state still needs a tensor of the right length, which it does not
    // touch.
    let second = slot.second.take().unwrap_or_else(|| {
        if has_second {
            values.zeros_like()
        } else {
            gradient.clone()
        }
    });
    let [values, first, second] = fused_step::update(rule, [values, gradient, first, second]);
    (slot.first, slot.second) = (Some(first), has_second.then_some(second));
    values
}

/// Returns Adam's bias corrections (Kingma and Ba 2015, arXiv 1412.6980): `1 - beta1^steps`, and
/// the square root of `1 - beta2^steps`.
fn corrections([beta1, beta2]: [f64; 2], steps: u64) -> (f64, f64) {
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    (1.0 - beta1.powi(steps), (1.0 - beta2.powi(steps)).sqrt())
}

/// Updates Adam's running means in `slot` and returns the new values.
///
/// # Shapes
/// All tensors are `[values]`.
fn adam(
    slot: &mut Slot,
    values: Tensor<1>,
    gradient: Tensor<1>,
    lr: f64,
    [beta1, beta2]: [f64; 2],
    epsilon: f64,
) -> Tensor<1> {
    let first = mean_of(slot.first.take(), gradient.clone(), beta1);
    let second = mean_of(slot.second.take(), gradient.square(), beta2);
    (slot.first, slot.second) = (Some(first.clone()), Some(second.clone()));
    // PyTorch divides by sqrt(second / correction2) + epsilon; moving the correction into the
    // constants saves a pass over the values.
    let (correction1, root2) = corrections([beta1, beta2], slot.steps);
    values - first / (second.sqrt() + epsilon * root2) * (lr * root2 / correction1)
}

/// Returns `keep * old + (1 - keep) * new`, with zero for a missing `old`.
///
/// # Shapes
/// Both tensors and the result are `[values]`.
fn mean_of(old: Option<Tensor<1>>, new: Tensor<1>, keep: f64) -> Tensor<1> {
    let new = new * (1.0 - keep);
    match old {
        Some(old) => old * keep + new,
        None => new,
    }
}

/// Returns the decay of the moving average in the given step, counted from 0:
/// `min(decay, (1 + step) / (10 + step))`, as TensorFlow's `ExponentialMovingAverage` with
/// `num_updates`. Without the warm-up, 240 steps at a decay of 0.9999 would leave 98 % of the
/// initial weights in the average.
pub fn ema_decay(decay: f64, step: usize) -> f64 {
    decay.min((1.0 + step as f64) / (10.0 + step as f64))
}

/// An exponential moving average of the trained parameters. Running statistics of norm layers are
/// not averaged.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    /// The averages, by parameter name.
    pub values: BTreeMap<String, Tensor<1>>,
}

impl Ema {
    /// Starts the averages at the network's current values, without the first `frozen` layer
    /// groups.
    pub fn new(decay: f64, model: &Classifier, frozen: usize) -> Self {
        let trained = params::trained(model, frozen).into_iter();
        Self {
            decay,
            values: trained.map(|param| (param.path, param.values)).collect(),
        }
    }

    /// Updates the averages after a step; `step` is the number of steps taken before it. Averages
    /// of the first `frozen` layer groups, which that step did not change, stay as they are.
    pub fn update(&mut self, model: &Classifier, frozen: usize, step: usize) {
        let decay = ema_decay(self.decay, step);
        for param in params::trained(model, frozen) {
            if let Some(average) = self.values.get_mut(&param.path) {
                *average = average.clone() * decay + param.values * (1.0 - decay);
            }
        }
    }

    /// Returns the network, without autodiff, with the averaged values in place of the trained
    /// ones.
    pub fn apply(&self, model: &Classifier) -> Classifier {
        params::replace(model.valid(), self.values.clone())
    }
}

/// Creates a tensor from host values.
///
/// # Shapes
/// `[values]`.
pub fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("floats")
    }

    /// Values from PyTorch 2.15 (`scripts/reference/optimizers.py`): three steps from [1, -2] at a
    /// learning rate of 0.1.
    #[test]
    fn three_steps_are_pytorchs() {
        let device = Device::flex();
        let gradients = [[0.5f32, -1.0], [0.25, 2.0], [-0.75, 0.1]];
        for (settings, expected) in [
            ("kind = 'adam'", [0.8149797f32, -1.9677377]),
            ("kind = 'adam'\nweight_decay = 0.1", [0.7968643, -1.9416188]),
            (
                "kind = 'adamw'\nweight_decay = 0.1",
                [0.7882009, -1.9099596],
            ),
            ("kind = 'sgd'", [1.0, -2.11]),
            (
                "kind = 'sgd'\nmomentum = 0.9\nweight_decay = 0.1",
                [0.838524, -2.009_548],
            ),
            (
                "kind = 'sgd'\nmomentum = 0.9\nnesterov = true",
                [0.9028, -2.2171],
            ),
            ("kind = 'rmsprop'", [0.3553489, -1.9402691]),
            (
                "kind = 'rmsprop'\nmomentum = 0.9\nweight_decay = 0.1",
                [-1.6373459, -0.9011116],
            ),
        ] {
            let optimizer: Optimizer = toml::from_str(settings).expect("parsed");
            for has_kernels in [true, false] {
                let (mut slot, mut values) = (Slot::default(), flat(vec![1.0, -2.0], &device));
                for gradient in gradients {
                    slot.steps += 1;
                    let gradient = flat(gradient.to_vec(), &device);
                    values = match rule(&optimizer, slot.steps, 0.1, true).filter(|_| has_kernels) {
                        Some(rule) => update_on_host(rule, &mut slot, values, gradient),
                        None => {
                            update_by_tensors(&optimizer, &mut slot, [values, gradient], 0.1, true)
                        }
                    };
                }
                let got = host(values);
                let is_close = got
                    .iter()
                    .zip(expected)
                    .all(|(got, expected)| (got - expected).abs() < 2e-6);
                assert!(
                    is_close,
                    "{settings}, kernels {has_kernels}: {got:?}, PyTorch has {expected:?}"
                );
            }
        }
    }

    /// TensorFlow's documented rule: 0.1 in the first step, then rising to the configured decay.
    #[test]
    fn the_decay_of_the_average_is_warmed_up() {
        for (decay, step, expected) in [
            (0.9999, 0, 0.1),
            (0.9999, 1, 2.0 / 11.0),
            (0.9999, 90, 0.91),
            (0.9, 79, 80.0 / 89.0),
            (0.9, 80, 0.9),
            (0.9, 5000, 0.9),
        ] {
            assert!(
                (ema_decay(decay, step) - expected).abs() < 1e-12,
                "{decay} {step}: {}",
                ema_decay(decay, step)
            );
        }
    }
}
