//! A sum along one fixed binary tree, whoever computes which part of it.
//!
//! Adding floats in another order gives other digits. Here the order depends on the number of
//! leaves alone: a node of size 2^k covers the leaves from a multiple of 2^k on, cut off at the
//! last leaf, and is the sum of its two halves.

use std::ops::Range;

/// Values at nodes of a tree that follow each other. Two siblings are added at once.
#[derive(Debug)]
pub struct Tree<T> {
    leaves: usize,
    nodes: Vec<(Range<usize>, T)>,
}

impl<T> Tree<T> {
    /// Creates an empty part of a tree with `leaves` leaves.
    pub fn new(leaves: usize) -> Self {
        Self {
            leaves,
            nodes: Vec::new(),
        }
    }

    /// Adds the value of the node that covers `leaves`, which begins where the last one ended, and
    /// sums up what it completes.
    pub fn push(&mut self, leaves: Range<usize>, value: T, add: impl Fn(T, T) -> T) {
        let (mut node, mut value) = (leaves, value);
        while let Some((before, _)) = self.nodes.last() {
            let parent = parent(&node, self.leaves);
            if parent != (before.start..node.end) || before.end != node.start {
                break;
            }
            if let Some((_, left)) = self.nodes.pop() {
                value = add(left, value);
            }
            node = parent;
        }
        self.nodes.push((node, value));
    }

    /// Returns the nodes, each as large as what was pushed allows.
    pub fn into_nodes(self) -> Vec<(Range<usize>, T)> {
        self.nodes
    }

    /// Returns the sum of all leaves, `None` if not all of them were pushed.
    pub fn into_sum(mut self) -> Option<T> {
        let (node, value) = self.nodes.pop()?;
        (node == (0..self.leaves)).then_some(value)
    }
}

/// Returns the nodes whose values the computer of `share` can sum up by itself.
pub fn nodes(share: Range<usize>, leaves: usize) -> Vec<Range<usize>> {
    let mut tree = Tree::new(leaves);
    for leaf in share {
        tree.push(leaf..leaf + 1, (), |(), ()| ());
    }
    tree.into_nodes()
        .into_iter()
        .map(|(node, ())| node)
        .collect()
}

/// Returns the node above `node`, or the root itself.
fn parent(node: &Range<usize>, leaves: usize) -> Range<usize> {
    let mut size = 1;
    loop {
        let start = node.start - node.start % size;
        let block = start..(start + size).min(leaves);
        if block.len() > node.len() || block.len() == leaves {
            return block;
        }
        size *= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum as the definition has it.
    fn defined(values: &[f32]) -> f32 {
        if let [value] = values {
            return *value;
        }
        let half = values.len().next_power_of_two() / 2;
        defined(&values[..half]) + defined(&values[half..])
    }

    #[test]
    fn nodes_are_as_large_as_a_share_allows() {
        for (share, leaves, expected) in [
            (0..5, 5, &[[0, 5]][..]),
            (4..5, 5, &[[4, 5]]),
            (0..4, 5, &[[0, 4]]),
            (1..4, 8, &[[1, 2], [2, 4]]),
            (3..7, 7, &[[3, 4], [4, 7]]),
            (5..7, 7, &[[5, 6], [6, 7]]),
            (2..2, 7, &[]),
        ] {
            let found = nodes(share.clone(), leaves);
            let found: Vec<_> = found.iter().map(|node| [node.start, node.end]).collect();
            assert_eq!(found, expected, "{share:?} of {leaves}");
        }
    }

    proptest! {
        /// Bits, not values: any cut of the leaves into shares gives those of the definition.
        #[test]
        fn any_shares_give_the_same_bits(
            values in proptest::collection::vec(-1e8f32..1e8, 1..41),
            cuts in proptest::collection::vec(0usize..41, 0..11),
        ) {
            let count = values.len();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (count + 1)).collect();
            cuts.extend([0, count]);
            cuts.sort_unstable();
            let mut all = Tree::new(count);
            for pair in cuts.windows(2) {
                let mut own = Tree::new(count);
                for (leaf, value) in values.iter().enumerate().take(pair[1]).skip(pair[0]) {
                    own.push(leaf..leaf + 1, *value, |a, b| a + b);
                }
                let own = own.into_nodes();
                let covered: Vec<_> = own.iter().map(|(node, _)| node.clone()).collect();
                prop_assert_eq!(&covered, &nodes(pair[0]..pair[1], count));
                prop_assert_eq!(covered.iter().map(Range::len).sum::<usize>(), pair[1] - pair[0]);
                for (node, value) in own {
                    all.push(node, value, |a, b| a + b);
                }
            }
            prop_assert_eq!(all.into_sum().map(f32::to_bits), Some(defined(&values).to_bits()));
        }
    }
}
