//! Statements: branches, loops, imports and definitions.

mod assignments;

use std::sync::Arc;

use ruff_python_ast::{
    Expr, Stmt, StmtClassDef, StmtFor, StmtIf, StmtImport, StmtImportFrom, StmtTry, StmtWhile,
};
use ruff_text_size::{Ranged, TextRange};

use crate::{
    machine::{Flow, Machine, Scope},
    record::Loop,
    values::{Object, Origin, Value},
};

/// Maximum number of rounds of a loop.
const MOST_ROUNDS: usize = 500;

impl<'a> Machine<'a> {
    pub(crate) fn statements(&mut self, body: &'a [Stmt]) -> Flow {
        for statement in body {
            match self.statement(statement) {
                Flow::Next => {}
                flow => return flow,
            }
        }
        Flow::Next
    }

    pub(crate) fn statement(&mut self, statement: &'a Stmt) -> Flow {
        if self.is_exhausted(statement.range()) {
            return Flow::Next;
        }
        self.deeper(|machine| machine.statement_within(statement))
            .unwrap_or(Flow::Next)
    }

    fn statement_within(&mut self, statement: &'a Stmt) -> Flow {
        match statement {
            Stmt::FunctionDef(definition) => {
                let function = self.define(definition);
                self.set_variable(&definition.name, function);
            }
            Stmt::ClassDef(definition) => self.class(definition),
            Stmt::Return(statement) => {
                let value = statement.value.as_deref();
                let value = value.map_or(Value::None, |value| self.expression(value));
                return Flow::Return(value);
            }
            Stmt::If(statement) => return self.branch(statement),
            Stmt::For(statement) => return self.each(statement),
            Stmt::While(statement) => return self.repeat(statement),
            Stmt::With(statement) => {
                for item in &statement.items {
                    let value = self.expression(&item.context_expr);
                    if let Some(target) = &item.optional_vars {
                        self.assign(target, value);
                    }
                }
                return self.statements(&statement.body);
            }
            Stmt::Try(statement) => return self.attempt(statement),
            Stmt::Break(_) => return Flow::Break,
            Stmt::Continue(_) => return Flow::Continue,
            statement => self.name(statement),
        }
        Flow::Next
    }

    /// A statement that changes what names stand for, or that has no effect here.
    fn name(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Expr(statement) => {
                self.expression(&statement.value);
            }
            Stmt::Assign(statement) => {
                let value = self.expression(&statement.value);
                for target in &statement.targets {
                    self.assign(target, value.clone());
                }
            }
            Stmt::AnnAssign(statement) => {
                if let Some(value) = &statement.value {
                    let value = self.expression(value);
                    self.assign(&statement.target, value);
                }
            }
            Stmt::AugAssign(statement) => {
                let left = self.expression(&statement.target);
                let right = self.expression(&statement.value);
                let value = self.augmented(statement.op, left, right, statement.range);
                self.assign(&statement.target, value);
            }
            Stmt::Delete(statement) => {
                for target in &statement.targets {
                    if let (Expr::Name(name), Some(scope)) = (target, self.scopes.last_mut()) {
                        scope.remove(name.id.as_str());
                    }
                }
            }
            Stmt::Import(statement) => self.import(statement),
            Stmt::ImportFrom(statement) => self.import_from(statement),
            Stmt::Global(statement) => {
                let names: Vec<Arc<str>> = statement
                    .names
                    .iter()
                    .map(|name| name.as_str().into())
                    .collect();
                if let Some(globals) = self.globals.last_mut() {
                    globals.extend(names);
                }
            }
            _ => {}
        }
    }

    fn import(&mut self, statement: &'a StmtImport) {
        for alias in &statement.names {
            let whole = alias.name.as_str();
            let (name, value) = match &alias.asname {
                Some(name) => (name.as_str(), whole),
                None => {
                    let first = whole.split('.').next().unwrap_or(whole);
                    (first, first)
                }
            };
            self.set_variable(name, Value::Name(value.into()));
        }
    }

    fn import_from(&mut self, statement: &'a StmtImportFrom) {
        let module = statement.module.as_deref().unwrap_or_default();
        for alias in statement.names.iter().filter(|alias| &*alias.name != "*") {
            let name = alias.asname.as_ref().unwrap_or(&alias.name);
            let whole = format!("{module}.{}", alias.name);
            let whole = whole.trim_start_matches('.');
            self.set_variable(name, Value::Name(whole.into()));
        }
    }

    fn class(&mut self, definition: &'a StmtClassDef) {
        let bases = definition
            .arguments
            .as_deref()
            .map_or(Vec::new(), |arguments| {
                arguments
                    .args
                    .iter()
                    .map(|base| self.expression(base))
                    .collect()
            });
        if !self.may_call() {
            return;
        }
        let around = self.scopes.last().cloned().unwrap_or_default();
        let is_inner = self.scopes.len() > 1;
        self.scopes.push(if is_inner {
            around.clone()
        } else {
            Scope::new()
        });
        self.globals.push(Vec::new());
        self.statements(&definition.body);
        self.globals.pop();
        let mut attributes = self.scopes.pop().unwrap_or_default();
        if is_inner {
            attributes.retain(|name, value| around.get(name) != Some(value));
        }
        let name = definition.name.as_str();
        let class = self.object(Object::Class {
            name: name.into(),
            bases,
            attributes,
        });
        self.set_variable(name, class);
    }

    fn branch(&mut self, statement: &'a StmtIf) -> Flow {
        let mut clauses: Vec<(Option<&'a Expr>, &'a [Stmt])> =
            vec![(Some(&statement.test), &statement.body)];
        let others = statement.elif_else_clauses.iter();
        clauses.extend(others.map(|clause| (clause.test.as_ref(), &*clause.body)));
        self.clauses(&clauses, statement.range)
    }

    /// Runs the first clause whose condition holds; after an unknown one, both sides of it.
    fn clauses(&mut self, clauses: &[(Option<&'a Expr>, &'a [Stmt])], range: TextRange) -> Flow {
        let Some(((test, body), rest)) = clauses.split_first() else {
            return Flow::Next;
        };
        let test = test.map(|test| self.expression(test));
        match test.as_ref().map_or(Some(true), |test| self.truth(test)) {
            Some(true) => self.statements(body),
            Some(false) => self.clauses(rest, range),
            None => self.both(body, rest, range),
        }
    }

    fn both(
        &mut self,
        body: &'a [Stmt],
        rest: &[(Option<&'a Expr>, &'a [Stmt])],
        range: TextRange,
    ) -> Flow {
        let before = self.scopes.last().cloned().unwrap_or_default();
        self.spend(2 * before.len());
        self.conditions += 1;
        let first = self.statements(body);
        let after_first = self.scopes.last().cloned().unwrap_or_default();
        if let Some(scope) = self.scopes.last_mut() {
            *scope = before;
        }
        let second = self
            .deeper(|machine| machine.clauses(rest, range))
            .unwrap_or(Flow::Next);
        self.conditions -= 1;
        // A branch that leaves says nothing about what follows it.
        if first == Flow::Next || second != Flow::Next {
            let leaves = second != Flow::Next;
            self.merge(after_first, leaves, range);
        }
        match (first, second) {
            (Flow::Return(first), Flow::Return(second)) => {
                Flow::Return(self.either(first, second, range))
            }
            (Flow::Return(value), _) | (_, Flow::Return(value)) => {
                if let Some(possible) = self.possible.last_mut() {
                    possible.push(value);
                }
                Flow::Next
            }
            _ => Flow::Next,
        }
    }

    /// Merges the variables after one branch into those after the other.
    fn merge(&mut self, first: Scope, second_leaves: bool, range: TextRange) {
        let Some(scope) = self.scopes.last().cloned() else {
            return;
        };
        let mut merged = first.clone();
        if !second_leaves {
            for (name, value) in scope {
                let value = match first.get(&name) {
                    Some(other) if *other != value => self.either(other.clone(), value, range),
                    _ => value,
                };
                merged.insert(name, value);
            }
        }
        if let Some(scope) = self.scopes.last_mut() {
            *scope = merged;
        }
    }

    /// Returns the value that both are, or an unknown one.
    fn either(&mut self, first: Value, second: Value, range: TextRange) -> Value {
        if first == second {
            return first;
        }
        self.computed("?", vec![first, second], range)
    }

    fn each(&mut self, statement: &'a StmtFor) -> Flow {
        let iterated = self.expression(&statement.iter);
        let (events, opaques) = (self.trace.events.len(), self.trace.opaques.len());
        let values = self.trace.sequence(&iterated).unwrap_or_default();
        let is_range = values.iter().all(|value| matches!(value, Value::Int(_)));
        let count = (is_range && !values.is_empty()).then_some(values.len());
        let flow = self.each_of(statement, iterated);
        self.trace.loops.push(Loop {
            place: self.place(statement.range),
            count,
            events: events..self.trace.events.len(),
            opaques: opaques..self.trace.opaques.len(),
        });
        flow
    }

    fn each_of(&mut self, statement: &'a StmtFor, iterated: Value) -> Flow {
        let Some(values) = self.elements(&iterated) else {
            let element = self.opaque(Origin::Element { of: iterated }, statement.iter.range());
            self.assign(&statement.target, element);
            return match self.statements(&statement.body) {
                Flow::Return(value) => Flow::Return(value),
                _ => Flow::Next,
            };
        };
        self.spend(values.len());
        for value in values.into_iter().take(MOST_ROUNDS) {
            self.assign(&statement.target, value);
            match self.statements(&statement.body) {
                Flow::Break => return Flow::Next,
                Flow::Return(value) => return Flow::Return(value),
                Flow::Next | Flow::Continue => {}
            }
        }
        self.statements(&statement.orelse)
    }

    fn repeat(&mut self, statement: &'a StmtWhile) -> Flow {
        for _ in 0..MOST_ROUNDS {
            let test = self.expression(&statement.test);
            let truth = self.truth(&test);
            if truth == Some(false) {
                return self.statements(&statement.orelse);
            }
            self.conditions += usize::from(truth.is_none());
            let flow = self.statements(&statement.body);
            self.conditions -= usize::from(truth.is_none());
            match flow {
                Flow::Return(value) => return Flow::Return(value),
                Flow::Break => return Flow::Next,
                Flow::Next | Flow::Continue if truth.is_none() => return Flow::Next,
                Flow::Next | Flow::Continue => {}
            }
        }
        Flow::Next
    }

    /// Runs the body as if nothing failed.
    fn attempt(&mut self, statement: &'a StmtTry) -> Flow {
        for body in [&statement.body, &statement.orelse, &statement.finalbody] {
            match self.statements(body) {
                Flow::Next => {}
                flow => return flow,
            }
        }
        Flow::Next
    }
}
