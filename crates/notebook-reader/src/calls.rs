//! Calls: which are followed, which have a known result, and which lead outside.

use std::sync::Arc;

use ruff_python_ast::{Expr, ExprCall};
use ruff_text_size::{Ranged, TextRange};

use crate::{
    functions::Arguments,
    machine::{FunctionKind, Machine},
    record::Event,
    values::{Argument, Call, Object, Origin, Place, Value},
};

/// An argument as it is written.
pub(crate) struct Given {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) value: Value,
    pub(crate) place: Place,
}

impl<'a> Machine<'a> {
    pub(crate) fn call(&mut self, call: &'a ExprCall) -> Value {
        let range = call.range();
        let Expr::Attribute(method) = &*call.func else {
            let callee = self.expression(&call.func);
            let given = self.given(call);
            return self.call_value(callee, given, range);
        };
        let of = self.expression(&method.value);
        let name = method.attr.as_str();
        if let Some(value) = self.call_of_super(&of, name, call) {
            return value;
        }
        let given = self.given(call);
        if let Value::Str(_) | Value::Object(_) = of {
            if let Some(member) = self.member(&of, name) {
                return self.call_member(of, member, given, range);
            }
            if let Some(value) = self.method(&of, name, &given, range) {
                return value;
            }
        }
        if let Some(value) = self.path_method(&of, name, &given, range) {
            return value;
        }
        let callee = self.attribute(&of, name, method.range);
        let value = self.call_value(callee, given, range);
        let is_returned = self.options.returning.contains(&name) && self.is_instance(&of);
        if is_returned { of } else { value }
    }

    fn is_instance(&self, value: &Value) -> bool {
        matches!(self.trace.object(value), Some(Object::Instance { .. }))
    }

    /// Follows `super().method(...)` into a base class of the notebook.
    fn call_of_super(&mut self, of: &Value, name: &str, call: &'a ExprCall) -> Option<Value> {
        if self.trace.call(of)?.name.as_ref() != "super" {
            return None;
        }
        let own = self.variable("self");
        let Object::Instance { class, .. } = self.trace.object(&own)? else {
            return None;
        };
        let Object::Class { bases, .. } = &self.trace.objects[*class] else {
            return None;
        };
        let base = bases
            .iter()
            .find(|base| matches!(base, Value::Object(_)))?
            .clone();
        let method = self.member(&base, name)?;
        let given = self.given(call);
        Some(self.call_member(own, method, given, call.range()))
    }

    /// Calls an attribute of a class or object: a method gets the object.
    fn call_member(
        &mut self,
        of: Value,
        member: Value,
        given: Vec<Given>,
        range: TextRange,
    ) -> Value {
        let is_object = self.is_instance(&of);
        let is_method = self.kind_of(&member) == Some(FunctionKind::Plain);
        if is_object && is_method {
            let own = std::iter::once((None, of));
            let arguments = own.chain(plain(given)).collect();
            return self.call_function(&member, arguments, range);
        }
        self.call_value(member, given, range)
    }

    pub(crate) fn call_value(
        &mut self,
        callee: Value,
        given: Vec<Given>,
        range: TextRange,
    ) -> Value {
        match &callee {
            Value::Name(name) => {
                if let Some(value) = self.known_result(name, &given, range) {
                    return value;
                }
            }
            Value::Object(number) => match &self.trace.objects[*number] {
                Object::Function { .. } => {
                    return self.call_function(&callee, plain(given), range);
                }
                Object::Class { .. } => return self.instantiate(*number, plain(given), range),
                Object::Instance { .. } => {
                    let names = std::iter::once(&"__call__").chain(self.options.called);
                    let method = names
                        .into_iter()
                        .find_map(|name| self.member(&callee, name));
                    if let Some(method) = method {
                        return self.call_member(callee, method, given, range);
                    }
                }
                _ => {}
            },
            _ => {}
        }
        self.outside(callee, given, range)
    }

    /// Records a call that leads outside.
    fn outside(&mut self, callee: Value, given: Vec<Given>, range: TextRange) -> Value {
        let name = self.last_name(&callee);
        let of = given.iter().find(|argument| argument.name.is_none());
        let returned = of
            .map(|argument| argument.value.clone())
            .filter(|value| matches!(callee, Value::Name(_)) && self.is_instance(value))
            .filter(|_| self.options.returning.contains(&&*name));
        let mut arguments: Vec<_> = given
            .into_iter()
            .map(|Given { name, value, place }| Argument {
                name,
                value,
                place,
                results: Vec::new(),
            })
            .collect();
        arguments.sort_by_key(|argument| argument.name.is_some());
        let call = Call {
            callee,
            name: name.clone(),
            arguments,
        };
        let result = self.opaque(Origin::Call(call), range);
        let number = self.trace.opaques.len() - 1;
        self.record(Event::Call {
            number,
            is_certain: self.conditions == 0,
        });
        self.follow_arguments(number, &name, range);
        returned.unwrap_or(result)
    }

    /// Follows the functions among a call's arguments, which the library may call.
    fn follow_arguments(&mut self, number: usize, name: &str, range: TextRange) {
        let Some(call) = self.trace.call_numbered(number) else {
            return;
        };
        let functions: Vec<_> = call
            .arguments
            .iter()
            .enumerate()
            .filter(|(_, argument)| {
                matches!(
                    self.trace.object(&argument.value),
                    Some(Object::Function { .. })
                )
            })
            .map(|(index, argument)| (index, argument.value.clone()))
            .collect();
        let sampled = self
            .options
            .sampled
            .iter()
            .find(|(known, _)| *known == name);
        let times = sampled.map(|(_, times)| *times);
        for (index, function) in functions {
            let results = match times {
                Some(times) => self.sample(&function, times, range),
                None => self.apply(&function, range).into_iter().collect(),
            };
            if let Origin::Call(call) = &mut self.trace.opaques[number].origin {
                call.arguments[index].results = results;
            }
        }
    }

    fn last_name(&self, callee: &Value) -> Arc<str> {
        match callee {
            Value::Name(name) => name.rsplit('.').next().unwrap_or_default().into(),
            Value::Opaque(number) => match &self.trace.opaques[*number].origin {
                Origin::Attribute { name, .. } => name.clone(),
                _ => "".into(),
            },
            _ => "".into(),
        }
    }

    fn given(&mut self, call: &'a ExprCall) -> Vec<Given> {
        let mut given = Vec::new();
        for expression in &call.arguments.args {
            let value = self.expression(expression);
            let place = self.place(expression.range());
            let elements = match expression {
                Expr::Starred(_) => Some(self.elements(&value)),
                _ => None,
            };
            let named = |name: Option<&str>, value| Given {
                name: name.map(Arc::from),
                value,
                place,
            };
            match elements {
                Some(Some(values)) => {
                    given.extend(values.into_iter().map(|value| named(None, value)));
                }
                Some(None) => given.push(named(Some("*"), value)),
                None => given.push(named(None, value)),
            }
        }
        for keyword in &call.arguments.keywords {
            let value = self.expression(&keyword.value);
            let place = self.place(keyword.range);
            if let Some(name) = &keyword.arg {
                let name = Some(name.as_str().into());
                given.push(Given { name, value, place });
                continue;
            }
            let Some(Object::Dict(pairs)) = self.trace.object(&value) else {
                let name = Some("**".into());
                given.push(Given { name, value, place });
                continue;
            };
            given.extend(pairs.iter().filter_map(|(key, value)| match key {
                Value::Str(name) => Some(Given {
                    name: Some(name.clone()),
                    value: value.clone(),
                    place,
                }),
                _ => None,
            }));
        }
        given
    }
}

fn plain(given: Vec<Given>) -> Arguments {
    given
        .into_iter()
        .map(|argument| (argument.name, argument.value))
        .collect()
}
