//! Inception-v3 without its classifier (Szegedy et al. 2016, arXiv 1512.00567), as torchvision and
//! timm have it.

use crate::architecture::{
    builder::{Names, branches, pool, unit},
    entry::{Dialect, Entry, Input, Published, Source, Traits, Variant, about},
    layer::{Activation, Conv, Groups, Join, Layer, Padding, Pool, PoolKind},
    network::Network,
};

/// The weights were TensorFlow's; torchvision brings values normalized by ImageNet's mean and
/// standard deviation back to -1 to 1 inside the network (`transform_input`).
const TRAITS: Traits = Traits {
    epsilon: 1e-3,
    input: Input::Tf,
    ..Traits::TORCH
};

/// Inception-v3.
pub(super) static INCEPTION_V3: Entry = Entry {
    name: "inception_v3",
    about: "Inception-v3 without its top (Szegedy et al. 2016, arXiv 1512.00567), made for images \
            of 299 pixels, at least 75; 21.8 million parameters.",
    source: Source::Table(inception),
    dialects: &[(Dialect::Torchvision, TRAITS), (Dialect::Timm, TRAITS)],
    side: 299,
    gflop: 5.71,
    top1: 77.294,
    published: Some(Published::torchvision(
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        about(108_950_192),
        "0cc3c7bd",
    )),
};

/// Max pooling with windows of three and a stride of two.
const HALVE: Pool = Pool {
    kind: PoolKind::Max,
    kernel: 3,
    stride: 2,
    padding: Padding::Valid,
    ceil: false,
};

/// Average pooling that begins a path of most blocks; the mean includes the padding.
const MEAN: Pool = Pool {
    kind: PoolKind::Average,
    kernel: 3,
    stride: 1,
    padding: Padding::Each([1; 2]),
    ceil: false,
};

/// Describes the convolutions of a block: their names here and in the libraries, and their shapes.
struct Builder<'a> {
    variant: &'a Variant,
    path: String,
    /// Name of the block in torchvision and timm, with a trailing dot.
    torch: String,
}

impl Builder<'_> {
    /// Describes a convolution, its norm and ReLU.
    fn conv(
        &self,
        name: &str,
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        padding: Padding,
    ) -> Vec<Layer> {
        let torch = ["conv", "bn"].map(|part| format!("{}{name}.{part}", self.torch));
        let names = Names {
            torchvision: torch.clone(),
            timm: torch,
            ..Names::default()
        };
        let shape = Conv {
            outputs,
            kernel,
            stride,
            padding,
            groups: Groups::One,
            bias: false,
        };
        unit(
            &format!("{}.{name}", self.path),
            &names,
            shape,
            self.variant,
            Some(Activation::Relu),
        )
    }

    /// Describes a convolution of stride 1 that keeps the size.
    fn same(&self, name: &str, outputs: usize, kernel: [usize; 2]) -> Vec<Layer> {
        self.conv(
            name,
            outputs,
            kernel,
            1,
            Padding::Each(kernel.map(|side| side / 2)),
        )
    }

    /// Describes a 3x3 convolution that halves the size.
    fn halve(&self, name: &str, outputs: usize) -> Vec<Layer> {
        self.conv(name, outputs, [3; 2], 2, Padding::Valid)
    }

    /// Describes convolutions one after the other; each has a name, its channels and its kernel.
    fn chain(&self, convs: &[(&str, usize, [usize; 2])]) -> Vec<Layer> {
        convs
            .iter()
            .flat_map(|(name, outputs, kernel)| self.same(name, *outputs, *kernel))
            .collect()
    }

    /// Describes average pooling and a 1x1 convolution.
    fn pooled(&self, outputs: usize) -> Vec<Layer> {
        let mean = pool(format!("{}.mean", self.path), MEAN);
        std::iter::once(mean)
            .chain(self.same("branch_pool", outputs, [1; 2]))
            .collect()
    }

    fn pool(&self) -> Vec<Layer> {
        vec![pool(format!("{}.pool", self.path), HALVE)]
    }

    fn join(&self, paths: Vec<Vec<Layer>>) -> Layer {
        branches(self.path.clone(), Join::Concat, paths)
    }

    /// Returns the block at 35x35.
    fn a(&self, pooled: usize) -> Layer {
        self.join(vec![
            self.same("branch1x1", 64, [1; 2]),
            self.chain(&[("branch5x5_1", 48, [1; 2]), ("branch5x5_2", 64, [5; 2])]),
            self.chain(&[
                ("branch3x3dbl_1", 64, [1; 2]),
                ("branch3x3dbl_2", 96, [3; 2]),
                ("branch3x3dbl_3", 96, [3; 2]),
            ]),
            self.pooled(pooled),
        ])
    }

    /// Returns the block that halves 35x35.
    fn b(&self) -> Layer {
        let double = self.chain(&[
            ("branch3x3dbl_1", 64, [1; 2]),
            ("branch3x3dbl_2", 96, [3; 2]),
        ]);
        self.join(vec![
            self.halve("branch3x3", 384),
            [double, self.halve("branch3x3dbl_3", 96)].concat(),
            self.pool(),
        ])
    }

    /// Returns the block at 17x17, whose 7x7 kernels are factorized.
    fn c(&self, width: usize) -> Layer {
        self.join(vec![
            self.same("branch1x1", 192, [1; 2]),
            self.chain(&[
                ("branch7x7_1", width, [1; 2]),
                ("branch7x7_2", width, [1, 7]),
                ("branch7x7_3", 192, [7, 1]),
            ]),
            self.chain(&[
                ("branch7x7dbl_1", width, [1; 2]),
                ("branch7x7dbl_2", width, [7, 1]),
                ("branch7x7dbl_3", width, [1, 7]),
                ("branch7x7dbl_4", width, [7, 1]),
                ("branch7x7dbl_5", 192, [1, 7]),
            ]),
            self.pooled(192),
        ])
    }

    /// Returns the block that halves 17x17.
    fn d(&self) -> Layer {
        let long = self.chain(&[
            ("branch7x7x3_1", 192, [1; 2]),
            ("branch7x7x3_2", 192, [1, 7]),
            ("branch7x7x3_3", 192, [7, 1]),
        ]);
        self.join(vec![
            [
                self.same("branch3x3_1", 192, [1; 2]),
                self.halve("branch3x3_2", 320),
            ]
            .concat(),
            [long, self.halve("branch7x7x3_4", 192)].concat(),
            self.pool(),
        ])
    }

    /// Returns the block at 8x8, whose paths branch once more.
    fn e(&self) -> Layer {
        let parted = |name: &str, mut before: Vec<Layer>| {
            let paths = vec![
                self.same(&format!("{name}a"), 384, [1, 3]),
                self.same(&format!("{name}b"), 384, [3, 1]),
            ];
            before.push(branches(
                format!("{}.{name}", self.path),
                Join::Concat,
                paths,
            ));
            before
        };
        self.join(vec![
            self.same("branch1x1", 320, [1; 2]),
            parted("branch3x3_2", self.same("branch3x3_1", 384, [1; 2])),
            parted(
                "branch3x3dbl_3",
                self.chain(&[
                    ("branch3x3dbl_1", 448, [1; 2]),
                    ("branch3x3dbl_2", 384, [3; 2]),
                ]),
            ),
            self.pooled(192),
        ])
    }
}

fn inception(variant: &Variant) -> Network {
    let at = |path: &str, torch: &str| Builder {
        variant,
        path: format!("blocks.{path}"),
        torch: torch.to_owned(),
    };
    let [first, second] = [at("0", ""), at("1", "")];
    let stem = [
        first.halve("Conv2d_1a_3x3", 32),
        first.conv("Conv2d_2a_3x3", 32, [3; 2], 1, Padding::Valid),
        first.same("Conv2d_2b_3x3", 64, [3; 2]),
        first.pool(),
    ];
    let before = [
        second.same("Conv2d_3b_1x1", 80, [1; 2]),
        second.conv("Conv2d_4a_3x3", 192, [3; 2], 1, Padding::Valid),
        second.pool(),
    ];
    let large = [32, 64, 64].into_iter().zip(["5b", "5c", "5d"]).enumerate();
    let large = large.map(|(index, (pooled, name))| {
        at(&format!("2.{index}"), &format!("Mixed_{name}.")).a(pooled)
    });
    let middle = [128, 160, 160, 192]
        .into_iter()
        .zip(["6b", "6c", "6d", "6e"])
        .enumerate();
    let middle = middle.map(|(index, (width, name))| {
        at(&format!("3.{}", index + 1), &format!("Mixed_{name}.")).c(width)
    });
    let small = ["7b", "7c"].into_iter().enumerate();
    let small =
        small.map(|(index, name)| at(&format!("4.{}", index + 1), &format!("Mixed_{name}.")).e());
    let groups = vec![
        stem.concat(),
        before.concat(),
        large.collect(),
        std::iter::once(at("3.0", "Mixed_6a.").b())
            .chain(middle)
            .collect(),
        std::iter::once(at("4.0", "Mixed_7a.").d())
            .chain(small)
            .collect(),
    ];
    Network {
        inputs: variant.inputs,
        groups,
    }
}
