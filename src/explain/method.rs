//! The methods that compute maps, by their names.

use clap::ValueEnum;

/// Method of computing a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Channels weighted by their mean gradient (Selvaraju et al. 2017, arXiv 1610.02391)
    GradCam,
    /// Channels weighted by their positive gradients, places apart (Chattopadhyay et al. 2018,
    /// arXiv 1710.11063)
    #[value(name = "grad-cam++")]
    GradCamPlusPlus,
    /// Each place weighted by its own positive gradient (Jiang et al. 2021)
    LayerCam,
    /// How much the class loses when a patch is covered (Zeiler and Fergus 2014, arXiv 1311.2901);
    /// slow, and needs no gradient
    Occlusion,
}

impl Method {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "grad-cam",
            Self::GradCamPlusPlus => "grad-cam++",
            Self::LayerCam => "layer-cam",
            Self::Occlusion => "occlusion",
        }
    }

    /// Returns the method to try where this one finds no evidence, `None` after occlusion.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::GradCam => Some(Self::GradCamPlusPlus),
            Self::GradCamPlusPlus => Some(Self::LayerCam),
            Self::LayerCam => Some(Self::Occlusion),
            Self::Occlusion => None,
        }
    }
}
