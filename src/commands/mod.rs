//! One file a subcommand: its arguments beside what it does. The only place that prints or picks a device.

pub mod augment;
pub mod bench;
pub mod calibrate;
mod contact_sheet;
pub mod devices;
pub mod evaluate;
pub mod exit_status;
pub mod explain;
mod folders;
pub mod init;
mod inputs;
pub mod inspect;
pub mod predict;
pub mod preview;
pub mod train;
pub mod ui;
pub mod weights;
