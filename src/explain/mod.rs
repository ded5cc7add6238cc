//! Saliency maps: turns an image and a class into a map of the evidence for the class, with checks
//! of how far the map can be trusted. States where there is no evidence; prints nothing.

mod cam;
mod check;
mod class_means;
mod explanation;
pub mod explanations;
mod map;
mod member;
mod method;
mod occlusion;
mod overlay;
mod sanity;
mod shown;

use std::{ops::Range, sync::Arc};

use burn::tensor::Device;
use member::{Member, mean};

pub use check::{Border, Curve, Curves, border, spearman};
pub use map::Map;
pub use member::ExplainError;
pub use method::Method;
pub use overlay::overlay;
pub use shown::Shown;

use crate::{
    checkpoint::Checkpoint,
    data::{
        DataError,
        batches::{dataset::ImageSet, normalize::Normalizer, view::View},
    },
    nn::NnError,
};

/// Probability from which on a network counts as sure of a class. A map without evidence for such a
/// class is shown beside one of another method.
pub const SURE: f64 = 0.5;

/// A network, or several that predict together, and a method to explain them. The map of several is
/// the mean of their maps, before these are scaled.
#[derive(Clone, Debug)]
pub struct Explainer {
    members: Vec<Member>,
    /// Normalization of the images of each.
    normalizers: Vec<Normalizer>,
}

/// Images as each network of an explainer takes them.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// For each network, `[batch, channels, height, width]`, flattened and normalized.
    of_members: Vec<Vec<f32>>,
    count: usize,
}

impl Inputs {
    /// Returns one of the images.
    pub fn image(&self, index: usize) -> Self {
        let of_member = |images: &Vec<f32>| {
            let size = images.len() / self.count;
            images[index * size..(index + 1) * size].to_vec()
        };
        Self {
            of_members: self.of_members.iter().map(of_member).collect(),
            count: 1,
        }
    }
}

impl Explainer {
    /// Prepares the networks of checkpoints, one or more with the same layers, on `device` (without
    /// autodiff).
    ///
    /// The map is computed at the output of layer group `layer`, counted from 0; by default the
    /// last one whose output has at least four rows and columns.
    ///
    /// # Errors
    /// Returns an error if the weights can't be loaded or the networks have no such layer group.
    pub fn new(
        checkpoints: &[Checkpoint],
        device: &Device,
        method: Method,
        layer: Option<usize>,
    ) -> Result<Self, ExplainError> {
        let member = |checkpoint| Member::new(checkpoint, device, method, layer);
        let members = checkpoints.iter().map(member).collect::<Result<_, _>>()?;
        let normalizer = |checkpoint: &Checkpoint| checkpoint.meta.normalize.clone();
        Ok(Self {
            members,
            normalizers: checkpoints.iter().map(normalizer).collect(),
        })
    }

    /// Returns the layer group that the map is of, with its rows and columns; the input for
    /// occlusion.
    pub fn layer(&self) -> String {
        self.members[0].layer()
    }

    /// Returns the method.
    pub fn method(&self) -> Method {
        self.members[0].method
    }

    /// Returns the number of layer groups.
    pub fn num_groups(&self) -> usize {
        self.members[0].num_groups()
    }

    /// Returns images of a set as the networks take them.
    ///
    /// # Errors
    /// Returns an error if an image can't be read again.
    pub fn inputs(&self, set: &Arc<ImageSet>, indices: Range<usize>) -> Result<Inputs, DataError> {
        let of_member = |normalizer| {
            let batch = View::plain(set, normalizer).batch(indices.clone())?;
            Ok(batch.images)
        };
        let of_members: Result<_, DataError> = self.normalizers.iter().map(of_member).collect();
        Ok(Inputs {
            of_members: of_members?,
            count: indices.len(),
        })
    }

    /// Returns what each network finds in images.
    fn each<T>(
        &self,
        images: &Inputs,
        found: impl Fn(&Member, &[f32]) -> Result<T, NnError>,
    ) -> Result<Vec<T>, NnError> {
        let members = self.members.iter().zip(&images.of_members);
        members
            .map(|(member, images)| found(member, images))
            .collect()
    }

    /// Returns the map of the evidence for `classes[i]` in image `i`.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn explain(&self, images: &Inputs, classes: &[usize]) -> Result<Vec<Map>, NnError> {
        let each = self.each(images, |member, images| member.explain(images, classes))?;
        let map = |index: usize| {
            let Map { size, values } = &each[0][index];
            let at =
                |at: usize| mean(each.iter().map(|maps| f64::from(maps[index].values[at]))) as f32;
            Map::new((0..values.len()).map(at).collect(), *size)
        };
        Ok((0..images.count).map(map).collect())
    }

    /// Returns the map of the first of the following methods that finds evidence in an image, with
    /// that method; `None` if none does.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn next_evidence(
        &self,
        image: &Inputs,
        class: usize,
    ) -> Result<Option<(Self, Map)>, NnError> {
        let mut explainer = self.clone();
        while let Some(method) = explainer.method().next() {
            explainer
                .members
                .iter_mut()
                .for_each(|member| member.method = method);
            let map = explainer.explain(image, &[class])?.swap_remove(0);
            if map.places_evidence() {
                return Ok(Some((explainer, map)));
            }
        }
        Ok(None)
    }

    /// Returns the probabilities of each image, with the temperature of the checkpoints; of several
    /// networks, the mean of theirs.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn probabilities(&self, images: &Inputs) -> Result<Vec<Vec<f64>>, NnError> {
        let each = self.each(images, Member::probabilities)?;
        let row = |index: usize| {
            let of_class = |class| mean(each.iter().map(|rows: &Vec<Vec<f64>>| rows[index][class]));
            (0..each[0][index].len()).map(of_class).collect()
        };
        Ok((0..images.count).map(row).collect())
    }

    /// Computes the curves of one image; of several networks, the mean of theirs. `index` seeds the
    /// shuffling of its map.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn curves(
        &self,
        image: &Inputs,
        class: usize,
        map: &Map,
        index: usize,
    ) -> Result<Curves, NnError> {
        let each = self.each(image, |member, image| {
            member.curves(image, class, map, index)
        })?;
        Ok(Curves::mean(&each))
    }

    /// Returns the same explainer for networks whose head and last `groups` layer groups have
    /// random weights, each its own. Its maps must differ if maps depend on what was learned
    /// (Adebayo et al. 2018, arXiv 1810.03292).
    pub fn randomized(&self, groups: usize, seed: u64) -> Self {
        let members = self.members.iter().zip(seed..);
        Self {
            members: members
                .map(|(member, seed)| member.randomized(groups, seed))
                .collect(),
            normalizers: self.normalizers.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::{
        config::{Hidden, Model, Pooling},
        nn::networks::{
            build,
            classifier::{Design, Output},
            params,
        },
    };

    fn explainer(members: Vec<Member>) -> Explainer {
        let normalizers = Vec::new();
        Explainer {
            members,
            normalizers,
        }
    }

    /// The same image for `count` networks.
    fn inputs(image: &[f32], count: usize) -> Inputs {
        Inputs {
            of_members: vec![image.to_vec(); count],
            count: 1,
        }
    }

    #[test]
    fn the_map_of_several_networks_is_the_mean_of_theirs_and_one_twice_is_itself() {
        let design = Design {
            model: Model {
                channels: Some(vec![4, 4]),
                ..Model::default()
            },
            input: [1, 20, 26],
            num_classes: 3,
            output: Output::Softmax,
        };
        let image: Vec<f32> = (0..20 * 26)
            .map(|at| ((at * at * 7919) % 255) as f32 / 255.0)
            .collect();
        let member = |method, seed| {
            let model = build(&design, seed, &Device::flex().autodiff());
            Member::of(model, design.clone(), 1.5, method, None).expect("found")
        };
        for method in [Method::GradCam, Method::Occlusion] {
            let found = |seeds: &[u64]| {
                let networks = explainer(seeds.iter().map(|seed| member(method, *seed)).collect());
                let image = inputs(&image, seeds.len());
                let map = networks
                    .explain(&image, &[1])
                    .expect("a map")
                    .swap_remove(0);
                let curves = networks.curves(&image, 1, &map, 0).expect("curves");
                let row = networks
                    .probabilities(&image)
                    .expect("a row")
                    .swap_remove(0);
                (map, row, curves)
            };
            let (first, second) = (found(&[3]), found(&[4]));
            assert_eq!(found(&[3, 3]), first, "{method:?}");
            let both = found(&[3, 4]);
            let maps = first.0.values.iter().zip(&second.0.values);
            for (value, (a, b)) in both.0.values.iter().zip(maps) {
                assert!((value - (a + b) / 2.0).abs() < 1e-6, "{method:?}");
            }
            for class in 0..3 {
                let mean = (first.1[class] + second.1[class]) / 2.0;
                assert!((both.1[class] - mean).abs() < 1e-12, "{method:?}");
            }
            let start = both.2.deletion.probabilities[0];
            assert!((start - both.1[1]).abs() < 1e-6, "nothing is deleted yet");
            assert_ne!(first.0, second.0);
        }
    }

    /// The network is sure of a class by its bias, while its features speak against the class
    /// everywhere but in one place, or everywhere.
    #[test]
    fn where_one_method_finds_nothing_the_next_that_does_is_taken() {
        let model = Model {
            channels: Some(vec![1]),
            hidden: Hidden::One(0),
            pooling: Pooling::Flatten,
            ..Model::default()
        };
        let design = Design {
            model,
            input: [1, 8, 8],
            num_classes: 2,
            output: Output::Softmax,
        };
        let device = Device::flex();
        let varied: Vec<f32> = (0..64)
            .map(|at| 0.5 + ((at * 29) % 16) as f32 / 16.0)
            .collect();
        for (at_first, image, expected) in [
            (1.0, varied.clone(), Some(Method::GradCamPlusPlus)),
            (-1.0, varied, Some(Method::Occlusion)),
            // The patch covers a uniform image with the same value.
            (-1.0, vec![1.0; 64], None),
        ] {
            let head: Vec<f32> = (0..16)
                .flat_map(|place| [0.0, if place == 0 { at_first } else { -1.0 }])
                .collect();
            let values = [
                ("backbone.blocks.0.conv.weight", vec![0.1; 9]),
                ("backbone.blocks.0.conv.bias", vec![0.0]),
                ("head.output.weight", head),
                ("head.output.bias", vec![0.0, 40.0]),
            ];
            let values = values
                .map(|(name, values)| {
                    (
                        name.to_owned(),
                        Tensor::from_floats(values.as_slice(), &device),
                    )
                })
                .into();
            let model = params::replace(build(&design, 1, &device.clone().autodiff()), values);
            let member = Member::of(model, design.clone(), 1.0, Method::GradCam, None);
            let explainer = explainer(vec![member.expect("found")]);
            let image = inputs(&image, 1);
            assert!(explainer.probabilities(&image).expect("computed")[0][1] > SURE);
            assert!(!explainer.explain(&image, &[1]).expect("explained")[0].places_evidence());
            let next = explainer.next_evidence(&image, 1).expect("computed");
            assert_eq!(
                next.as_ref().map(|(explainer, _)| explainer.method()),
                expected
            );
            assert!(next.is_none_or(|(_, map)| map.places_evidence()));
        }
    }
}
