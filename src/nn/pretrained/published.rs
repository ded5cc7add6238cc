//! The weights that others have published for the backbones here, and where they are kept.

use std::path::{Path, PathBuf};

use crate::{
    base::io::cache,
    config::{Architecture, Weights},
};

/// A published file.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The network that it is for; its name is the file's name here.
    pub architecture: Architecture,
    /// The publisher's own address.
    pub url: &'static str,
    /// Length.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: &'static str,
    /// Who trained it on what.
    pub about: &'static str,
}

impl Published {
    /// `vgg16`.
    pub fn name(&self) -> &'static str {
        self.architecture.name()
    }

    /// As the publisher calls it.
    pub fn file(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }

    /// Returns where it is kept; `None` where the system has no cache folder for the user.
    pub fn place(&self) -> Option<PathBuf> {
        cache::folder("weights").map(|folder| folder.join(self.file()))
    }
}

/// All of them. Lengths and digests were looked up in public listings of these files; each name holds the first digits of its digest.
pub const PUBLISHED: [Published; 3] = [
    Published {
        architecture: Architecture::Squeezenet1_1,
        url: "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        bytes: 4_958_839,
        sha256: "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        about: "torchvision, ImageNet-1K",
    },
    Published {
        architecture: Architecture::Vgg16,
        url: "https://download.pytorch.org/models/vgg16-397923af.pth",
        bytes: 553_433_881,
        sha256: "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        about: "torchvision, ImageNet-1K",
    },
    Published {
        architecture: Architecture::Vgg16Bn,
        url: "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
        bytes: 553_507_836,
        sha256: "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
        about: "torchvision, ImageNet-1K",
    },
];

/// The published file for a network.
pub fn published(architecture: Architecture) -> Option<&'static Published> {
    PUBLISHED.iter().find(|published| published.architecture == architecture)
}

/// The file behind `model.weights`, whether it is there or not; `None` for weights that are drawn.
pub fn locate(architecture: Architecture, weights: &Weights) -> Option<PathBuf> {
    match weights {
        Weights::None => None,
        Weights::Path(path) => Some(Path::new(path).to_owned()),
        Weights::Imagenet => {
            let published = published(architecture)?;
            // Without a cache folder the current one has to do.
            Some(published.place().unwrap_or_else(|| PathBuf::from(published.file())))
        }
    }
}
