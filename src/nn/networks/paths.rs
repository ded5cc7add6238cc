//! Finds the layer group of a parameter from its dotted path.

/// Returns the index of the backbone's layer group that `path` belongs to, counted from the input,
/// or `None` for the head.
pub fn group(path: &str) -> Option<usize> {
    path.strip_prefix("backbone.blocks.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Whether `path` belongs to one of the first `frozen` layer groups.
pub fn is_frozen(path: &str, frozen: usize) -> bool {
    group(path).is_some_and(|group| group < frozen)
}
