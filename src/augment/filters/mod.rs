//! Families that change pixels by their neighborhood or place, or by chance.

pub(super) mod blur;
pub(super) mod erasing;
pub(super) mod jpeg;
pub(super) mod noise;
pub(super) mod sharpen;
