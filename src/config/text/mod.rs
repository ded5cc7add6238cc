//! A recipe as text: read, changed by `--set`, held against the schema, and errors in the recipe's
//! own words.

mod expected;
mod forms;
mod lines;
mod meant;
mod overrides;
mod parse;
mod shape;
mod syntax;

pub use parse::{changed_keys, load, name_of, parse};
