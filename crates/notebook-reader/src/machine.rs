//! The state of the interpreter: scopes, limits, and the record under construction.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use ruff_python_ast::{Mod, Parameters, Stmt};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use ruff_text_size::{Ranged, TextRange};

use crate::{
    Cell, Notebook,
    record::{Event, Skipped, Trace},
    values::{Object, Opaque, Origin, Place, Value},
};

/// Maximum number of statements and expressions that are interpreted.
const MOST_STEPS: usize = 300_000;

/// Maximum depth of expressions and calls within each other.
const MOST_DEPTH: usize = 240;

/// Maximum depth of calls of the notebook's own functions.
const MOST_CALLS: usize = 12;

/// Maximum length of a string in bytes, and of a list in values.
pub(crate) const MOST_LENGTH: usize = 4_000;

/// Maximum length of the text that describes an unknown value.
const MOST_TEXT: usize = 70;

/// Stack of the thread that parses and interprets: syntax trees may be as deep as code is long.
const STACK_BYTES: usize = 512 << 20;

/// What is known of a notebook's libraries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What a function without effect returns, by the last part of its name.
    pub answers: &'a [(&'a str, &'a str)],
    /// Calls whose arguments that are functions are called with 0, 1, 2, ..., as often as said, and
    /// with 1.0 and then their last result as the second parameter.
    pub sampled: &'a [(&'a str, usize)],
    /// Methods that a call of an object of the notebook's classes stands for, the first that is
    /// there.
    pub called: &'a [&'a str],
    /// Functions whose result has the elements of their first argument, by the last part of their
    /// name.
    pub transparent: &'a [&'a str],
    /// Methods that return their object, and functions that return their first argument, for
    /// objects of the notebook's classes.
    pub returning: &'a [&'a str],
}

/// Follows what a notebook would do.
pub fn trace(notebook: &Notebook, options: &Options<'_>) -> Trace {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("notebook".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || follow(notebook, options));
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(trace)) => trace,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Trace {
                skipped: vec![Skipped {
                    place: Place::default(),
                    reason: format!("no thread could be started ({error})"),
                }],
                ..Trace::default()
            },
        }
    })
}

/// A cell that was parsed.
pub(crate) struct Source<'a> {
    code: &'a str,
    number: usize,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(cell: &'a Cell, number: usize) -> Self {
        let newlines = cell.code.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            code: &cell.code,
            number,
            line_starts: std::iter::once(0).chain(newlines).collect(),
        }
    }

    fn place(&self, offset: usize) -> Place {
        Place {
            cell: self.number,
            line: self.line_starts.partition_point(|start| *start <= offset),
        }
    }

    /// The code of a range on one line, shortened.
    fn text(&self, range: TextRange) -> Arc<str> {
        let code = self
            .code
            .get(range.start().to_usize()..range.end().to_usize());
        let mut text = String::new();
        for (index, word) in code.unwrap_or_default().split_whitespace().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
            if text.len() > MOST_TEXT {
                let end = text.floor_char_boundary(MOST_TEXT);
                text.truncate(end);
                text.push_str("...");
                break;
            }
        }
        text.into()
    }
}

fn follow(notebook: &Notebook, options: &Options<'_>) -> Trace {
    let sources: Vec<_> = notebook
        .cells
        .iter()
        .enumerate()
        .map(|(index, cell)| {
            let number = if notebook.has_cells { index + 1 } else { 0 };
            Source::new(cell, number)
        })
        .collect();
    let mut skipped = Vec::new();
    let modules: Vec<_> = sources
        .iter()
        .map(|source| parse(source, &mut skipped))
        .collect();
    let mut machine = Machine::new(&sources, *options);
    for (index, body) in modules.iter().enumerate() {
        machine.source = index;
        for statement in body {
            machine.statement(statement);
        }
    }
    let mut trace = machine.trace;
    skipped.append(&mut trace.skipped);
    trace.skipped = skipped;
    trace
}

/// Parses a cell. Statements with errors in them are left out and named.
fn parse(source: &Source<'_>, skipped: &mut Vec<Skipped>) -> Vec<Stmt> {
    if source.code.len() > crate::cells::MOST_CODE {
        let reason = format!("{} bytes of code are too many", source.code.len());
        let place = source.place(0);
        skipped.push(Skipped { place, reason });
        return Vec::new();
    }
    // Where a command of IPython stands inside an expression, the parser gives up by a panic.
    let parsed = std::panic::catch_unwind(|| {
        parse_unchecked(source.code, ParseOptions::from(Mode::Ipython))
    });
    let Ok(parsed) = parsed else {
        let reason = "the parser gave up on it".to_owned();
        let place = source.place(0);
        skipped.push(Skipped { place, reason });
        return Vec::new();
    };
    let errors: Vec<_> = parsed
        .errors()
        .iter()
        .map(|error| error.location.start())
        .collect();
    if let Some(error) = parsed.errors().first() {
        let place = source.place(error.location.start().to_usize());
        let reason = format!("not Python 3: {}", error.error.to_string().to_lowercase());
        skipped.push(Skipped { place, reason });
    }
    let Mod::Module(module) = parsed.into_syntax() else {
        return Vec::new();
    };
    module
        .body
        .into_iter()
        .filter(|statement| {
            let range = statement.range();
            !errors.iter().any(|error| range.contains_inclusive(*error))
        })
        .collect()
}

/// The variables of a function or module.
pub(crate) type Scope = BTreeMap<Arc<str>, Value>;

/// A function of the notebook.
pub(crate) struct Function<'a> {
    pub(crate) source: usize,
    pub(crate) parameters: Option<&'a Parameters>,
    pub(crate) defaults: Vec<(Arc<str>, Value)>,
    pub(crate) body: Body<'a>,
    /// Variables of the functions around it.
    pub(crate) captured: Rc<Scope>,
    pub(crate) kind: FunctionKind,
}

/// What a function consists of.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Statements(&'a [Stmt]),
    Expression(&'a ruff_python_ast::Expr),
}

/// How a function of a class is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionKind {
    Plain,
    Static,
    Property,
}

/// What happens after a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
    Return(Value),
}

/// The interpreter.
pub(crate) struct Machine<'a> {
    pub(crate) trace: Trace,
    pub(crate) options: Options<'a>,
    sources: &'a [Source<'a>],
    /// The cell that is interpreted.
    pub(crate) source: usize,
    /// The module's variables, then those of each call under way.
    pub(crate) scopes: Vec<Scope>,
    /// Names that the functions under way declare as global.
    pub(crate) globals: Vec<Vec<Arc<str>>>,
    /// By the number of their object.
    pub(crate) functions: BTreeMap<usize, Rc<Function<'a>>>,
    /// Number of unknown conditions around what is interpreted.
    pub(crate) conditions: usize,
    /// Return values under unknown conditions, for each call under way.
    pub(crate) possible: Vec<Vec<Value>>,
    steps: usize,
    depth: usize,
}

impl<'a> Machine<'a> {
    fn new(sources: &'a [Source<'a>], options: Options<'a>) -> Self {
        let name = (Arc::from("__name__"), Value::Str("__main__".into()));
        Self {
            trace: Trace::default(),
            options,
            sources,
            source: 0,
            scopes: vec![Scope::from([name])],
            globals: vec![Vec::new()],
            functions: BTreeMap::new(),
            conditions: 0,
            possible: vec![Vec::new()],
            steps: 0,
            depth: 0,
        }
    }

    /// Counts a step. Returns whether the limits are reached, and says so the first time.
    pub(crate) fn is_exhausted(&mut self, range: TextRange) -> bool {
        self.steps += 1;
        if self.steps == MOST_STEPS {
            let place = self.place(range);
            let reason = "the notebook takes too many steps to be followed further".to_owned();
            self.trace.skipped.push(Skipped { place, reason });
        }
        self.steps >= MOST_STEPS
    }

    /// Counts the work of copying so many values or bytes.
    pub(crate) fn spend(&mut self, amount: usize) {
        let before = self.steps;
        self.steps += amount / 16;
        if before < MOST_STEPS {
            // The step that reaches the limit says so.
            self.steps = self.steps.min(MOST_STEPS - 1);
        }
    }

    /// Runs `inner` one level deeper; `None` beyond the limit.
    pub(crate) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth >= MOST_DEPTH {
            return None;
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        Some(result)
    }

    /// Returns whether another call of the notebook's own functions may begin.
    pub(crate) fn may_call(&self) -> bool {
        self.scopes.len() <= MOST_CALLS
    }

    pub(crate) fn place(&self, range: TextRange) -> Place {
        self.sources[self.source].place(range.start().to_usize())
    }

    pub(crate) fn text(&self, range: TextRange) -> Arc<str> {
        self.sources[self.source].text(range)
    }

    /// Adds an unknown value that an expression gives.
    pub(crate) fn opaque(&mut self, origin: Origin, range: TextRange) -> Value {
        let (place, text) = (self.place(range), self.text(range));
        self.trace.opaques.push(Opaque {
            origin,
            place,
            text,
        });
        Value::Opaque(self.trace.opaques.len() - 1)
    }

    /// Adds a value that is computed from unknown ones.
    pub(crate) fn computed(
        &mut self,
        operation: &'static str,
        from: Vec<Value>,
        range: TextRange,
    ) -> Value {
        self.opaque(Origin::Computed { operation, from }, range)
    }

    pub(crate) fn object(&mut self, object: Object) -> Value {
        self.spend(match &object {
            Object::List(values) | Object::Tuple(values) => values.len(),
            Object::Dict(pairs) => 2 * pairs.len(),
            Object::Class { attributes, .. } => attributes.len(),
            Object::Slice(_) | Object::Function { .. } | Object::Instance { .. } => 0,
        });
        self.trace.objects.push(object);
        Value::Object(self.trace.objects.len() - 1)
    }

    /// Adds a list, or an unknown value where it is too long.
    pub(crate) fn list(&mut self, values: Vec<Value>, range: TextRange) -> Value {
        if values.len() > MOST_LENGTH {
            return self.computed("long list", Vec::new(), range);
        }
        self.object(Object::List(values))
    }

    /// Returns a string, or an unknown value where it is too long.
    pub(crate) fn string(&mut self, text: String, range: TextRange) -> Value {
        if text.len() > MOST_LENGTH {
            return self.computed("long string", Vec::new(), range);
        }
        self.spend(text.len() / 16);
        Value::Str(text.into())
    }

    pub(crate) fn record(&mut self, event: Event) {
        self.trace.events.push(event);
    }

    /// Returns the value of a variable; a name that no cell defines may come from an import of all
    /// names.
    pub(crate) fn variable(&self, name: &str) -> Value {
        let local = self.scopes.last().and_then(|scope| scope.get(name));
        local
            .or_else(|| self.scopes[0].get(name))
            .cloned()
            .unwrap_or_else(|| Value::Name(name.into()))
    }

    pub(crate) fn set_variable(&mut self, name: &str, value: Value) {
        let is_global = self
            .globals
            .last()
            .is_some_and(|names| names.iter().any(|global| &**global == name));
        let scope = if is_global { 0 } else { self.scopes.len() - 1 };
        self.scopes[scope].insert(name.into(), value);
    }
}
