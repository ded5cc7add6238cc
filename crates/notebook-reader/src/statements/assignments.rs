//! Assignments to names, attributes and items.

use ruff_python_ast::Expr;
use ruff_text_size::{Ranged, TextRange};

use crate::{
    machine::{MOST_LENGTH, Machine},
    operators::position,
    record::Event,
    values::{Object, Origin, Value},
};

impl<'a> Machine<'a> {
    /// Assigns a value to a name, to an attribute or item, or to several of them.
    pub(crate) fn assign(&mut self, target: &'a Expr, value: Value) {
        match target {
            Expr::Name(name) => self.set_variable(&name.id, value),
            Expr::Starred(starred) => self.assign(&starred.value, value),
            Expr::Tuple(tuple) => self.assign_each(&tuple.elts, &value, target.range()),
            Expr::List(list) => self.assign_each(&list.elts, &value, target.range()),
            Expr::Attribute(attribute) => {
                let of = self.expression(&attribute.value);
                self.set_attribute(of, attribute.attr.as_str(), value, attribute.range);
            }
            Expr::Subscript(subscript) => {
                let of = self.expression(&subscript.value);
                let index = self.expression(&subscript.slice);
                if let Value::Opaque(_) = of {
                    let place = self.place(subscript.range);
                    let is_certain = self.conditions == 0;
                    return self.record(Event::SetItem {
                        of,
                        index,
                        value,
                        place,
                        is_certain,
                    });
                }
                self.set_item(&of, index, value);
            }
            _ => {}
        }
    }

    fn assign_each(&mut self, targets: &'a [Expr], value: &Value, range: TextRange) {
        let known = self.trace.sequence(value).map(<[Value]>::to_vec);
        if let Some(values) = known {
            let star = targets.iter().position(Expr::is_starred_expr);
            let fits = values.len() == targets.len();
            if let Some(star) = star.filter(|_| values.len() + 1 >= targets.len()) {
                let end = values.len() + 1 - (targets.len() - star);
                let middle = self.list(values[star..end].to_vec(), range);
                let ends = values[..star].iter().chain([&middle]).chain(&values[end..]);
                let values: Vec<_> = ends.cloned().collect();
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value);
                }
                return;
            }
            if fits {
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value);
                }
                return;
            }
        }
        for (index, target) in targets.iter().enumerate() {
            let index = Value::Int(i64::try_from(index).unwrap_or_default());
            let of = value.clone();
            let item = self.opaque(Origin::Item { of, index }, range);
            self.assign(target, item);
        }
    }

    fn set_attribute(&mut self, of: Value, name: &str, value: Value, range: TextRange) {
        if let Value::Object(number) = of
            && let Object::Instance { attributes, .. } | Object::Class { attributes, .. } =
                &mut self.trace.objects[number]
        {
            attributes.insert(name.into(), value.clone());
        }
        let place = self.place(range);
        self.record(Event::Set {
            of,
            name: name.into(),
            value,
            place,
            is_certain: self.conditions == 0,
        });
    }

    pub(crate) fn set_item(&mut self, of: &Value, index: Value, value: Value) {
        let Value::Object(number) = *of else {
            return;
        };
        match (&mut self.trace.objects[number], &index) {
            (Object::List(values), Value::Int(_)) => {
                if let Some(at) = position(&index, values.len()) {
                    values[at] = value;
                }
            }
            (Object::Dict(pairs), _) => {
                let found = pairs.iter().position(|(key, _)| *key == index);
                match found {
                    Some(at) => pairs[at].1 = value,
                    None if pairs.len() < MOST_LENGTH => pairs.push((index, value)),
                    None => {}
                }
            }
            _ => {}
        }
    }
}
