//! `[model]`: a network's layers as a recipe lists them, or the architecture behind its head.

mod base;
mod convert;
mod described;
mod head;
mod list;

pub(super) use convert::import;
pub(super) use described::{Base, Network};
