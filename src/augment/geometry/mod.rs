//! Families that move pixels: each draws a homogeneous map from the pixels of the result to those
//! of the source, and the maps of all are composed, so that pixels are interpolated once.
//! Coordinates are columns and rows, counted from the center of the first pixel.

pub(super) mod affine;
pub(super) mod crop;
mod maps;
pub(super) mod perspective;
pub(super) mod transform;

pub(super) use maps::{about_center, compose, mirrors};
