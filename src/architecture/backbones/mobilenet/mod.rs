//! The MobileNets, by version.

pub(super) mod v1;
pub(super) mod v2;
pub(super) mod v3;
