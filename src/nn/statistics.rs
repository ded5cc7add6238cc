//! The running statistics of norms that learn, where several processes each compute some of a
//! step's batches.
//!
//! A norm moves its statistics by each batch: `(1 - momentum) * old + momentum * batch`. Started
//! from zero, a batch leaves its own part, `momentum * batch`, exactly. The parts of all batches,
//! added in order by whoever has them, give the digits of a process that saw every batch.

use burn::{
    module::RunningState,
    nn::BatchNorm,
    tensor::{Device, Tensor},
};

use super::{NnError, infer::read, networks::classifier::Classifier, optim::flat};

/// The statistics of a network that a step changes.
pub struct Running<'a> {
    states: Vec<State<'a>>,
}

struct State<'a> {
    values: &'a RunningState<Tensor<1>>,
    /// Factor on the old value.
    keep: f32,
    count: usize,
    device: Device,
}

impl<'a> Running<'a> {
    /// Finds the statistics behind the first `frozen` layer groups.
    pub fn of(model: &'a Classifier, frozen: usize) -> Self {
        let states = model.learning_norms(frozen).into_iter().flat_map(of_norm);
        Self {
            states: states.collect(),
        }
    }

    /// Whether no norm learns.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Returns the values, one statistic behind the other.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn values(&self) -> Result<Vec<f32>, NnError> {
        let mut all = Vec::new();
        for state in &self.states {
            all.extend(read(state.values.value_sync())?);
        }
        Ok(all)
    }

    /// Sets the values, as [`Self::values`] returns them.
    ///
    /// # Panics
    /// Panics if their number is another.
    pub fn set(&self, mut values: &[f32]) {
        for state in &self.states {
            let own;
            (own, values) = values.split_at(state.count);
            // An update counts once it is read.
            state.values.update(flat(own.to_vec(), &state.device));
            state.values.value_sync();
        }
    }

    /// Sets all values to zero.
    pub fn clear(&self) {
        let count = self.states.iter().map(|state| state.count).sum();
        self.set(&vec![0.0; count]);
    }

    /// Moves `values` by what a batch has left in statistics that were zero.
    pub fn advance(&self, values: &mut [f32], part: &[f32]) {
        let keeps = self.states.iter();
        let keeps = keeps.flat_map(|state| std::iter::repeat_n(state.keep, state.count));
        for ((value, part), keep) in values.iter_mut().zip(part).zip(keeps) {
            *value = *value * keep + part;
        }
    }
}

fn of_norm(norm: &BatchNorm) -> [State<'_>; 2] {
    [&norm.running_mean, &norm.running_var].map(|values| {
        let value = values.value();
        State {
            values,
            keep: (1.0 - norm.momentum) as f32,
            count: value.dims()[0],
            device: value.device(),
        }
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::{
        config::Model,
        nn::networks::{
            build,
            classifier::{Design, Output},
        },
    };

    /// Batches in one network, and in networks that see every other one.
    #[test]
    fn parts_of_batches_give_the_digits_of_all() {
        let device = Device::flex().autodiff();
        let design = Design {
            model: Model {
                channels: Some(vec![3, 4]),
                head_norm: true,
                batch_norm: Some(true),
                ..Model::default()
            },
            input: [3, 8, 12],
            num_classes: 3,
            output: Output::Softmax,
        };
        let batches: Vec<_> = (0..5)
            .map(|index| {
                let scale = 1.0 + f64::from(index);
                Tensor::<4>::random([4, 3, 8, 12], Distribution::Normal(0.3, scale), &device)
            })
            .collect();
        let whole = build(&design, 7, &device);
        let _ = whole.forward(batches[0].clone());
        let before = Running::of(&whole, 0).values().expect("read");
        let mut values = before.clone();
        for batch in &batches {
            let _ = whole.forward(batch.clone());
        }
        let expected = Running::of(&whole, 0).values().expect("read");
        assert_ne!(expected, before);
        let other = build(&design, 7, &device);
        let running = Running::of(&other, 0);
        for batch in &batches {
            running.clear();
            let _ = other.forward(batch.clone());
            running.advance(&mut values, &running.values().expect("read"));
        }
        running.set(&values);
        assert_eq!(Running::of(&other, 0).values().expect("read"), expected);
        assert_eq!(values, expected);
    }
}
