//! A graph under construction: nodes with fresh names, constants, and weights by name.

use std::collections::BTreeMap;

use burn::tensor::f16;
use safetensors::SafeTensors;

use super::proto::{
    self, Attribute, AttributeType, DataType, Dimension, Node, Shape, Tensor, TensorType, Type,
    ValueInfo,
};
use crate::base::io::bytes::{from_f32, to_f32};

/// A value in the graph, by its name.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) kind: DataType,
}

/// An operand of a formula. A number takes the type of the other operand.
pub(super) enum Operand<'v> {
    Value(&'v Value),
    Number(f64),
}

impl<'v> From<&'v Value> for Operand<'v> {
    fn from(value: &'v Value) -> Self {
        Self::Value(value)
    }
}

impl From<f64> for Operand<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// A side of a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Any number, which has a name.
    Any(&'static str),
    /// This number.
    Of(usize),
}

/// A graph under construction.
pub(super) struct Graph<'a> {
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// Places of the initializers that were made under a name. Those after the first, which differ
    /// from it, are called by their number besides.
    places: BTreeMap<String, Vec<usize>>,
    count: usize,
    /// Where weights come from.
    pub(super) weights: &'a SafeTensors<'a>,
    /// Whether kernels and matrices are stored as float16.
    half: bool,
}

impl<'a> Graph<'a> {
    /// Creates an empty graph that takes weights from a file; with `half`, those of more than one
    /// dimension as float16.
    pub(super) fn new(weights: &'a SafeTensors<'a>, half: bool) -> Self {
        Self {
            nodes: Vec::new(),
            initializers: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            places: BTreeMap::new(),
            count: 0,
            weights,
            half,
        }
    }

    /// Adds an input.
    pub(super) fn input(
        &mut self,
        name: &str,
        kind: DataType,
        sides: &[Side],
        about: &str,
    ) -> Value {
        self.inputs.push(info(name, kind, sides, about));
        Value {
            name: name.to_owned(),
            kind,
        }
    }

    /// Makes a value an output, which is called `name` from then on.
    pub(super) fn output(&mut self, value: &mut Value, name: &str, sides: &[Side], about: &str) {
        for node in &mut self.nodes {
            for used in node.input.iter_mut().chain(&mut node.output) {
                if *used == value.name {
                    name.clone_into(used);
                }
            }
        }
        name.clone_into(&mut value.name);
        self.outputs.push(info(name, value.kind, sides, about));
    }

    /// Returns the finished graph.
    pub(super) fn finish(self, name: &str) -> proto::Graph {
        proto::Graph {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.initializers,
            input: self.inputs,
            output: self.outputs,
        }
    }

    /// Adds a node, unless there is the same, and returns its output, which has the type of the
    /// first input.
    pub(super) fn node(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
    ) -> Value {
        let kind = inputs.first().map_or(DataType::Bool, |input| input.kind);
        // What several networks have in common, such as frozen layers, is computed once.
        let is_same = |node: &&Node| {
            node.op_type == operator
                && node.attribute == attributes
                && node.input.iter().eq(inputs.iter().map(|input| &input.name))
        };
        if let Some(node) = self.nodes.iter().find(is_same) {
            let name = node.output[0].clone();
            return Value { name, kind };
        }
        let name = self.fresh(operator);
        self.nodes.push(Node {
            input: inputs.iter().map(|input| input.name.clone()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.to_owned(),
            attribute: attributes,
        });
        Value { name, kind }
    }

    /// Adds a node without attributes that has two operands.
    pub(super) fn binary<'v>(
        &mut self,
        operator: &str,
        a: impl Into<Operand<'v>>,
        b: impl Into<Operand<'v>>,
    ) -> Value {
        let (a, b) = match (a.into(), b.into()) {
            (Operand::Value(a), Operand::Value(b)) => (a.clone(), b.clone()),
            (Operand::Value(a), Operand::Number(b)) => (a.clone(), self.number(b, a.kind)),
            (Operand::Number(a), Operand::Value(b)) => (self.number(a, b.kind), b.clone()),
            (Operand::Number(a), Operand::Number(b)) => (
                self.number(a, DataType::Float),
                self.number(b, DataType::Float),
            ),
        };
        self.node(operator, &[&a, &b], Vec::new())
    }

    /// Compares two operands.
    pub(super) fn compare<'v>(
        &mut self,
        operator: &str,
        a: impl Into<Operand<'v>>,
        b: impl Into<Operand<'v>>,
    ) -> Value {
        Value {
            kind: DataType::Bool,
            ..self.binary(operator, a, b)
        }
    }

    /// Adds a node without attributes that has one operand.
    pub(super) fn unary(&mut self, operator: &str, x: &Value) -> Value {
        self.node(operator, &[x], Vec::new())
    }

    /// Returns `yes` where `condition` holds, else `no`.
    pub(super) fn choose(&mut self, condition: &Value, yes: &Value, no: &Value) -> Value {
        Value {
            kind: yes.kind,
            ..self.node("Where", &[condition, yes, no], Vec::new())
        }
    }

    /// Converts a value to a type, unless it has it.
    pub(super) fn cast(&mut self, x: &Value, kind: DataType) -> Value {
        if x.kind == kind {
            return x.clone();
        }
        Value {
            kind,
            ..self.node("Cast", &[x], vec![int("to", kind as i64)])
        }
    }

    /// Bounds values.
    pub(super) fn clip(&mut self, x: &Value, low: f64, high: f64) -> Value {
        let (low, high) = (self.number(low, x.kind), self.number(high, x.kind));
        self.node("Clip", &[x, &low, &high], Vec::new())
    }

    /// Runs one of two sets of nodes.
    pub(super) fn either(
        &mut self,
        condition: &Value,
        yes: impl FnOnce(&mut Self) -> Value,
        no: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let (yes, kind) = self.branch("then", yes);
        let (no, _) = self.branch("else", no);
        Value {
            kind,
            ..self.node(
                "If",
                &[condition],
                vec![graph("then_branch", yes), graph("else_branch", no)],
            )
        }
    }

    /// Collects nodes in a graph of their own, which sees the values of this one.
    fn branch(
        &mut self,
        name: &str,
        build: impl FnOnce(&mut Self) -> Value,
    ) -> (proto::Graph, DataType) {
        let outer = std::mem::take(&mut self.nodes);
        let value = build(self);
        let rank = ["batch", "channels", "resized_height", "resized_width"];
        let branch = proto::Graph {
            node: std::mem::replace(&mut self.nodes, outer),
            name: name.to_owned(),
            output: vec![info(&value.name, value.kind, &rank.map(Side::Any), "")],
            ..proto::Graph::default()
        };
        (branch, value.kind)
    }

    /// Returns a number, which has no dimensions.
    pub(super) fn number(&mut self, number: f64, kind: DataType) -> Value {
        let bytes = match kind {
            DataType::Float => (number as f32).to_le_bytes().to_vec(),
            DataType::Double => number.to_le_bytes().to_vec(),
            DataType::Int64 => (number as i64).to_le_bytes().to_vec(),
            DataType::Uint8 | DataType::Bool | DataType::Float16 => {
                unreachable!("formulas have no numbers of this type")
            }
        };
        self.initialize("number", kind, &[], bytes)
    }

    /// Returns a list of whole numbers.
    pub(super) fn integers(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.initialize(
            "integers",
            DataType::Int64,
            &[values.len()],
            bytes.collect(),
        )
    }

    /// Returns an array of real numbers.
    pub(super) fn array(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Value {
        self.initialize(name, DataType::Float, dims, from_f32(values))
    }

    /// Returns the values of the weights called `name` in the file.
    pub(super) fn values(&self, name: &str) -> Vec<f32> {
        let weight = self.weights.tensor(name);
        let weight = weight.expect("the file has all weights of the network");
        to_f32(weight.data()).collect()
    }

    /// Returns the weights called `name` in the file.
    pub(super) fn weight(&mut self, name: &str) -> Value {
        let weight = self.weights.tensor(name);
        let weight = weight.expect("the file has all weights of the network");
        if self.half && weight.shape().len() > 1 {
            let halves = to_f32(weight.data()).flat_map(|value| f16::from_f32(value).to_le_bytes());
            let kind = DataType::Float16;
            let stored = self.initialize(name, kind, weight.shape(), halves.collect());
            return self.cast(&stored, DataType::Float);
        }
        let bytes = weight.data().to_vec();
        self.initialize(name, DataType::Float, weight.shape(), bytes)
    }

    /// Returns a constant, which is stored once under its name.
    fn initialize(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[usize],
        raw_data: Vec<u8>,
    ) -> Value {
        let places = self.places.entry(name.to_owned()).or_default();
        let mut tensor = Tensor {
            dims: dims.iter().map(|side| *side as i64).collect(),
            data_type: kind as i32,
            name: name.to_owned(),
            raw_data,
        };
        for place in places.iter() {
            tensor.name.clone_from(&self.initializers[*place].name);
            if self.initializers[*place] == tensor {
                let name = tensor.name;
                return Value { name, kind };
            }
        }
        tensor.name = match places.len() {
            0 => name.to_owned(),
            count => format!("{name}_{}", count + 1),
        };
        places.push(self.initializers.len());
        let name = tensor.name.clone();
        self.initializers.push(tensor);
        Value { name, kind }
    }

    fn fresh(&mut self, word: &str) -> String {
        self.count += 1;
        format!("{word}_{}", self.count)
    }
}

/// Returns an attribute with a whole number.
pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

/// Returns an attribute with whole numbers.
pub(super) fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        ints: values.iter().map(|value| *value as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

/// Returns an attribute with a real number.
pub(super) fn float(name: &str, value: f64) -> Attribute {
    Attribute {
        f: Some(value as f32),
        ..attribute(name, AttributeType::Float)
    }
}

fn graph(name: &str, value: proto::Graph) -> Attribute {
    Attribute {
        g: Some(value),
        ..attribute(name, AttributeType::Graph)
    }
}

fn attribute(name: &str, kind: AttributeType) -> Attribute {
    Attribute {
        name: name.to_owned(),
        r#type: kind as i32,
        ..Attribute::default()
    }
}

/// Describes an input or output.
fn info(name: &str, kind: DataType, sides: &[Side], about: &str) -> ValueInfo {
    let dimension = |side: &Side| match side {
        Side::Any(name) => Dimension {
            dim_param: Some((*name).to_owned()),
            dim_value: None,
        },
        Side::Of(side) => Dimension {
            dim_value: Some(*side as i64),
            dim_param: None,
        },
    };
    let tensor_type = TensorType {
        elem_type: kind as i32,
        shape: Some(Shape {
            dim: sides.iter().map(dimension).collect(),
        }),
    };
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type {
            tensor_type: Some(tensor_type),
        }),
        doc_string: about.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Preprocess,
            tests::{exported_together, graph_of, meta, operators},
        },
        *,
    };

    #[test]
    fn several_networks_are_averaged_and_share_what_they_have_in_common() {
        let one = ["Conv", "Relu", "MaxPool", "Flatten", "Gemm"];
        let two = [&one[..], &one, &["Softmax"; 2]].concat();
        let mut other = meta();
        other.normalize.mean = vec![0.5; 3];
        let mean = ["Add", "Mul", "Clip", "Log"];
        for (second, weights, steps) in [
            ((meta(), 1), 2, [&one[..], &["Softmax"]].concat()),
            ((meta(), 2), 4, two.clone()),
            ((other, 2), 4, [&one[..], &["Add"], &two[5..]].concat()),
        ] {
            let model = exported_together(&[(meta(), 1), second], Preprocess::None, false);
            assert_eq!(operators(&model), [&["Mul"], &steps[..], &mean].concat());
            let is_weight = |tensor: &&proto::Tensor| tensor.name.contains(".weight");
            let stored = graph_of(&model).initializer.iter().filter(is_weight);
            assert_eq!(stored.count(), weights);
        }
    }
}
