//! DINOv2-S (Oquab et al. 2023, arXiv 2304.07193): a vision transformer with patches of 14 x 14
//! pixels, whose class token is the feature. Its twelve blocks are layer groups, the first with
//! what makes tokens of an image, the last with the final norm.

use crate::architecture::{
    builder::{activation, branches, conv, foreign_names, unnamed},
    entry::{Dialect, Entry, Published, Source, Traits, Variant},
    layer::{Activation, Conv, ForeignNames, Join, Kind, Layer, Padding},
    network::Network,
};

/// Number of blocks.
const BLOCKS: usize = 12;

/// Number of channels between the blocks.
const CHANNELS: usize = 384;

/// Number of heads of each attention, of 64 channels each.
const HEADS: usize = 6;

/// Height and width of the patches in pixels.
const PATCH: usize = 14;

/// Rows and columns of patches in the images that position embeddings were learned for, of 518
/// pixels a side.
const GRID: [usize; 2] = [37; 2];

/// DINOv2-S.
pub(super) static DINOV2_S: Entry = Entry {
    name: "dinov2_s",
    about: "DINOv2-S (Oquab et al. 2023, arXiv 2304.07193), a vision transformer for images whose \
            sides are multiples of 14; its features are meant to be used frozen; 22.1 million \
            parameters, two fifths of VGG16's work.",
    source: Source::Table(dinov2_s),
    dialects: &[(
        Dialect::Timm,
        Traits {
            epsilon: 1e-6,
            ..Traits::TORCH
        },
    )],
    side: 224,
    gflop: 6.13,
    top1: 81.1,
    published: Some(Published {
        url: "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        bytes: 88_283_115..=88_283_115,
        sha256: "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
        dialect: Dialect::Timm,
        about: "Meta, self-supervised on LVD-142M",
        license: "Apache-2.0",
    }),
};

fn dinov2_s(variant: &Variant) -> Network {
    let epsilon = variant.traits.epsilon;
    let mut groups: Vec<_> = (0..BLOCKS).map(|index| block(index, epsilon)).collect();
    groups[0].splice(0..0, tokens("blocks.0"));
    let last = format!("blocks.{}", BLOCKS - 1);
    groups[BLOCKS - 1].push(layer_norm(format!("{last}.norm"), timm("norm"), epsilon));
    groups[BLOCKS - 1].push(Layer {
        name: format!("{last}.class_token"),
        ..unnamed(Kind::ClassToken)
    });
    Network {
        inputs: variant.inputs,
        groups,
    }
}

/// Returns the layers that make tokens of an image.
fn tokens(path: &str) -> [Layer; 2] {
    let patches = Conv {
        stride: PATCH,
        padding: Padding::Exact,
        bias: true,
        ..Conv::new(CHANNELS, PATCH)
    };
    let tokens = Layer {
        name: format!("{path}.tokens"),
        // Parameters of the network itself.
        foreign_names: ForeignNames {
            timm: Some(String::new()),
            ..ForeignNames::default()
        },
        entry: None,
        kind: Kind::Tokens { grid: GRID },
    };
    let name = "patch_embed.proj";
    [conv(format!("{path}.{name}"), timm(name), patches), tokens]
}

/// Returns a block: attention, then a dense layer of four times the width and one back, each after
/// a norm, scaled and added to its input.
fn block(index: usize, epsilon: f64) -> Vec<Layer> {
    let path = format!("blocks.{index}");
    let at = |name: &str| format!("{path}.{name}");
    let norm = |name: &str| layer_norm(at(name), timm(at(name)), epsilon);
    // Dense layers over the channels of each token elsewhere, which is the same.
    let dense = |name: &str, outputs: usize| {
        let shape = Conv {
            bias: true,
            ..Conv::new(outputs, 1)
        };
        conv(at(name), timm(at(name)), shape)
    };
    let scale = |name: &str| Layer {
        name: at(name),
        foreign_names: timm(format!("{path}.{name}.gamma")),
        entry: None,
        kind: Kind::Scale,
    };
    let attention = vec![
        norm("norm1"),
        dense("attn.qkv", 3 * CHANNELS),
        unnamed(Kind::Attention { heads: HEADS }),
        dense("attn.proj", CHANNELS),
        scale("ls1"),
    ];
    let mlp = vec![
        norm("norm2"),
        dense("mlp.fc1", 4 * CHANNELS),
        activation(Activation::Gelu),
        dense("mlp.fc2", CHANNELS),
        scale("ls2"),
    ];
    let residual = |name: &str, layers| branches(at(name), Join::Add, vec![layers, Vec::new()]);
    vec![residual("attn", attention), residual("mlp", mlp)]
}

fn layer_norm(path: String, foreign_names: ForeignNames, epsilon: f64) -> Layer {
    Layer {
        name: path,
        foreign_names,
        entry: None,
        kind: Kind::LayerNorm { epsilon },
    }
}

/// Names of a layer in timm and in the original's file, which agree.
fn timm(name: impl Into<String>) -> ForeignNames {
    foreign_names("", name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        dinov2_s(&Variant {
            inputs: 3,
            width: 1.0,
            traits: Traits::TORCH,
        })
    }

    #[test]
    fn patches_are_whole_and_their_map_is_that_before_the_last_block() {
        let network = network();
        assert_eq!(network.features([56, 84]).expect("whole"), [CHANNELS, 1, 1]);
        let sizes = network.map_sizes([56, 84]).expect("whole");
        assert_eq!(sizes, [vec![[4, 6]; BLOCKS - 1], vec![[1, 1]]].concat());
        assert_eq!(network.groups_before_map([56, 84]), BLOCKS - 1);
        let error = network.features([150, 98]).expect_err("not a multiple");
        assert_eq!(
            error.to_string(),
            "layer 1, conv 384 (kernel 14): 150 x 98 doesn't divide into patches of 14 x 14"
        );
        assert_eq!(
            error.expected(),
            "multiples of 14, such as [140, 98] or [154, 98]"
        );
    }
}
