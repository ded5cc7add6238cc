//! Access to the CPU backends' tensors as slices of this process, for our own operations. Only this
//! file depends on how those backends store their tensors.

use std::{cell::Cell, sync::OnceLock};

use burn::{
    backend::{Backend, DispatchDevice, Flex, tensor::FloatTensor},
    tensor::{Device, Shape, TensorData},
};
use burn_flex::FlexTensor;
use burn_ndarray::{NdArray, NdArrayTensor};
use conv_block::{Algorithm, Isa};

thread_local! {
    /// Whether this thread uses Burn's operations only.
    static IS_BARE: Cell<bool> = const { Cell::new(false) };
}

/// A guard during whose lifetime this thread builds its graphs from Burn's own operations only. A
/// backward pass follows the graph it belongs to, whenever it runs.
#[derive(Debug)]
pub(in crate::nn) struct BurnAlone {
    before: bool,
}

impl BurnAlone {
    /// Starts using Burn's operations only; the earlier setting returns when the guard is dropped.
    pub(in crate::nn) fn begin() -> Self {
        Self {
            before: IS_BARE.replace(true),
        }
    }
}

impl Drop for BurnAlone {
    fn drop(&mut self) {
        IS_BARE.set(self.before);
    }
}

/// Whether our own operations run on this device: its tensors are slices in this process, the
/// environment variable `EMBERLENS_KERNELS` is not `off`, and no [`BurnAlone`] is alive on this
/// thread. The latter two exist to compare with Burn's operations.
pub(in crate::nn) fn has_kernels(device: &Device) -> bool {
    kernels() != Kernels::Off && !IS_BARE.get() && is_host(device)
}

/// Returns how convolutions are computed: `EMBERLENS_KERNELS=direct` switches Winograd's algorithm
/// off, which rounds differently.
pub(super) fn algorithm() -> Algorithm {
    if kernels() == Kernels::All {
        Algorithm::Fastest
    } else {
        Algorithm::Direct
    }
}

/// What `EMBERLENS_KERNELS` allows.
#[derive(Clone, Copy, PartialEq)]
enum Kernels {
    Off,
    Direct,
    All,
}

fn kernels() -> Kernels {
    static ALLOWED: OnceLock<Kernels> = OnceLock::new();
    // Read once: a change during the run would mix kinds of results.
    *ALLOWED.get_or_init(|| match std::env::var_os("EMBERLENS_KERNELS") {
        Some(value) if value == "off" => Kernels::Off,
        Some(value) if value == "direct" => Kernels::Direct,
        _ => Kernels::All,
    })
}

/// Whether tensors of this device are in the memory of this process.
pub fn is_host(device: &Device) -> bool {
    matches!(
        device.clone().without_autodiff().as_dispatch(),
        DispatchDevice::Flex(_) | DispatchDevice::NdArray(_)
    )
}

/// Whether reading a value from this device costs no synchronization, so that the loss can be read
/// after every step. True of burn-flex only.
pub fn reads_are_free(device: &Device) -> bool {
    matches!(
        device.clone().without_autodiff().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

/// Raised when the kernels' results change in their last bits.
const KERNELS: u8 = 3;

/// Describes what determines the results of this device to the last bit, as far as it is known: the
/// device and the instruction set of our kernels. Cached features are keyed by it.
pub fn kernel_words(device: &Device) -> String {
    let device = device.clone().without_autodiff();
    if !has_kernels(&device) {
        return format!("{device:?}");
    }
    let algorithm = match algorithm() {
        Algorithm::Direct => "",
        Algorithm::Fastest => " Winograd",
    };
    format!("{device:?} {:?}{algorithm} {KERNELS}", Isa::best())
}

/// A backend whose tensors are slices in this process.
pub(in crate::nn) trait HostBackend: Backend {
    /// Returns the tensor with its values in row-major order, copied only if they are not.
    ///
    /// # Shapes
    /// Any; returns the same.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Returns the values of an `f32` tensor from [`Self::contiguous`].
    ///
    /// # Shapes
    /// Any; the values come in row-major order.
    ///
    /// # Panics
    /// Panics if the tensor is not contiguous or not `f32`.
    fn values(tensor: &FloatTensor<Self>) -> &[f32];

    /// Returns the values of an `f32` tensor from [`Self::contiguous`] for writing. Copies them
    /// first if the tensor is shared.
    ///
    /// # Shapes
    /// Any; the values come in row-major order.
    ///
    /// # Panics
    /// Panics if the tensor is not contiguous or not `f32`.
    fn values_mut(tensor: &mut FloatTensor<Self>) -> &mut [f32];

    /// Creates a tensor that takes ownership of `values`.
    ///
    /// # Shapes
    /// Returns `shape`, which `values` fill in row-major order.
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
        let (start, end) = tensor
            .layout()
            .contiguous_offsets()
            .expect("contiguous by contract");
        &mut tensor.storage_mut()[start..end]
    }

    fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values, shape))
    }
}

impl HostBackend for NdArray {
    fn contiguous(tensor: NdArrayTensor) -> NdArrayTensor {
        match tensor {
            NdArrayTensor::F32(values) if values.view().is_standard_layout() => {
                NdArrayTensor::F32(values)
            }
            NdArrayTensor::F32(values) => values
                .into_shared()
                .as_standard_layout()
                .into_owned()
                .into_shared()
                .into(),
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
            NdArrayTensor::F32(values) => values
                .ensure_owned()
                .as_slice_mut()
                .expect("contiguous by contract"),
            _ => unreachable!("holds f32 by contract"),
        }
    }

    fn tensor(values: Vec<f32>, shape: Shape) -> NdArrayTensor {
        NdArrayTensor::from_data(TensorData::new(values, shape))
    }
}
