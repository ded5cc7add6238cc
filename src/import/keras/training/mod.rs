//! `[train]`: how a network is trained.

mod callbacks;
mod convert;
mod freezing;
mod optimizer;

pub(super) use convert::import;
pub(super) use freezing::import as phases;
