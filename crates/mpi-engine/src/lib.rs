//! Joins the processes of an MPI job, without any MPI at build time: the library is opened when a
//! launcher (`mpiexec`, `mpirun`, `srun`) started the process, and never otherwise. Open MPI 4 and
//! 5, MPICH, Intel MPI and the standard ABI of MPI 5 work from one binary.
//!
//! All waiting ends: calls don't block, are polled, and give up after a time that the caller sets,
//! with the ranks that are missing by name.

mod calls;
mod error;
mod exchange;
mod launcher;
mod library;
mod wait;
mod world;

pub use calls::{Element, abort};
pub use error::Error;
pub use launcher::{Kind, LIBRARY_VARIABLE, Launcher, launcher};
pub use library::{Found, library_found};
pub use world::{Local, World};
