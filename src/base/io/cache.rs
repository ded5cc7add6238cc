//! The user's cache folder, where what can be made again is kept: pixels, features, published
//! weights.

use std::path::PathBuf;

/// Returns `emberlens/NAME` in the cache folder of the user, whether it is there or not; `None`
/// where the system names no such folder.
pub fn folder(name: &str) -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("emberlens").join(name))
}
