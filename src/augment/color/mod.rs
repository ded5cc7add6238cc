//! Families that change pixels one by one. Results are clipped to 0..=255 unless noted.

pub(super) mod brightness;
pub(super) mod contrast;
pub(super) mod gamma;
pub(super) mod gray;
pub(super) mod hue;
pub(super) mod pillow;
pub(super) mod saturation;
