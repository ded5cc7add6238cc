//! The subcommands, one file or folder each: arguments and what they do. Nothing else prints or
//! chooses a device.

pub mod augment;
pub mod bench;
pub mod calibrate;
pub mod common;
pub mod demo;
pub mod devices;
pub mod evaluate;
pub mod explain;
pub mod export;
pub mod import;
pub mod init;
pub mod inspect;
pub mod predict;
pub mod preview;
pub mod recipes;
pub mod runs;
pub mod serve;
pub mod shards;
pub mod shell;
pub mod train;
pub mod ui;
pub mod weights;
