//! One file or folder a subcommand: its arguments beside what it does. The only place that prints
//! or picks a device.

pub mod augment;
pub mod bench;
pub mod calibrate;
pub mod common;
pub mod devices;
pub mod evaluate;
pub mod explain;
pub mod init;
pub mod inspect;
pub mod predict;
pub mod preview;
pub mod train;
pub mod ui;
pub mod weights;
