//! The program as its users meet it: real processes on images made here, never square and never
//! symmetric.

#![expect(
    clippy::disallowed_methods,
    reason = "tests prepare their folders with plain writes"
)]
#![expect(
    unreachable_pub,
    reason = "one binary: what the fixture shows, it shows to the tests beside it"
)]

mod augment;
mod autoencoder;
mod bad_input;
mod checkpoints;
mod classes;
mod commands;
mod comparing;
mod curves;
mod damaged;
mod demo;
mod docs;
mod ensembles;
mod evaluation;
mod export;
mod folds;
mod gpu;
mod help;
mod import;
mod init;
mod inspect;
mod judged;
mod keras_models;
mod kernels;
mod layers;
mod learning;
mod listing;
mod messages;
mod names;
mod novelty;
mod page;
mod papers;
mod preview;
mod ranks;
mod real_data;
mod report;
mod resume;
mod runs;
#[cfg(feature = "serve")]
mod serve;
mod shards;
mod shown;
mod signals;
mod slices;
mod support;
mod tidy;
mod transfer;
