//! Reads the text of a recipe, applies `--set`, checks it against the schema, and reports errors in
//! the recipe's own words.

mod expected;
mod forms;
mod lines;
mod meant;
mod overrides;
mod parse;
mod shape;
mod syntax;

pub use parse::{changed_keys, load, name_of, parse, values};
