//! Code shared by several subcommands.

pub(super) mod approach;
pub(super) mod contact_sheet;
pub mod exit_status;
pub(super) mod first_recipe;
pub(super) mod folders;
pub(super) mod inputs;
pub(super) mod job;
pub(super) mod trials;
