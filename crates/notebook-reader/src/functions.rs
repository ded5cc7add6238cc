//! The notebook's own functions and classes: definitions and calls of them.

use std::{rc::Rc, sync::Arc};

use ruff_python_ast::{Expr, ExprLambda, Parameters, StmtFunctionDef};
use ruff_text_size::TextRange;

use crate::{
    machine::{Body, Flow, Function, FunctionKind, MOST_LENGTH, Machine, Scope},
    values::{Object, Origin, Value},
};

/// Arguments of a call: names, `None` for positional ones, and values.
pub(crate) type Arguments = Vec<(Option<Arc<str>>, Value)>;

impl<'a> Machine<'a> {
    pub(crate) fn define(&mut self, definition: &'a StmtFunctionDef) -> Value {
        let mut kind = FunctionKind::Plain;
        for decorator in &definition.decorator_list {
            if let Expr::Name(name) = &decorator.expression {
                kind = match name.id.as_str() {
                    "staticmethod" => FunctionKind::Static,
                    "property" => FunctionKind::Property,
                    _ => kind,
                };
            }
        }
        let parameters = Some(&*definition.parameters);
        let body = Body::Statements(&definition.body);
        self.function(definition.name.as_str(), parameters, body, kind)
    }

    pub(crate) fn lambda(&mut self, lambda: &'a ExprLambda) -> Value {
        let body = Body::Expression(&lambda.body);
        self.function(
            "lambda",
            lambda.parameters.as_deref(),
            body,
            FunctionKind::Plain,
        )
    }

    fn function(
        &mut self,
        name: &str,
        parameters: Option<&'a Parameters>,
        body: Body<'a>,
        kind: FunctionKind,
    ) -> Value {
        let mut defaults = Vec::new();
        for parameter in parameters
            .iter()
            .flat_map(|parameters| parameters.iter_non_variadic_params())
        {
            if let Some(default) = parameter.default() {
                let default = self.expression(default);
                defaults.push((parameter.name().as_str().into(), default));
            }
        }
        let captured = match self.scopes.len() {
            1 => Scope::new(),
            _ => self.scopes.last().cloned().unwrap_or_default(),
        };
        let value = self.object(Object::Function { name: name.into() });
        let function = Function {
            source: self.source,
            parameters,
            defaults,
            body,
            captured: Rc::new(captured),
            kind,
        };
        self.functions
            .insert(self.trace.objects.len() - 1, Rc::new(function));
        value
    }

    fn function_of(&self, value: &Value) -> Option<Rc<Function<'a>>> {
        match value {
            Value::Object(number) => self.functions.get(number).cloned(),
            _ => None,
        }
    }

    pub(crate) fn kind_of(&self, value: &Value) -> Option<FunctionKind> {
        self.function_of(value).map(|function| function.kind)
    }

    /// Follows a call of a function of the notebook.
    pub(crate) fn call_function(
        &mut self,
        function: &Value,
        arguments: Arguments,
        range: TextRange,
    ) -> Value {
        let (Some(function), true) = (self.function_of(function), self.may_call()) else {
            return self.computed(
                "call",
                arguments.into_iter().map(|(_, value)| value).collect(),
                range,
            );
        };
        let scope = self.bind(&function, arguments);
        let source = std::mem::replace(&mut self.source, function.source);
        self.scopes.push(scope);
        self.globals.push(Vec::new());
        self.possible.push(Vec::new());
        let returned = match function.body {
            Body::Statements(body) => match self.statements(body) {
                Flow::Return(value) => value,
                _ => Value::None,
            },
            Body::Expression(body) => self.expression(body),
        };
        self.scopes.pop();
        self.globals.pop();
        self.source = source;
        let possible = self.possible.pop().unwrap_or_default();
        // A return under an unknown condition counts where no other says more.
        match (
            returned,
            possible.into_iter().find(|value| *value != Value::None),
        ) {
            (Value::None, Some(value)) => value,
            (returned, _) => returned,
        }
    }

    fn bind(&mut self, function: &Function<'a>, arguments: Arguments) -> Scope {
        let mut scope = (*function.captured).clone();
        self.spend(scope.len());
        scope.extend(function.defaults.iter().cloned());
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        for (name, value) in arguments {
            match name {
                None => positional.push(value),
                Some(name) => named.push((name, value)),
            }
        }
        let Some(parameters) = function.parameters else {
            return scope;
        };
        let names: Vec<&str> = parameters
            .posonlyargs
            .iter()
            .chain(&parameters.args)
            .map(|parameter| parameter.name().as_str())
            .collect();
        let rest = positional.split_off(names.len().min(positional.len()));
        for (name, value) in names.iter().zip(positional) {
            scope.insert((*name).into(), value);
        }
        if let Some(parameter) = &parameters.vararg {
            let rest = self.object(Object::Tuple(rest));
            scope.insert(parameter.name().as_str().into(), rest);
        }
        let is_known = |name: &str| {
            names.contains(&name)
                || parameters
                    .kwonlyargs
                    .iter()
                    .any(|parameter| parameter.name().as_str() == name)
        };
        let (known, others): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|(name, _)| is_known(name));
        scope.extend(known);
        if let Some(parameter) = &parameters.kwarg {
            let pairs = others
                .into_iter()
                .map(|(name, value)| (Value::Str(name), value));
            let pairs = pairs.take(MOST_LENGTH).collect();
            let others = self.object(Object::Dict(pairs));
            scope.insert(parameter.name().as_str().into(), others);
        }
        scope
    }

    /// Follows a function that is an argument of a call into a library, with unknown parameters.
    pub(crate) fn apply(&mut self, function: &Value, range: TextRange) -> Option<Value> {
        let definition = self.function_of(function).filter(|_| self.may_call())?;
        let parameters = definition.parameters?;
        let names: Vec<Arc<str>> = parameters
            .iter_non_variadic_params()
            .map(|parameter| parameter.name().as_str().into())
            .filter(|name| !definition.defaults.iter().any(|(other, _)| other == name))
            .collect();
        let arguments = names
            .into_iter()
            .enumerate()
            .map(|(index, name)| (Some(name), self.opaque(Origin::Parameter(index), range)))
            .collect();
        self.conditions += 1;
        let value = self.call_function(function, arguments, range);
        self.conditions -= 1;
        Some(value)
    }

    /// Calls a function with 0, 1, 2, ... and, where it has a second parameter, with 1.0 and then
    /// its last result.
    pub(crate) fn sample(
        &mut self,
        function: &Value,
        times: usize,
        range: TextRange,
    ) -> Vec<Value> {
        let Some(definition) = self.function_of(function) else {
            return Vec::new();
        };
        let count = definition.parameters.map_or(0, |parameters| {
            parameters.iter_non_variadic_params().count()
        });
        let mut last = Value::Float(1.0);
        let mut results = Vec::new();
        for index in 0..times {
            let index = Value::Int(i64::try_from(index).unwrap_or_default());
            let mut arguments = vec![(None, index)];
            if count > 1 {
                arguments.push((None, last));
            }
            last = self.call_function(function, arguments, range);
            results.push(last.clone());
        }
        results
    }

    /// Makes an object of a class of the notebook.
    pub(crate) fn instantiate(
        &mut self,
        class: usize,
        arguments: Arguments,
        range: TextRange,
    ) -> Value {
        let attributes = Scope::new();
        let object = self.object(Object::Instance { class, attributes });
        match self.member(&object, "__init__") {
            Some(start) => {
                let own = std::iter::once((None, object.clone()));
                self.call_function(&start, own.chain(arguments).collect(), range);
            }
            // A data class.
            None => {
                if let Value::Object(number) = object
                    && let Object::Instance { attributes, .. } = &mut self.trace.objects[number]
                {
                    let named = arguments
                        .into_iter()
                        .filter_map(|(name, value)| Some((name?, value)));
                    attributes.extend(named);
                }
            }
        }
        object
    }
}
