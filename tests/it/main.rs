//! The program as its users meet it: real processes on pictures made here, never square and never symmetric.

mod bad_input;
mod commands;
mod docs;
mod gpu;
mod learning;
mod resume;
mod support;
mod tidy;
