//! Disjoint sets that grow together (union-find with path halving).

use std::collections::BTreeMap;

/// Sets of the positions `0..count`, each of which is alone at first.
#[derive(Clone, Debug)]
pub struct UnionFind {
    parents: Vec<usize>,
}

impl UnionFind {
    /// Returns `count` sets of one position each.
    pub fn new(count: usize) -> Self {
        Self {
            parents: (0..count).collect(),
        }
    }

    /// Returns the smallest position of the set that `at` is in.
    pub fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    /// Joins the sets of two positions. Returns their roots, the smaller one first, which is the
    /// root of both from then on, or `None` if they were one set already.
    pub fn join(&mut self, a: usize, b: usize) -> Option<[usize; 2]> {
        let (a, b) = (self.root(a), self.root(b));
        let [low, high] = [a.min(b), a.max(b)];
        self.parents[high] = low;
        (a != b).then_some([low, high])
    }

    /// Returns the sets by their smallest position, each in rising order.
    pub fn into_sets(mut self) -> BTreeMap<usize, Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.parents.len() {
            let root = self.root(at);
            sets.entry(root).or_default().push(at);
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_grow_together_and_keep_their_smallest_position() {
        let mut sets = UnionFind::new(6);
        assert_eq!(
            (sets.join(4, 2), sets.join(5, 3), sets.join(2, 4)),
            (Some([2, 4]), Some([3, 5]), None)
        );
        assert_eq!(
            (sets.join(5, 4), sets.root(5), sets.root(0)),
            (Some([2, 3]), 2, 0)
        );
        assert_eq!(
            sets.into_sets().into_iter().collect::<Vec<_>>(),
            [(0, vec![0]), (1, vec![1]), (2, vec![2, 3, 4, 5])]
        );
    }
}
