//! Values, and what is known of unknown ones.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A line of a cell, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of the code cell; 0 in a script.
    pub cell: usize,
    /// Number of the line in the cell.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cell {
            0 => write!(f, "line {}", self.line),
            cell => write!(f, "cell {cell}, line {}", self.line),
        }
    }
}

/// A Python value as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number of at most 64 bits.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string, or a path.
    Str(Arc<str>),
    /// Something imported or built in, or a name that no cell defines, with its modules:
    /// `keras.layers.Dense`.
    Name(Arc<str>),
    /// A list, tuple, dictionary, function, class or object of the notebook: the number of an
    /// [`Object`].
    Object(usize),
    /// An unknown value: the number of an [`Opaque`].
    Opaque(usize),
}

/// A value with parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A list, or a set.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dictionary in its order.
    Dict(Vec<(Value, Value)>),
    /// `start:stop:step`.
    Slice([Value; 3]),
    /// A function of the notebook.
    Function {
        /// Its name; `lambda` without any.
        name: Arc<str>,
    },
    /// A class of the notebook.
    Class {
        /// Its name.
        name: Arc<str>,
        /// Its base classes.
        bases: Vec<Value>,
        /// Its attributes and methods.
        attributes: BTreeMap<Arc<str>, Value>,
    },
    /// An object of a class of the notebook.
    Instance {
        /// The number of the class.
        class: usize,
        /// Its own attributes.
        attributes: BTreeMap<Arc<str>, Value>,
    },
}

/// A value that isn't known, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// Where it comes from.
    pub origin: Origin,
    /// The place of the expression.
    pub place: Place,
    /// The expression as written, shortened.
    pub text: Arc<str>,
}

/// The origin of an unknown value.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The result of a call that leads outside of the notebook.
    Call(Call),
    /// An attribute of an unknown value.
    Attribute {
        /// The value.
        of: Value,
        /// Name of the attribute.
        name: Arc<str>,
    },
    /// `of[index]`.
    Item {
        /// The value.
        of: Value,
        /// The index; a [`Object::Slice`] for a slice.
        index: Value,
    },
    /// Each element of an unknown sequence, as a loop gets it.
    Element {
        /// The sequence.
        of: Value,
    },
    /// A parameter of a function that was followed without a call of it, counted from 0.
    Parameter(usize),
    /// A path that continues an unknown one: `tail` below `head`.
    Joined {
        /// The unknown part.
        head: Value,
        /// What follows it, without a slash in front.
        tail: Arc<str>,
    },
    /// An operation with an unknown operand.
    Computed {
        /// The operator, such as `/`; `?` for a choice, and a word for all else.
        operation: &'static str,
        /// The operands.
        from: Vec<Value>,
    },
}

/// A call that leads outside of the notebook.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is called. A method is an [`Origin::Attribute`].
    pub callee: Value,
    /// Last part of the callee's name; empty for a call of an unknown value, as in `layer(x)`.
    pub name: Arc<str>,
    /// The arguments, positional ones first.
    pub arguments: Vec<Argument>,
}

impl Call {
    /// Returns the argument of this name.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        let is_it = |argument: &&Argument| argument.name.as_deref() == Some(name);
        self.arguments.iter().find(is_it)
    }

    /// Returns the positional arguments.
    pub fn positional(&self) -> impl Iterator<Item = &Argument> {
        self.arguments
            .iter()
            .filter(|argument| argument.name.is_none())
    }
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Its name; `*` and `**` for unknown sequences and dictionaries of arguments, `None` for a
    /// positional one.
    pub name: Option<Arc<str>>,
    /// Its value.
    pub value: Value,
    /// Where it is written.
    pub place: Place,
    /// If it is a function of the notebook, what it returns for unknown parameters; for a call in
    /// [`Options::sampled`](crate::Options::sampled), for the numbers from 0.
    pub results: Vec<Value>,
}
