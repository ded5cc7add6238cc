//! What a batch of training images was measured at, and the way of it to all ranks.

use super::{TrainError, step::StepOutput};
use crate::{
    metrics::argmax,
    nn::{infer::read, networks::classifier::Output},
    ranks::Ranks,
};

/// The loss and the classes of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    /// Position of the batch in the epoch.
    pub(super) batch: usize,
    /// Sum of the weighted losses.
    pub(super) loss: f32,
    /// Label and predicted class of each image.
    pub(super) classes: Vec<[usize; 2]>,
}

/// Reads the measures of a step's batches from the device. Waits for it.
///
/// # Errors
/// Returns an error if the device fails.
pub(super) fn read_output(step: StepOutput, kind: Output) -> Result<Vec<Measured>, TrainError> {
    let mut labels = step.labels.into_iter();
    let batches = step.losses.into_iter().zip(step.logits);
    let measured = batches.enumerate().map(|(offset, (loss, logits))| {
        let loss = read(loss)?[0];
        let [count, width] = logits.dims();
        let labels = labels.by_ref().take(count);
        let classes = match kind {
            // No class is predicted: that an image was seen is all there is to count.
            Output::Image => labels.map(|label| [label, label]).collect(),
            Output::Softmax | Output::Sigmoid => {
                let logits = read(logits)?;
                let predicted = logits.chunks_exact(width).map(|row| match kind {
                    // A logit above 0 is a probability above 0.5.
                    Output::Sigmoid => usize::from(row[0] > 0.0),
                    _ => argmax(row),
                });
                labels.zip(predicted).map(<[usize; 2]>::from).collect()
            }
        };
        Ok(Measured {
            batch: step.first_batch + offset,
            loss,
            classes,
        })
    });
    measured.collect()
}

/// Returns the measures of all ranks in the order of batches.
///
/// # Errors
/// Returns an error if a rank doesn't answer.
pub(super) fn of_all(ranks: &Ranks, own: Vec<Measured>) -> Result<Vec<Measured>, TrainError> {
    if !ranks.are_several() {
        return Ok(own);
    }
    let all = ranks.gather(&to_bytes(&own))?;
    let mut all: Vec<_> = all.iter().flat_map(|bytes| from_bytes(bytes)).collect();
    all.sort_by_key(|measured| measured.batch);
    Ok(all)
}

/// Writes each batch as its position, the bits of its loss, the number of its images and their
/// classes, in 32 bits each.
fn to_bytes(batches: &[Measured]) -> Vec<u8> {
    let mut words = Vec::new();
    for measured in batches {
        let head = [measured.batch, measured.loss.to_bits() as usize];
        words.extend(head);
        words.push(measured.classes.len());
        words.extend(measured.classes.as_flattened());
    }
    // Positions and classes are far below 2^32: files of the run list them.
    let words = words.into_iter().map(|word| (word as u32).to_le_bytes());
    words.flatten().collect()
}

/// Reads what [`to_bytes`] wrote.
fn from_bytes(bytes: &[u8]) -> Vec<Measured> {
    let mut words = bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    let mut batches = Vec::new();
    while let (Some(batch), Some(loss), Some(count)) = (words.next(), words.next(), words.next()) {
        let classes: Vec<_> = words.by_ref().take(2 * count as usize).collect();
        let pairs = classes.as_chunks().0.iter();
        batches.push(Measured {
            batch: batch as usize,
            loss: f32::from_bits(loss),
            classes: pairs
                .map(|pair: &[u32; 2]| pair.map(|class| class as usize))
                .collect(),
        });
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::threads;

    #[test]
    fn ranks_get_all_batches_in_order_with_the_bits_of_their_losses() {
        let of = |batch: usize| Measured {
            batch,
            loss: [0.1, f32::INFINITY, -0.0][batch % 3],
            classes: (0..batch).map(|index| [index, batch]).collect(),
        };
        // Two steps of five batches; the second one is short.
        let shares = [vec![0, 5], vec![1, 2, 6], vec![3, 4]];
        let found = threads::run(3, |ranks| {
            let own = shares[ranks.rank()].iter().copied().map(of).collect();
            of_all(&ranks, own).expect("gathered")
        });
        let expected: Vec<_> = (0..7).map(of).collect();
        assert_eq!(found, vec![expected; 3]);
    }
}
