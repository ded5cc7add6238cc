//! Emberlens trains image classifiers from a folder of images.
//!
//! Modules form layers, and each uses only those below it. From the bottom: [`base`] (random
//! streams, files); [`config`] and [`record`]; [`data`], [`augment`] and [`metrics`], which work on
//! pixels and numbers without tensors; [`nn`], the networks in Burn; [`checkpoint`]; [`train`] and
//! [`report`]; [`explain`] and [`inspect`]; [`evaluation`]; [`commands`] and [`cli`].

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
