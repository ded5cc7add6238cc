//! The CPU backends as what they are: slices of this process, which our own operations read and write. The one place that knows
//! how their tensors are built.

use std::{cell::Cell, sync::OnceLock};

use burn::{
    backend::{Backend, DispatchDevice, Flex, tensor::FloatTensor},
    tensor::{Device, Shape, TensorData},
};
use burn_flex::FlexTensor;
use burn_ndarray::{NdArray, NdArrayTensor};
use conv_block::Isa;

thread_local! {
    /// Whether what this thread computes is left to Burn.
    static IS_BARE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread builds its graphs of Burn's own operations alone; backward passes follow the graph.
#[derive(Debug)]
pub(in crate::nn) struct BurnAlone {
    before: bool,
}

impl BurnAlone {
    /// From here on.
    pub(in crate::nn) fn begin() -> Self {
        Self { before: IS_BARE.replace(true) }
    }
}

impl Drop for BurnAlone {
    fn drop(&mut self) {
        IS_BARE.set(self.before);
    }
}

/// Whether tensors of this device are slices, and our own operations are wanted: `EMBERLENS_KERNELS=off` takes Burn's everywhere, and
/// [`BurnAlone`] on this thread, to compare.
pub(in crate::nn) fn has_kernels(device: &Device) -> bool {
    static IS_ON: OnceLock<bool> = OnceLock::new();
    let is_on = *IS_ON.get_or_init(|| std::env::var_os("EMBERLENS_KERNELS").is_none_or(|value| value != "off"));
    is_on && !IS_BARE.get() && is_host(device)
}

/// Whether tensors of this device lie in this process.
pub fn is_host(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_) | DispatchDevice::NdArray(_))
}

/// Whether values of this device can be read at any time without waiting for what else it has to do.
pub fn reads_are_free(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// Who computes, down to the last bit, as far as it can be told: the device and the instruction set of our kernels.
pub fn kernel_words(device: &Device) -> String {
    let device = device.clone().without_autodiff();
    if has_kernels(&device) { format!("{device:?} {:?}", Isa::best()) } else { format!("{device:?}") }
}

/// A backend whose tensors are slices in this process.
pub(in crate::nn) trait HostBackend: Backend {
    /// The same tensor with its values in order.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The values of a tensor that is [`Self::contiguous`] and holds `f32`.
    fn values(tensor: &FloatTensor<Self>) -> &[f32];

    /// The same to write to; copied before if somebody else holds the tensor too.
    fn values_mut(tensor: &mut FloatTensor<Self>) -> &mut [f32];

    /// A tensor that takes over the values.
    fn tensor(values: Vec<f32>, shape: Shape) -> FloatTensor<Self>;
}

impl HostBackend for Flex {
    fn contiguous(tensor: FlexTensor) -> FlexTensor {
        tensor.to_contiguous()
    }

    fn values(tensor: &FlexTensor) -> &[f32] {
        tensor.as_slice().expect("contiguous by contract")
    }

    fn values_mut(tensor: &mut FlexTensor) -> &mut [f32] {
        let (start, end) = tensor.layout().contiguous_offsets().expect("contiguous by contract");
        &mut tensor.storage_mut()[start..end]
    }

    fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values, shape))
    }
}

impl HostBackend for NdArray {
    fn contiguous(tensor: NdArrayTensor) -> NdArrayTensor {
        match tensor {
            NdArrayTensor::F32(values) if values.view().is_standard_layout() => NdArrayTensor::F32(values),
            NdArrayTensor::F32(values) => values.into_shared().as_standard_layout().into_owned().into_shared().into(),
            other => other,
        }
    }

    fn values(tensor: &NdArrayTensor) -> &[f32] {
        match tensor {
            NdArrayTensor::F32(values) => values.view().to_slice().expect("contiguous by contract"),
            _ => unreachable!("holds f32 by contract"),
        }
    }

    fn values_mut(tensor: &mut NdArrayTensor) -> &mut [f32] {
        match tensor {
            NdArrayTensor::F32(values) => values.ensure_owned().as_slice_mut().expect("contiguous by contract"),
            _ => unreachable!("holds f32 by contract"),
        }
    }

    fn tensor(values: Vec<f32>, shape: Shape) -> NdArrayTensor {
        NdArrayTensor::from_data(TensorData::new(values, shape))
    }
}
