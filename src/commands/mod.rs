//! One file a subcommand: its arguments beside what it does. The only place that prints or picks a device.

pub mod augment;
mod backbone;
pub mod bench;
pub mod calibrate;
mod data_folders;
pub mod decisions;
pub mod devices;
pub mod evaluate;
pub mod evaluation;
pub mod explain;
pub mod init;
pub mod inspect;
mod mosaic;
mod place;
pub mod predict;
pub mod preview;
pub mod report;
mod signals;
mod tables;
pub mod train;
pub mod ui;
pub mod weights;
