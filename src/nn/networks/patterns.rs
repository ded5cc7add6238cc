//! Steps that are computed as one where nothing learns, found by their pattern.

use conv_block::{Activation, Tail};

use super::steps::Step;
use crate::architecture::{self, Conv, Groups, Join};

/// A convolution, its norm and function.
pub(super) struct Unit<'a> {
    pub(super) conv: usize,
    pub(super) norm: Option<usize>,
    pub(super) shape: &'a Conv,
    pub(super) function: Activation,
}

/// The convolutions of an inverted residual.
pub(super) struct Inverted<'a> {
    pub(super) expand: Option<Unit<'a>>,
    pub(super) depthwise: Unit<'a>,
    pub(super) gate: Option<[Unit<'a>; 2]>,
    pub(super) project: Unit<'a>,
}

impl<'a> Unit<'a> {
    /// Takes a convolution and its function from the beginning of the steps.
    pub(super) fn take(steps: &'a [Step]) -> Option<(Self, &'a [Step])> {
        let [
            Step::Conv {
                conv,
                norm,
                shape,
                tail,
            },
            rest @ ..,
        ] = steps
        else {
            return None;
        };
        let (function, rest) = match tail {
            Tail::Linear => function_of(rest).unwrap_or((Activation::Linear, rest)),
            Tail::Relu => (Activation::Relu, rest),
            Tail::Relu6 => (Activation::Relu6, rest),
            Tail::ReluPool => return None,
        };
        let unit = Self {
            conv: *conv,
            norm: *norm,
            shape,
            function,
        };
        Some((unit, rest))
    }

    /// Whether it is a product of each pixel's channels and a matrix.
    pub(super) fn is_pointwise(&self) -> bool {
        let Conv { kernel, stride, .. } = *self.shape;
        let is_padded = |axis| self.shape.padding.of_side(axis, 1, 1, 1) != [0; 2];
        (kernel, stride, self.shape.groups) == ([1; 2], 1, Groups::One)
            && ![0, 1].into_iter().any(is_padded)
    }

    /// Whether each channel has a square kernel of its own.
    fn is_depthwise(&self) -> bool {
        let [height, width] = self.shape.kernel;
        self.shape.groups == Groups::Depthwise && height == width
    }
}

impl<'a> Inverted<'a> {
    /// Takes an inverted residual, or a separable convolution, from the beginning of the steps.
    pub(super) fn find(steps: &'a [Step]) -> Option<(Self, &'a [Step])> {
        let (first, rest) = Unit::take(steps)?;
        let (expand, depthwise, rest) = if first.is_pointwise() {
            let (depthwise, rest) = Unit::take(rest)?;
            if first.function != depthwise.function {
                return None;
            }
            (Some(first), depthwise, rest)
        } else {
            (None, first, rest)
        };
        let (gate, rest) = match rest {
            [Step::Branches(Join::Multiply, paths), rest @ ..] => (Some(gate_of(paths)?), rest),
            _ => (None, rest),
        };
        let (project, rest) = Unit::take(rest)?;
        let is_one = depthwise.is_depthwise() && project.is_pointwise();
        let found = Self {
            expand,
            depthwise,
            gate,
            project,
        };
        is_one.then_some((found, rest))
    }
}

/// Returns the convolutions of a gate.
fn gate_of(paths: &[Vec<Step>]) -> Option<[Unit<'_>; 2]> {
    let [unchanged, gate] = paths else {
        return None;
    };
    let [Step::GlobalAverage, rest @ ..] = &gate[..] else {
        return None;
    };
    let (reduce, rest) = Unit::take(rest)?;
    let (expand, rest) = Unit::take(rest)?;
    let is_gate = unchanged.is_empty() && rest.is_empty();
    (is_gate && reduce.is_pointwise() && expand.is_pointwise()).then_some([reduce, expand])
}

/// Takes a function that the kernels have from the beginning of the steps.
pub(super) fn function_of(steps: &[Step]) -> Option<(Activation, &[Step])> {
    let [Step::Activation(function), rest @ ..] = steps else {
        return None;
    };
    let function = match function {
        architecture::Activation::Relu => Activation::Relu,
        architecture::Activation::Relu6 => Activation::Relu6,
        architecture::Activation::Silu => Activation::Silu,
        architecture::Activation::HardSwish => Activation::HardSwish,
        architecture::Activation::Sigmoid => Activation::Sigmoid,
        architecture::Activation::HardSigmoid => Activation::HardSigmoid,
        architecture::Activation::Gelu => Activation::Gelu,
        _ => return None,
    };
    Some((function, rest))
}
