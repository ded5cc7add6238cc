//! Reads a Python notebook or script and follows what it would do, without running any of it.
//!
//! [`Notebook`] is the code of an `.ipynb` or `.py` file; [`trace`] interprets it
//! abstractly: it follows constants, arithmetic, strings, paths, lists, dictionaries, loops over
//! known ranges, and the functions and classes of the notebook, and returns every call that leads
//! outside (to a library), with its arguments, cells and lines. What isn't known stays unknown and
//! says where it comes from: [`Opaque`]. Nothing is executed, imported, opened or downloaded, and
//! memory and time are bounded for any input.
//!
//! ```
//! use notebook_reader::{Notebook, Options, Value, trace};
//!
//! let notebook = Notebook::from_py(b"import lib\nsize = 2 * 16\nlib.load('a', side=size)\n")?;
//! let trace = trace(&notebook, &Options::default());
//! let call = trace.calls().next().expect("one call");
//! assert_eq!(&*call.name, "load");
//! assert_eq!(call.argument("side").expect("given").value, Value::Int(32));
//! # Ok::<(), notebook_reader::ReadError>(())
//! ```

#![forbid(unsafe_code)]

mod builtins;
mod calls;
mod cells;
mod expressions;
mod formatting;
mod functions;
mod machine;
mod methods;
mod operators;
mod record;
mod statements;
mod values;

pub use cells::{Cell, Notebook, ReadError};
pub use machine::{Options, trace};
pub use record::{Event, Loop, Skipped, Trace};
pub use values::{Argument, Call, Object, Opaque, Origin, Place, Value};
