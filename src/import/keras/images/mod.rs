//! `[data]` and `[augment]`: which images there are, how they are read, normalized and changed.

mod augmentation;
mod chain;
mod convert;
mod folders;
mod normalize;
mod order;
mod paths;
mod reading;

pub(super) use augmentation::import as augment;
pub(super) use convert::import;
pub(super) use normalize::import as normalize;
pub(super) use paths::class_names;
