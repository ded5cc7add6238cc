//! Expressions: literals, names, collections, conditions, comprehensions and f-strings.

mod items;

use ruff_python_ast::{
    BoolOp, Comprehension, Expr, ExprBoolOp, ExprCompare, ExprFString, FStringPart,
    InterpolatedStringElement, Number,
};
use ruff_text_size::{Ranged, TextRange};

use crate::{
    machine::{MOST_LENGTH, Machine},
    values::{Object, Origin, Value},
};

impl<'a> Machine<'a> {
    pub(crate) fn expression(&mut self, expression: &'a Expr) -> Value {
        let range = expression.range();
        if self.is_exhausted(range) {
            return Value::None;
        }
        self.deeper(|machine| machine.expression_within(expression))
            .unwrap_or_else(|| self.computed("deep", Vec::new(), range))
    }

    fn expression_within(&mut self, expression: &'a Expr) -> Value {
        let range = expression.range();
        match expression {
            Expr::NoneLiteral(_) | Expr::EllipsisLiteral(_) => Value::None,
            Expr::BooleanLiteral(literal) => Value::Bool(literal.value),
            Expr::NumberLiteral(literal) => match &literal.value {
                Number::Int(number) => match number.as_i64() {
                    Some(number) => Value::Int(number),
                    None => self.computed("large number", Vec::new(), range),
                },
                Number::Float(number) => Value::Float(*number),
                Number::Complex { .. } => self.computed("complex number", Vec::new(), range),
            },
            Expr::StringLiteral(literal) => self.string(literal.value.to_str().to_owned(), range),
            Expr::FString(literal) => self.f_string(literal),
            Expr::Name(name) => self.variable(&name.id),
            Expr::Attribute(attribute) => {
                let of = self.expression(&attribute.value);
                self.attribute(&of, &attribute.attr, range)
            }
            Expr::Subscript(subscript) => self.subscript(subscript),
            Expr::BinOp(operation) => {
                let left = self.expression(&operation.left);
                let right = self.expression(&operation.right);
                self.binary(operation.op, left, right, range)
            }
            Expr::UnaryOp(operation) => {
                let value = self.expression(&operation.operand);
                self.unary(operation.op, value, range)
            }
            Expr::BoolOp(operation) => self.logical(operation),
            Expr::Compare(comparison) => self.comparison(comparison),
            Expr::If(choice) => self.choice(&choice.test, [&choice.body, &choice.orelse], range),
            Expr::Named(named) => {
                let value = self.expression(&named.value);
                self.assign(&named.target, value.clone());
                value
            }
            Expr::Lambda(lambda) => self.lambda(lambda),
            Expr::Call(call) => self.call(call),
            Expr::Starred(starred) => self.expression(&starred.value),
            Expr::Await(awaited) => self.expression(&awaited.value),
            expression => self.collection(expression),
        }
    }

    /// A list or the like, or a value of a kind that isn't followed.
    fn collection(&mut self, expression: &'a Expr) -> Value {
        let range = expression.range();
        match expression {
            Expr::Slice(slice) => {
                let parts = [&slice.lower, &slice.upper, &slice.step].map(|part| {
                    part.as_deref()
                        .map_or(Value::None, |part| self.expression(part))
                });
                self.object(Object::Slice(parts))
            }
            Expr::Tuple(tuple) => {
                let values = self.several(&tuple.elts);
                self.object(Object::Tuple(values))
            }
            Expr::List(list) => {
                let values = self.several(&list.elts);
                self.list(values, range)
            }
            Expr::Set(set) => {
                let values = self.several(&set.elts);
                self.list(values, range)
            }
            Expr::Dict(dict) => {
                let mut pairs = Vec::new();
                for item in &dict.items {
                    let key = item.key.as_ref().map(|key| self.expression(key));
                    let value = self.expression(&item.value);
                    match (key, self.trace.object(&value)) {
                        (Some(key), _) => pairs.push((key, value)),
                        (None, Some(Object::Dict(more))) => pairs.extend(more.iter().cloned()),
                        (None, _) => {}
                    }
                }
                pairs.truncate(MOST_LENGTH);
                self.object(Object::Dict(pairs))
            }
            Expr::ListComp(comp) => self.list_of(&comp.elt, &comp.generators, range),
            Expr::SetComp(comp) => self.list_of(&comp.elt, &comp.generators, range),
            Expr::Generator(comp) => self.list_of(&comp.elt, &comp.generators, range),
            Expr::DictComp(comp) => {
                let mut pairs = Vec::new();
                if let Some(key) = &comp.key {
                    self.rounds(&comp.generators, &mut |machine| {
                        let pair = (machine.expression(key), machine.expression(&comp.value));
                        pairs.push(pair);
                    });
                }
                pairs.truncate(MOST_LENGTH);
                self.object(Object::Dict(pairs))
            }
            _ => self.computed("value", Vec::new(), range),
        }
    }

    fn several(&mut self, expressions: &'a [Expr]) -> Vec<Value> {
        let mut values = Vec::new();
        for expression in expressions {
            let value = self.expression(expression);
            match expression {
                Expr::Starred(_) => match self.elements(&value) {
                    Some(more) => values.extend(more),
                    None => values.push(value),
                },
                _ => values.push(value),
            }
        }
        values.truncate(MOST_LENGTH);
        values
    }

    fn logical(&mut self, operation: &'a ExprBoolOp) -> Value {
        let stops_at = operation.op == BoolOp::Or;
        let mut unknown = Vec::new();
        let mut last = Value::None;
        for expression in &operation.values {
            last = self.expression(expression);
            match self.truth(&last) {
                Some(truth) if truth == stops_at && unknown.is_empty() => return last,
                Some(truth) if truth == stops_at && stops_at => {
                    unknown.push(last);
                    return self.computed("or", unknown, operation.range);
                }
                Some(truth) if truth == stops_at => return Value::Bool(false),
                Some(_) => {}
                None => unknown.push(last.clone()),
            }
        }
        match unknown.len() {
            0 => last,
            1 if unknown[0] == last => last,
            _ => self.computed(operation.op.as_str(), unknown, operation.range),
        }
    }

    fn comparison(&mut self, comparison: &'a ExprCompare) -> Value {
        let mut left = self.expression(&comparison.left);
        let mut result = Value::Bool(true);
        for (operator, right) in comparison.ops.iter().zip(&comparison.comparators) {
            let right = self.expression(right);
            result = self.compare(*operator, &left, &right, comparison.range);
            if result != Value::Bool(true) {
                break;
            }
            left = right;
        }
        result
    }

    fn choice(&mut self, test: &'a Expr, sides: [&'a Expr; 2], range: TextRange) -> Value {
        let test = self.expression(test);
        match self.truth(&test) {
            Some(true) => self.expression(sides[0]),
            Some(false) => self.expression(sides[1]),
            None => {
                let values = sides.map(|side| self.expression(side));
                if values[0] == values[1] {
                    let [value, _] = values;
                    return value;
                }
                self.computed("?", values.to_vec(), range)
            }
        }
    }

    fn list_of(
        &mut self,
        element: &'a Expr,
        generators: &'a [Comprehension],
        range: TextRange,
    ) -> Value {
        let mut values = Vec::new();
        let is_known = self.rounds(generators, &mut |machine| {
            let value = machine.expression(element);
            values.push(value);
        });
        if is_known {
            return self.list(values, range);
        }
        self.computed("list", values, range)
    }

    /// Runs `body` for each round of a comprehension, once where it goes over an unknown sequence.
    /// Returns whether all rounds are known.
    fn rounds(&mut self, generators: &'a [Comprehension], body: &mut dyn FnMut(&mut Self)) -> bool {
        let Some((first, rest)) = generators.split_first() else {
            body(self);
            return true;
        };
        let iterated = self.expression(&first.iter);
        let known = self.elements(&iterated);
        let mut is_known = known.is_some();
        let values = known.unwrap_or_else(|| {
            vec![self.opaque(Origin::Element { of: iterated }, first.iter.range())]
        });
        let before = self.scopes.last().cloned().unwrap_or_default();
        for value in values {
            if self.is_exhausted(first.iter.range()) {
                break;
            }
            self.assign(&first.target, value);
            let mut is_in = Some(true);
            for condition in &first.ifs {
                let condition = self.expression(condition);
                is_in = match (is_in, self.truth(&condition)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
            }
            is_known &= is_in.is_some();
            if is_in != Some(false) {
                is_known &= self.rounds(rest, body);
            }
        }
        if let Some(scope) = self.scopes.last_mut() {
            *scope = before;
        }
        is_known
    }

    fn f_string(&mut self, literal: &'a ExprFString) -> Value {
        let mut parts = Vec::new();
        let mut is_known = true;
        for part in literal.value.iter() {
            let elements = match part {
                FStringPart::Literal(literal) => {
                    parts.push(Value::Str(literal.as_str().into()));
                    continue;
                }
                FStringPart::FString(string) => &string.elements,
            };
            for element in elements {
                let (value, spec) = match element {
                    InterpolatedStringElement::Literal(literal) => {
                        parts.push(Value::Str((&*literal.value).into()));
                        continue;
                    }
                    InterpolatedStringElement::Interpolation(element) => {
                        let value = self.expression(&element.expression);
                        let spec = element.format_spec.as_deref();
                        (value, spec.map(|spec| self.text(spec.range)))
                    }
                };
                match self.formatted(&value, spec.as_deref().unwrap_or_default()) {
                    Some(text) => parts.push(Value::Str(text.into())),
                    None => {
                        is_known = false;
                        parts.push(value);
                    }
                }
            }
        }
        if is_known && let Some(text) = joined(&parts) {
            return self.string(text, literal.range);
        }
        // A path below an unknown folder: f"{root}/train".
        if let [head, tail @ ..] = &parts[..]
            && !matches!(head, Value::Str(_))
            && let Some(Value::Str(first)) = tail.first()
            && first.starts_with('/')
            && let Some(tail) = joined(tail)
        {
            let tail = Value::Str(tail.trim_start_matches('/').into());
            return self.join(&[head.clone(), tail], literal.range);
        }
        self.computed("f-string", parts, literal.range)
    }
}

/// Joins strings; `None` if a value is none.
fn joined(values: &[Value]) -> Option<String> {
    let text = |value: &Value| match value {
        Value::Str(text) => Some(text.to_string()),
        _ => None,
    };
    values.iter().map(text).collect()
}
