//! What is followed of a notebook's code, as tables of code and the arguments that a call gets.

use notebook_reader::{Event, Notebook, Options, Origin, Trace, Value, trace};
use proptest::prelude::*;

fn traced(code: &str) -> Trace {
    let notebook = Notebook::from_py(code.as_bytes()).expect("code");
    let options = Options {
        answers: &[("image_data_format", "channels_last")],
        sampled: &[("Scheduler", 4)],
        called: &["forward"],
        transparent: &["tqdm"],
        returning: &["to", "Parallel"],
    };
    trace(&notebook, &options)
}

/// The arguments of the calls of `use(...)`, as described.
fn used(code: &str) -> Vec<String> {
    let trace = traced(code);
    let calls = trace.calls().filter(|call| &*call.name == "use");
    calls
        .map(|call| {
            let texts: Vec<_> = call
                .arguments
                .iter()
                .map(|argument| {
                    let value = trace.describe(&argument.value);
                    match &argument.name {
                        Some(name) => format!("{name}={value}"),
                        None => value,
                    }
                })
                .collect();
            texts.join(" ")
        })
        .collect()
}

#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    for (code, expected) in cases {
        assert_eq!(used(code), *expected, "{code}");
    }
}

#[test]
fn constants_arithmetic_and_texts() {
    check(&[
        (
            "a, b = 3, 4.5\nuse(a + b, a // 2, -a, a ** 2, 7 % a, 1 / 255)",
            &["7.5 1 -3 9 1 0.00392156862745098"],
        ),
        (
            "s = 150\nuse((s, s) + (3,), [1] * 2)",
            &["(150, 150, 3) [1, 1]"],
        ),
        (
            "n = 'x'\nuse(f'{n}_{3:03d}', '%s-%d' % (n, 2), '{}/{b}'.format(n, b=1))",
            &["\"x_003\" \"x-2\" \"x/1\""],
        ),
        (
            "import os\nuse(os.path.join('a', 'b/', 'c'), os.getenv('X', 'd'))",
            &["\"a/b/c\" \"d\""],
        ),
        (
            "from pathlib import Path\nuse(Path('a') / 'b' / 'c', str(Path('a')))",
            &["\"a/b/c\" \"a\""],
        ),
        (
            "x = 'a,b'.split(',')\nx.append('c')\nx += ['d']\nuse(x, len(x), x[-1], x[1:3])",
            &["[\"a\", \"b\", \"c\", \"d\"] 4 \"d\" [\"b\", \"c\"]"],
        ),
        (
            "d = dict(a=1)\nd['b'] = 2\nd.update({'c': 3})\nuse(d, d['b'], d.get('e', 5))",
            &["{\"a\": 1, \"b\": 2, \"c\": 3} 2 5"],
        ),
        ("use(*[1, 2], **{'k': 3})", &["1 2 k=3"]),
        (
            "use(int(np.ceil(7 / 2)), round(2.567, 2), min(3, 2), 1e-7, 1e20)",
            &["int(np.ceil(7 / 2)) 2.57 2 1e-7 1e20"],
        ),
        ("import numpy as np\nuse(int(np.ceil(7 / 2)))", &["4"]),
        (
            "a = b = 2\n(c, *d), e = [1, 2, 3], 4\nuse(a, b, c, d, e)",
            &["2 2 1 [2, 3] 4"],
        ),
    ]);
}

#[test]
fn branches_loops_functions_and_classes() {
    check(&[
        (
            "if image_data_format() == 'channels_first':\n  s = 1\nelse:\n  s = 2\nuse(s)",
            &["2"],
        ),
        (
            "for i in range(3):\n  if i == 1: continue\n  use(i)",
            &["0", "2"],
        ),
        (
            "for a, b in zip('xy', [1, 2]):\n  use(a, b)",
            &["\"x\" 1", "\"y\" 2"],
        ),
        (
            "use([i * 2 for i in range(4) if i > 1], {k: 1 for k in 'ab'})",
            &["[4, 6] {\"a\": 1, \"b\": 1}"],
        ),
        (
            "def f(a, b=2, *c, d, **e):\n  return use(a, b, c, d, e)\nf(1, d=4, z=5)",
            &["1 2 () 4 {\"z\": 5}"],
        ),
        (
            "N = 3\ndef f():\n  global N\n  N = 4\n  return lambda x: x + N\nuse(f()(1))",
            &["5"],
        ),
        (
            "class C:\n  size = 2\n  def __init__(self, n=1):\n    self.n = n\n  @property\n  \
          def area(self):\n    return self.size * self.n\nc = C(n=5)\nuse(C.size, c.n, c.area)",
            &["2 5 10"],
        ),
        (
            "class A:\n  def f(self): return 1\n\
          class B(A):\n  def f(self): return super().f() + 1\n\
          use(B().f())",
            &["2"],
        ),
        (
            "@dataclass\nclass C:\n  a: int = 1\n  b: int = 2\nuse(C(b=3).a, C(b=3).b)",
            &["1 3"],
        ),
        (
            "p = argparse.ArgumentParser()\np.add_argument('-e', '--num-epochs', default=7)\n\
          args = p.parse_args()\nuse(args.num_epochs)",
            &["7"],
        ),
        ("if __name__ == '__main__':\n  use(1)", &["1"]),
        ("try:\n  x = 1\nexcept E:\n  x = 2\nuse(x)", &["1"]),
        ("i = 0\nwhile i < 3:\n  i += 1\nuse(i)", &["3"]),
    ]);
}

#[test]
fn what_is_unknown_is_named_as_it_is_written() {
    check(&[
        (
            "x = lib.load('a')\nuse(x, x.size, x[0], x + 1)",
            &["lib.load('a') x.size x[0] x + 1"],
        ),
        (
            "import os\nroot = lib.get()\nuse(os.path.join(root, 'a', 'b'), f'{root}/c')",
            &["os.path.join(root, 'a', 'b') f'{root}/c'"],
        ),
        (
            "if lib.flag:\n  a = 1\nelse:\n  a = 2\nuse(a, missing)",
            &["1 or 2 missing"],
        ),
        ("if lib.flag:\n  a = 1\nelse:\n  a = 1\nuse(a)", &["1"]),
    ]);
    let trace = traced("if lib.flag:\n  f(1)\ng(2)\nm.layers[0].trainable = False");
    let certain: Vec<_> = trace
        .events
        .iter()
        .map(|event| match event {
            Event::Call { is_certain, .. }
            | Event::Set { is_certain, .. }
            | Event::SetItem { is_certain, .. } => *is_certain,
        })
        .collect();
    assert_eq!(certain, [false, true, true]);
}

/// PyTorch's `model.classifier[1] = ...`, and classes whose calls stand for `forward`.
#[test]
fn items_of_unknown_values_and_calls_of_objects() {
    let trace = traced("m = lib.net()\nm.head[1] = lib.layer(3)\nd = {}\nd[1] = 2");
    let set: Vec<_> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            Event::SetItem {
                of, index, value, ..
            } => Some([of, index, value].map(|value| trace.describe(value))),
            _ => None,
        })
        .collect();
    assert_eq!(set, [["m.head", "1", "lib.layer(3)"]]);
    let net = "class Net(lib.Module):\n  def forward(self, x):\n    return x + 1\n";
    for wrapped in ["Net().to(gpu)", "lib.Parallel(Net())"] {
        assert_eq!(used(&format!("{net}net = {wrapped}\nuse(net(4))")), ["5"]);
    }
    check(&[(
        "class Net(lib.Module):\n  def __init__(self, n):\n    self.n = n\n  \
         def forward(self, x):\n    return x + self.n\nnet = Net(3)\nuse(net(4))",
        &["7"],
    )]);
}

/// A loop tells over how many numbers it goes, and what happens in it.
#[test]
fn loops_are_recorded_with_their_count() {
    let code = "for epoch in tqdm(range(1, 4)):\n  for x in data:\n    f(x)\ng(1)";
    let trace = traced(code);
    let found: Vec<_> = trace
        .loops
        .iter()
        .map(|own| (own.place.line, own.count, own.events.len()))
        .collect();
    assert_eq!(
        found,
        [(2, None, 1), (2, None, 1), (2, None, 1), (1, Some(3), 3)]
    );
    assert_eq!(trace.loops[3].events, 0..3);
    let code = "from tqdm import trange\nfor epoch in trange(5):\n  f(epoch)";
    assert_eq!(traced(code).loops[0].count, Some(5));
}

#[test]
fn loops_over_unknown_sequences_run_once_for_each_element() {
    let trace = traced("for layer in base.layers[:100]:\n  layer.trainable = False");
    let [
        Event::Set {
            of,
            name,
            value,
            place,
            ..
        },
    ] = &trace.events[..]
    else {
        panic!("{:?}", trace.events);
    };
    assert_eq!(
        (&**name, value, place.line),
        ("trainable", &Value::Bool(false), 2)
    );
    let Origin::Element { of } = &trace.opaque(of).expect("unknown").origin else {
        panic!("{of:?}");
    };
    assert_eq!(trace.describe(of), "base.layers[:100]");
}

#[test]
fn functions_given_to_a_library_are_followed() {
    let trace =
        traced("def f(x, y):\n  return x / 255, y\nds.map(f)\nScheduler(lambda e: 2 ** -e)");
    let calls: Vec<_> = trace.calls().collect();
    let results: Vec<_> = calls
        .iter()
        .flat_map(|call| &call.arguments[0].results)
        .map(|result| trace.describe(result))
        .collect();
    assert_eq!(
        results,
        ["(x / 255, <parameter>)", "1", "0.5", "0.25", "0.125"].map(|text| {
            if text.starts_with('(') {
                "(x / 255, ds.map(f))".to_owned()
            } else {
                text.to_owned()
            }
        })
    );
}

#[test]
fn cells_and_lines_are_told_and_code_that_is_not_python_is_named() {
    let cell = |code: &str| serde_json::json!({"cell_type": "code", "source": code});
    let file = serde_json::json!({"cells": [
        cell("import os\n%matplotlib inline\n!pip install x\ndef f(n):\n    lib.g(\n        n)\n"),
        {"cell_type": "markdown", "source": "text"},
        cell("ok(1)\nprint 'old'\nok(2)"),
        cell("f(3)\nx = !ls\nf?"),
    ]});
    let notebook = Notebook::from_ipynb(file.to_string().as_bytes()).expect("a notebook");
    let trace = trace(&notebook, &Options::default());
    let places: Vec<_> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Call { number, .. } => Some(&trace.opaques[*number]),
            Event::Set { .. } | Event::SetItem { .. } => None,
        })
        .map(|opaque| format!("{} {}", opaque.place, opaque.text))
        .collect();
    assert_eq!(
        places,
        [
            "cell 2, line 1 ok(1)",
            "cell 2, line 3 ok(2)",
            "cell 1, line 5 lib.g( n)"
        ]
    );
    let argument = &trace.calls().last().expect("a call").arguments[0];
    assert_eq!(argument.place.to_string(), "cell 1, line 6");
    assert_eq!(trace.skipped.len(), 1, "{:?}", trace.skipped);
    assert_eq!(trace.skipped[0].place.to_string(), "cell 2, line 2");
    assert!(
        trace.skipped[0].reason.starts_with("not Python 3: "),
        "{:?}",
        trace.skipped
    );
}

#[test]
fn limits_hold() {
    for (code, expected) in [
        ("x = 'a' * 10 ** 9\nuse(1)", vec!["1"]),
        ("x = [0] * 10 ** 9\nuse(1)", vec!["1"]),
        ("def f(n): return f(n + 1)\nf(0)\nuse(1)", vec!["1"]),
        ("x = []\nx.append(x)\nuse(1)\ny = x == x", vec!["1"]),
        (
            "x = [[0] * 4000 for i in range(4000)]\nwhile True:\n  x = x + x",
            vec![],
        ),
        (
            "for a in range(4000):\n  for b in range(4000):\n    c = a * b\nuse(1)",
            vec![],
        ),
    ] {
        assert_eq!(used(code), expected, "{code}");
    }
    let deep = |open: &str, close: &str, times: usize| {
        format!("x = {}1{}\nuse(1)", open.repeat(times), close.repeat(times))
    };
    for code in [
        deep("(", ")", 50_000),
        deep("-", "", 200_000),
        deep("1+", "", 100_000),
        deep("not ", "", 50_000),
        deep("lambda: ", "", 30_000),
        deep("[", "]", 50_000),
    ] {
        assert_eq!(used(&code), ["1"]);
    }
}

/// IPython takes a comma at the start of a line for a command, on which the parser panics in an
/// expression.
#[test]
fn a_cell_that_the_parser_gives_up_on_is_named() {
    let found = traced("import a.b as cx[\n  ,");
    assert_eq!(found.skipped[0].reason, "the parser gave up on it");
}

/// Pieces of code that mutations are made of.
const PIECES: &[&str] = &[
    "x",
    "y",
    " = ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    "\n",
    "    ",
    "\n  ",
    "if ",
    "else:",
    "for x in ",
    "while ",
    "def f(x, *a, **k):",
    "class A(B):",
    "return ",
    "lambda x: ",
    "f'{x:03d}'",
    "'%d' % ",
    "'a'",
    "1",
    "-7",
    "0.5",
    "1e308",
    "9223372036854775807",
    " + ",
    " * ",
    " // ",
    " % ",
    " ** ",
    " << ",
    ".",
    ",",
    "**",
    "*",
    "x.append(",
    "x[",
    "range(",
    "zip(",
    "enumerate(",
    "sorted(",
    "'{}'.format(",
    "super().",
    "global x",
    "break",
    "continue",
    "import a.b as c",
    "from . import *",
    "try:",
    "except:",
    "with x as y:",
    "x.y = ",
    "not ",
    " in ",
    " is ",
    "x if y else ",
    "[x for x in ",
    "%time",
    "!ls",
    "?x",
    "\t",
    "é",
    "\u{0}",
    "#",
    "\\",
    "'''",
    "del x",
    "match x:",
    "case _:",
    "@",
    "~",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_code_is_followed_without_a_panic(
        picks in proptest::collection::vec(0..PIECES.len(), 0..60)
    ) {
        let code: String = picks.iter().map(|pick| PIECES[*pick]).collect();
        let trace = traced(&code);
        for opaque in 0..trace.opaques.len() {
            let value = Value::Opaque(opaque);
            trace.any(&value, &mut |_| false);
            trace.describe(&value);
        }
        for object in 0..trace.objects.len() {
            trace.describe(&Value::Object(object));
        }
    }

    #[test]
    fn any_bytes_are_a_notebook_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        _ = Notebook::from_ipynb(&bytes);
        if let Ok(notebook) = Notebook::from_py(&bytes) {
            trace(&notebook, &Options::default());
        }
    }
}
