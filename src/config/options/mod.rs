//! The sections of a recipe, one file per section or kind of value.

mod augment;
mod data;
mod device;
mod max_time;
mod metric;
mod model;
mod normalize;
mod optimizer;
mod schedule;
mod train;
mod transfer;

pub use augment::Augment;
pub use data::{Cache, Color, Data, Interpolation, OnBadImage, OnLeak, PHANTOM, Resize, Source};
pub use device::DeviceName;
pub use max_time::MaxTime;
pub use metric::{Metric, Split};
pub use model::{Hidden, LayersFault, Model, Pooling};
pub use normalize::{KerasStandardize, Normalize};
pub use optimizer::Optimizer;
pub use schedule::Schedule;
pub use train::{Checkpoint, ClassWeights, EarlyStopping, Loss, Sampler, Train};
pub use transfer::{Freeze, Phase, Weights};
