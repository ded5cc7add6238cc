//! The order in which images are drawn: a pure function of seed, epoch and classes.

use crate::base::rng::{Purpose, Stream, permutation, stream};

/// A draw of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Draw {
    /// Position of the image in its set.
    pub image: usize,
    /// Number of its earlier draws in the epoch.
    pub repeat: usize,
}

/// Draws each image once, in the order of the set.
pub fn in_order(count: usize) -> Vec<Draw> {
    (0..count).map(|image| Draw { image, repeat: 0 }).collect()
}

/// Draws each image once, in another order in each epoch.
pub fn shuffled(count: usize, seed: u64, epoch: usize) -> Vec<Draw> {
    let order = permutation(&mut epoch_stream(seed, epoch), count);
    order
        .into_iter()
        .map(|image| Draw { image, repeat: 0 })
        .collect()
}

/// Draws as many images as there are, each class equally often (to within one). Within a class,
/// every image is drawn before any is drawn again.
pub fn balanced(labels: &[usize], seed: u64, epoch: usize) -> Vec<Draw> {
    let mut stream = epoch_stream(seed, epoch);
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (image, label) in labels.iter().enumerate() {
        members.resize_with(members.len().max(label + 1), Vec::new);
        members[*label].push(image);
    }
    members.retain(|members| !members.is_empty());
    let mut draws = Vec::with_capacity(labels.len());
    for (class, of_class) in members.iter().enumerate() {
        // Differences of rounded cumulative counts add up to the number of images.
        let share =
            labels.len() * (class + 1) / members.len() - labels.len() * class / members.len();
        draws.extend(repeated(of_class, share, &mut stream));
    }
    permutation(&mut stream, draws.len())
        .into_iter()
        .map(|index| draws[index])
        .collect()
}

/// Draws `count` of `members`, all of them before any again.
fn repeated(members: &[usize], count: usize, stream: &mut Stream) -> Vec<Draw> {
    let mut draws = Vec::with_capacity(count);
    for repeat in 0.. {
        if draws.len() == count {
            break;
        }
        let left = count - draws.len();
        draws.extend(
            permutation(stream, members.len())
                .into_iter()
                .take(left)
                .map(|index| Draw {
                    image: members[index],
                    repeat,
                }),
        );
    }
    draws
}

/// Returns the random stream of an epoch's order.
fn epoch_stream(seed: u64, epoch: usize) -> Stream {
    stream(seed, Purpose::Order, [epoch as u64, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_epoch_is_drawn_the_same_again_and_the_next_one_differently() {
        assert_eq!(shuffled(50, 1, 3), shuffled(50, 1, 3));
        assert_ne!(shuffled(50, 1, 3), shuffled(50, 1, 4));
        assert_ne!(shuffled(50, 1, 3), shuffled(50, 2, 3));
    }

    proptest! {
        #[test]
        fn shuffled_draws_each_image_once(count in 0usize..200, seed: u64, epoch in 0usize..5) {
            let mut draws = shuffled(count, seed, epoch);
            draws.sort_unstable();
            prop_assert_eq!(draws, in_order(count));
        }

        #[test]
        fn balanced_draws_each_class_equally_and_no_draw_twice(
            labels in prop::collection::vec(0usize..5, 1..200),
            seed: u64,
        ) {
            let mut draws = balanced(&labels, seed, 0);
            prop_assert_eq!(draws.len(), labels.len());
            let count = |class| draws.iter().filter(|draw| labels[draw.image] == class).count();
            let counts: Vec<_> = (0..5).filter(|class| labels.contains(class)).map(count).collect();
            let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
            draws.sort_unstable();
            prop_assert!(draws.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}
