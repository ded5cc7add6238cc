//! Where parameters lie, by their dotted paths.

/// The layer group of the backbone that a path belongs to, counted from the input; `None` for the head.
pub fn group(path: &str) -> Option<usize> {
    path.strip_prefix("backbone.blocks.")?.split('.').next()?.parse().ok()
}

/// Does a path belong to one of the first `frozen` layer groups?
pub fn is_frozen(path: &str, frozen: usize) -> bool {
    group(path).is_some_and(|group| group < frozen)
}
