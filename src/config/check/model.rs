//! Checks the rules of `[model]`: impossible blocks and heads, and images too small for the
//! network.

use crate::config::{Config, Model, Pooling, rules::Problems};

/// Checks the head, the blocks of a small network, and whether images are large enough for it.
pub(super) fn check_model(config: &Config, problems: &mut Problems) {
    let (model, [height, width]) = (&config.model, config.data.image_size);
    let channels = model.channels();
    let channels_are_possible = !channels.is_empty() && channels.iter().all(|count| *count > 0);
    problems.require(
        channels_are_possible,
        "model.channels",
        format!("{channels:?}"),
        "one number above 0 for each block",
    );
    problems.require(
        (0.0..1.0).contains(&model.dropout),
        "model.dropout",
        model.dropout,
        "a fraction from 0 to below 1",
    );
    let hidden = model.hidden.widths();
    problems.require(
        !hidden.contains(&0),
        "model.hidden",
        format!("{hidden:?}"),
        "widths above 0, or 0 alone for none",
    );
    let features = match model.features([height, width]) {
        Ok(features) => features,
        Err(error) if model.architecture.is_list() => {
            let message = format!("{error}, expected fewer pools before it or larger images");
            return problems.bad(&format!("model.layers (entry {})", error.position), message);
        }
        Err(_) if model.architecture.is_of_recipe() => {
            let found = format!(
                "found {} blocks, each of which halves {height}x{width}",
                channels.len()
            );
            let message = format!(
                "{found}, expected fewer blocks or larger images, so that at least one pixel is \
                 left"
            );
            return problems.bad("model.channels", message);
        }
        Err(error) => {
            return problems.bad(
                "data.image_size",
                format!(
                    "found [{height}, {width}]: {error}; expected {}",
                    error.expected()
                ),
            );
        }
    };
    check_dense(model, features, &hidden, problems)
}

/// Checks the size of the dense layers, which grows with the product of their widths.
fn check_dense(model: &Model, features: [usize; 3], hidden: &[usize], problems: &mut Problems) {
    const MOST: u128 = 1 << 28;
    let pooling = model.pooling;
    let last_block = if model.architecture.is_list() {
        ("model.layers", "make the last convolution narrower")
    } else {
        ("model.channels", "make the last block narrower")
    };
    let mut inputs = pooling.width(features) as u128;
    for (index, width) in hidden
        .iter()
        .chain(hidden.is_empty().then_some(&1))
        .enumerate()
    {
        let weights = inputs.saturating_mul(*width as u128);
        let found = format!("a dense layer of {inputs} x {width} = {weights} weights");
        let average_helps = index == 0
            && pooling == Pooling::Flatten
            && (features[0] as u128).saturating_mul(*width as u128) < MOST;
        let (key, advice) = match index {
            _ if average_helps => (
                "model.pooling",
                "use pooling = \"average\" or smaller images",
            ),
            0 if features[0] > *width => last_block,
            _ => ("model.hidden", "make the hidden layers narrower"),
        };
        problems.require(
            weights < MOST,
            key,
            found,
            &format!("fewer than 268 million; {advice}"),
        );
        inputs = *width as u128;
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::tests::assert_refused;

    #[test]
    fn a_network_that_cannot_be_names_its_key() {
        assert_refused(&[
            ("model.channels=[]", "`model.channels`"),
            ("model.channels=[1,1,1,1,1,1,1,1,1]", "`model.channels`"),
            ("model.dropout=1", "`model.dropout`"),
            (
                "model.hidden=100000000000",
                "`model.hidden`: found a dense layer of 10368 x 100000000000",
            ),
            (
                "model.hidden=[4, 1000000, 1000000]",
                "`model.hidden`: found a dense layer of 1000000 x 1000000",
            ),
            (
                "model.channels=[4611686018427387904]",
                "`model.channels`: found a dense layer of",
            ),
        ]);
    }
}
