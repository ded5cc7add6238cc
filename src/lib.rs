//! Emberlens trains image classifiers from a folder of pictures.
//!
//! The floors, from the bottom: [`base`] (random streams, files), [`config`] and [`record`], [`augment`], [`data`] and
//! [`metrics`] (pixels on the CPU), `nn` (Burn), `checkpoint`, `train`, `commands`. A module uses lower floors only.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests prepare their folders with plain writes"))]

pub mod augment;
pub mod base;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data;
pub mod evaluation;
pub mod explain;
pub mod inspect;
pub mod metrics;
pub mod nn;
pub mod record;
pub mod report;
pub mod train;
