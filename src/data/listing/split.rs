//! Chooses the training images that are held back for validation or held out for the test:
//! stratified by class and drawn from the seed, with duplicates and groups kept on one side.

use std::collections::{BTreeMap, BTreeSet};

use super::Part;
use crate::base::{
    names,
    rng::{Purpose, permutation, stream},
    union_find::UnionFind,
};

/// What the split depends on for each image.
#[derive(Clone, Debug)]
pub struct Member {
    /// Class index.
    pub class: usize,
    /// Group, if any. Images of a group stay on the same side.
    pub group: Option<String>,
    /// Digest of the decoded pixels. Images with equal digests stay on the same side.
    pub digest: [u8; 32],
}

/// Returns for each member whether it is held back for `part`. Holds back the fraction `share` of
/// each class as nearly as whole clusters of groups and duplicates allow; a cluster counts for the
/// class of its first member. Depends on the seed, the part and the order of the members only.
pub fn hold_back(members: &[Member], share: f64, part: Part, seed: u64) -> Vec<bool> {
    let clusters = clusters(members);
    let mut held = vec![false; members.len()];
    let num_classes = members
        .iter()
        .map(|member| member.class + 1)
        .max()
        .unwrap_or(0);
    for class in 0..num_classes {
        let of_class: Vec<_> = clusters
            .iter()
            .filter(|cluster| members[cluster[0]].class == class)
            .collect();
        let count: usize = of_class.iter().map(|cluster| cluster.len()).sum();
        let target = (share * count as f64).round() as usize;
        let mut taken = 0;
        for index in permutation(
            &mut stream(
                seed,
                Purpose::Split,
                [class as u64, u64::from(part == Part::Test), 0],
            ),
            of_class.len(),
        ) {
            let cluster = of_class[index];
            // Take a cluster if at least half of it (rounded down) is still missing.
            if taken < target && taken + cluster.len() / 2 <= target {
                taken += cluster.len();
                cluster.iter().for_each(|member| held[*member] = true);
            }
        }
    }
    held
}

/// Explains why [`hold_back`] held back nothing for the part whose key is `key`, as the
/// continuation of "found no validation images, expected one or more".
pub fn why_none_held(members: &[Member], share: f64, key: &str) -> String {
    let clusters = clusters(members);
    let count = members.len();
    let groups: BTreeSet<&str> = members
        .iter()
        .filter_map(|member| member.group.as_deref())
        .collect();
    let num_classes = members
        .iter()
        .map(|member| member.class + 1)
        .max()
        .unwrap_or(0);
    let of_class = |class: usize| {
        members
            .iter()
            .filter(|member| member.class == class)
            .count()
    };
    let wanted: usize = (0..num_classes)
        .map(|class| (share * of_class(class) as f64).round() as usize)
        .sum();
    if wanted == 0 || clusters.len() == count {
        return format!(
            "; {count} images are too few for that share: make {key} larger or name a folder"
        );
    }
    let advice = format!("what belongs together stays on one side: name a folder with {key}");
    match groups.first() {
        Some(group)
            if clusters.len() == 1
                && groups.len() == 1
                && members.iter().all(|member| member.group.is_some()) =>
        {
            format!(
                ": all {count} images are of one group, {}; {advice}, or tell more groups apart \
                 with data.group",
                names::quoted(group)
            )
        }
        _ if clusters.len() == 1 && groups.is_empty() => {
            format!(": all {count} images are copies of one another; {advice}")
        }
        _ => {
            let smallest = clusters.iter().map(Vec::len).min().unwrap_or(0);
            let joined = if groups.is_empty() {
                "copies"
            } else {
                "groups and copies"
            };
            format!(
                ": the {count} images lie in {} sets of {joined}, of {smallest} images or more, \
                 where {wanted} were wanted in all; {advice}, or make it larger",
                clusters.len()
            )
        }
    }
}

/// Deals the members into `count` folds for cross-validation and returns the fold of each. Each
/// class is spread as evenly as whole clusters of groups and duplicates allow.
pub fn folds(members: &[Member], count: usize, seed: u64) -> Vec<usize> {
    let clusters = clusters(members);
    let num_classes = members
        .iter()
        .map(|member| member.class + 1)
        .max()
        .unwrap_or(0);
    let mut folds = vec![0; members.len()];
    let mut dealt = vec![vec![0usize; count]; num_classes];
    let mut sizes = vec![0usize; count];
    for at in permutation(&mut stream(seed, Purpose::Folds, [1, 0, 0]), clusters.len()) {
        let dealt = &mut dealt[members[clusters[at][0]].class];
        // Of folds that lack the class equally, the smallest: otherwise the first ones would get
        // what is left over of every class.
        let fold = (0..count)
            .min_by_key(|fold| (dealt[*fold], sizes[*fold]))
            .unwrap_or(0);
        dealt[fold] += clusters[at].len();
        sizes[fold] += clusters[at].len();
        clusters[at].iter().for_each(|member| folds[*member] = fold);
    }
    folds
}

/// Returns for each member the fraction of its class that comes before its cluster of groups and
/// duplicates, in an order drawn from the seed. Those below a fraction are that fraction of each
/// class, as nearly as whole clusters allow, and never none of it.
pub fn starts(members: &[Member], seed: u64) -> Vec<f64> {
    let clusters = clusters(members);
    let num_classes = members.iter().map(|member| member.class + 1).max();
    let mut totals = vec![0usize; num_classes.unwrap_or(0)];
    for cluster in &clusters {
        totals[members[cluster[0]].class] += cluster.len();
    }
    let mut before = vec![0usize; totals.len()];
    let mut starts = vec![0.0; members.len()];
    for at in permutation(&mut stream(seed, Purpose::Folds, [3, 0, 0]), clusters.len()) {
        let class = members[clusters[at][0]].class;
        let start = before[class] as f64 / totals[class] as f64;
        clusters[at]
            .iter()
            .for_each(|member| starts[*member] = start);
        before[class] += clusters[at].len();
    }
    starts
}

/// Explains why one of `count` folds is empty, as the continuation of "found no validation images,
/// expected one or more".
pub fn why_none_dealt(members: &[Member], count: usize) -> String {
    format!(
        " in each of {count} folds: the {} images lie in {} sets of groups and copies, which stay \
         together; make train.folds smaller, or add images",
        members.len(),
        clusters(members).len()
    )
}

/// Returns the clusters of members that must stay together, by their first member, each in rising
/// order.
fn clusters(members: &[Member]) -> Vec<Vec<usize>> {
    let mut sets = UnionFind::new(members.len());
    let mut first_of_group = BTreeMap::new();
    let mut first_of_digest = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        sets.join(
            *first_of_digest.entry(member.digest).or_insert(index),
            index,
        );
        if let Some(group) = &member.group {
            sets.join(*first_of_group.entry(group).or_insert(index), index);
        }
    }
    sets.into_sets().into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(class: usize, group: Option<u8>, content: u8) -> Member {
        Member {
            class,
            group: group.map(|group| group.to_string()),
            digest: [content; 32],
        }
    }

    #[test]
    fn each_class_gives_its_share() {
        let members: Vec<_> = (0..200)
            .map(|index| Member {
                class: usize::from(index >= 150),
                group: None,
                digest: [index; 32],
            })
            .collect();
        let held = hold_back(&members, 0.2, Part::Validation, 7);
        let count = |class| {
            members
                .iter()
                .zip(&held)
                .filter(|(member, held)| member.class == class && **held)
                .count()
        };
        assert_eq!((count(0), count(1)), (30, 10));
        assert_ne!(
            held,
            hold_back(&members, 0.2, Part::Validation, 8),
            "another seed draws another split"
        );
        assert_ne!(
            held,
            hold_back(&members, 0.2, Part::Test, 7),
            "test images are drawn apart"
        );
    }

    #[test]
    fn folds_deal_each_class_evenly_and_keep_together_what_belongs_together() {
        // Groups of three images; two classes, one of them three times as large as the other.
        let members: Vec<_> = (0..120u8)
            .map(|index| member(usize::from(index >= 90), Some(index / 3), index))
            .collect();
        let found = folds(&members, 5, 3);
        for (class, expected) in [(0, 18), (1, 6)] {
            for fold in 0..5 {
                let count = members
                    .iter()
                    .zip(&found)
                    .filter(|(member, dealt)| member.class == class && **dealt == fold)
                    .count();
                assert_eq!(count, expected, "class {class}, fold {fold}");
            }
        }
        assert!(
            found
                .chunks(3)
                .all(|group| group[0] == group[1] && group[1] == group[2]),
            "{found:?}"
        );
        assert_ne!(found, folds(&members, 5, 4), "another seed deals otherwise");
    }

    #[test]
    fn folds_of_many_small_classes_are_of_one_size() {
        let members: Vec<_> = (0..60u8)
            .map(|index| member(usize::from(index / 3), None, index))
            .collect();
        let found = folds(&members, 5, 1);
        let sizes: Vec<_> = (0..5)
            .map(|fold| found.iter().filter(|of| **of == fold).count())
            .collect();
        assert_eq!(sizes, [12; 5]);
    }

    #[test]
    fn a_chain_of_groups_and_copies_is_one_cluster() {
        let members = [
            member(0, Some(1), 1),
            member(0, None, 2),
            member(0, Some(1), 3),
            member(0, Some(2), 3),
            member(0, Some(2), 4),
        ];
        assert_eq!(clusters(&members), [vec![0, 2, 3, 4], vec![1]]);
    }

    proptest! {
        #[test]
        fn copies_and_groups_are_never_on_both_sides(
            drawn in prop::collection::vec((0usize..3, prop::option::of(0u8..20), 0u8..40), 1..120),
            seed: u64,
            share in 0.05f64..0.95,
        ) {
            let members: Vec<_> = drawn
                .iter()
                .map(|(class, group, content)| member(*class, *group, *content))
                .collect();
            let held = hold_back(&members, share, Part::Test, seed);
            prop_assert_eq!(&held, &hold_back(&members, share, Part::Test, seed));
            for (a, side_a) in members.iter().zip(&held) {
                for (b, side_b) in members.iter().zip(&held) {
                    let together =
                        a.digest == b.digest || (a.group.is_some() && a.group == b.group);
                    prop_assert!(!together || side_a == side_b);
                }
            }
        }
    }
}
