//! Emberlens trains image classifiers from a folder of images, on the CPU or a GPU.
//!
//! The `emberlens` program is the usual way in; its README and `docs/` describe recipes, commands
//! and files. This crate is what the program consists of: a recipe is read and checked by
//! [`config`], images are listed, decoded and batched by [`data`], and [`train::fit()`] trains a
//! [`train::Session`], which saves checkpoints. [`evaluation::predictor::Predictor`] classifies
//! images with a checkpoint. On the CPU, a run that is stopped and resumed ends with the same bytes
//! as one that isn't.
//!
//! # Modules
//!
//! Modules form floors, and each uses only those below it. From the bottom:
//!
//! | floor | modules |
//! |---|---|
//! | foundations | [`base`]: keyed random streams, atomic files, locks, downloads, names |
//! | values | [`augment`]: random changes; [`config`]: recipes; [`record`]: what an epoch leaves |
//! | host memory | [`data`]: files to batches; [`metrics`]: measures |
//! | tensors | [`nn`]: networks, losses, optimizers, devices, weights, in Burn |
//! | files of a run | [`checkpoint`]: saved as a whole, refused where a byte is wrong |
//! | training | [`train`]: the loop and the run; [`report`]: figures, pages; [`export`]: ONNX |
//! | inspection | [`explain`]: maps; [`inspect`]: images; [`import`]: notebooks to recipes |
//! | measuring | [`evaluation`]: a checkpoint on images, with intervals, tables and pages |
//! | serving | `serve`, with the feature of that name: a checkpoint over HTTP |
//! | program | [`commands`] and [`cli`]: arguments, exit codes, everything printed |
//!
//! # Train
//!
//! Trains on `flowers/`, which has one folder a class, and writes the run to `checkpoints/flowers`.
//!
//! ```no_run
//! use std::{path::Path, sync::atomic::AtomicBool};
//!
//! use emberlens::{
//!     checkpoint::RunFolder,
//!     config,
//!     data::load_for_training,
//!     nn::device,
//!     record::EpochRecord,
//!     train::{Observer, Session, fit},
//! };
//!
//! struct Log;
//!
//! impl Observer for Log {
//!     fn epoch_started(&self, _epoch: usize, _done: usize, _total: usize) {}
//!     fn trained(&self, _images: usize, _loss: f64, _accuracy: f64) {}
//!     fn computed_features(&self, _done: usize, _total: usize) {}
//!     fn validated(&self, _images: usize) {}
//!     fn epoch_ended(&self, record: &EpochRecord) {
//!         println!("epoch {}: accuracy {:.4}", record.epoch, record.validation.accuracy);
//!     }
//!     fn say(&self, line: &str) {
//!         println!("{line}");
//!     }
//! }
//!
//! let recipe = r#"
//!     name = "flowers"
//!     [data]
//!     train = "flowers"
//!     image_size = [96, 128]
//!     [augment]
//!     horizontal_flip = true
//!     [train]
//!     epochs = 10
//! "#;
//! let config = config::parse(recipe, Path::new("flowers.toml"), &[])?;
//! let data = load_for_training(&config.data, config.seed, &|_| {}, &|_| {})?;
//! let compute = device::open(config.device)?;
//! let mut session = Session::start(config, &data, &compute.device)?;
//! session.begin(RunFolder::create(Path::new("checkpoints/flowers"))?, &data)?;
//! // Setting the flag, from another thread, stops the run after its step and saves it.
//! fit(&mut session, &Log, &AtomicBool::new(false))?;
//! println!("value and epoch of the best: {:?}", session.state.best.found);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Published weights must be cached before a session starts with them:
//! [`nn::pretrained::fetch::ensure`] downloads them.
//!
//! # Classify
//!
//! Loads the best epoch of a run and classifies an image, read as the network was trained on.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use emberlens::{
//!     base::progress::Silent,
//!     checkpoint::Networks,
//!     config::DeviceName,
//!     data::listing::Entry,
//!     evaluation::predictor::Predictor,
//!     metrics::argmax,
//!     nn::device,
//! };
//!
//! // One network, or those of all folds.
//! let networks = Networks::find(Path::new("checkpoints/flowers"))?.load()?;
//! let compute = device::open(DeviceName::Auto)?;
//! let predictor = Predictor::of_all(&networks, &compute, &Silent)?;
//! // The class of the image isn't known; prediction ignores the one given here.
//! let class = predictor.meta().classes[0].clone();
//! let path = "new/rose.jpg".into();
//! let listed = predictor.read(&[Entry { path, class, group: None, weight: 1.0, split: None }])?;
//! let found = predictor.predict(&listed.set)?;
//! for (image, row) in listed.set.images.iter().zip(&found.probabilities) {
//!     let class = argmax(row);
//!     println!("{}: {} {:.3}", image.path.display(), listed.set.classes[class], row[class]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An image that can't be read isn't in the set but, with the reason, in
//! [`Listed::skipped`](data::Listed::skipped).

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests prepare their folders with plain writes"
    )
)]

pub mod architecture;
pub mod augment;
pub mod base;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data;
pub mod evaluation;
pub mod explain;
pub mod export;
pub mod import;
pub mod inspect;
pub mod metrics;
pub mod nn;
pub mod ranks;
pub mod record;
pub mod report;
#[cfg(feature = "serve")]
pub mod serve;
pub mod train;
