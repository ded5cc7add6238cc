//! The devices of this machine by the names that users write, each tested against the CPU before it is used.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::DeviceType;

use super::{NnError, self_test};
use crate::config::DeviceName;

/// A device that may be used.
#[derive(Clone, Debug)]
pub struct Compute {
    /// Without autodiff.
    pub device: Device,
    /// The name that chooses it: `cpu`, `ndarray`, `gpu:0`.
    pub name: String,
    /// What it is, for a person.
    pub about: String,
    /// Why it isn't the device that was hoped for.
    pub fallback: Option<String>,
}

/// A line of `emberlens devices`.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The name that chooses it.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The largest difference from the CPU and where, or why it can't be used.
    pub result: Result<String, String>,
}

/// Every device that this build can reach, tested.
pub fn check_all() -> Vec<Checked> {
    candidates()
        .into_iter()
        .map(|(name, about, device)| {
            let result = device.and_then(|device| test(&device));
            Checked { name, about, result }
        })
        .collect()
}

/// The device that the user asked for, tested. `auto` takes the first GPU that passes, else the CPU.
///
/// # Errors
/// The device isn't there or computes wrongly, with the difference.
pub fn open(wanted: DeviceName) -> Result<Compute, NnError> {
    let failed = |name: &str, message: String| NnError::Device { name: name.to_owned(), message };
    match wanted {
        DeviceName::Cpu => Ok(cpu(None)),
        DeviceName::Ndarray => {
            let device = ndarray();
            test(&device).map_err(|error| failed("ndarray", error))?;
            Ok(Compute { device, name: "ndarray".to_owned(), about: NDARRAY.to_owned(), fallback: None })
        }
        DeviceName::Gpu(index) => {
            let gpus = gpus().map_err(|error| failed(&wanted.to_string(), error))?;
            let count = gpus.len();
            let (name, about, device) = gpus.into_iter().nth(index.unwrap_or(0)).ok_or_else(|| {
                failed(&wanted.to_string(), format!("found {count} GPUs, counted from gpu:0; `emberlens devices` lists what is here"))
            })?;
            let difference = device.clone().and_then(|device| test(&device));
            match (device, difference) {
                (Ok(device), Ok(_)) => Ok(Compute { device, name, about, fallback: None }),
                (Err(error), _) | (_, Err(error)) => Err(failed(&wanted.to_string(), format!("{about}: {error}; use --device cpu"))),
            }
        }
        DeviceName::Auto => Ok(auto()),
    }
}

const CPU: &str = "burn-flex on the CPU";
const NDARRAY: &str = "burn-ndarray on the CPU";

#[expect(deprecated, reason = "Burn 0.23 removes the backend; until then it is part of what this program promises")]
fn ndarray() -> Device {
    Device::ndarray()
}

fn cpu(fallback: Option<String>) -> Compute {
    Compute { device: Device::flex(), name: "cpu".to_owned(), about: CPU.to_owned(), fallback }
}

fn auto() -> Compute {
    let mut reasons = Vec::new();
    // A Vulkan driver that runs on the CPU is slower than the CPU itself; it has to be asked for by name.
    for (name, about, device) in gpus().unwrap_or_default().into_iter().filter(|(_, about, _)| !about.contains(SOFTWARE)) {
        match device.and_then(|device| test(&device).map(|_| device)) {
            Ok(device) => return Compute { device, name, about, fallback: None },
            Err(error) => reasons.push(format!("{name} ({about}): {error}")),
        }
    }
    cpu((!reasons.is_empty()).then(|| reasons.join("; ")))
}

type Candidate = (String, String, Result<Device, String>);

fn candidates() -> Vec<Candidate> {
    let mut all = vec![("cpu".to_owned(), CPU.to_owned(), Ok(Device::flex())), ("ndarray".to_owned(), NDARRAY.to_owned(), Ok(ndarray()))];
    match gpus() {
        Ok(gpus) => all.extend(gpus),
        Err(error) => all.push(("gpu".to_owned(), "a GPU through wgpu".to_owned(), Err(error))),
    }
    all
}

/// How a driver that computes on the CPU is described.
const SOFTWARE: &str = "software";

#[cfg(not(feature = "gpu"))]
fn gpus() -> Result<Vec<Candidate>, String> {
    Err("this build has no GPU support; build it with the feature `gpu`, which is on by default".to_owned())
}

/// GPUs in the order of wgpu: discrete, integrated, virtual, software.
#[cfg(feature = "gpu")]
fn gpus() -> Result<Vec<Candidate>, String> {
    let devices = guarded(|| Ok(Device::enumerate(DeviceType::Wgpu).into_vec()))?;
    if devices.is_empty() {
        return Err("found no GPU that wgpu can use (Vulkan, Metal or DirectX 12); is its driver installed?".to_owned());
    }
    let name = |(index, device): (usize, Device)| {
        let about = guarded(|| Ok(describe(&device)));
        let opened = about.clone().map(|_| device);
        (format!("gpu:{index}"), about.unwrap_or_else(|_| "a GPU that can't be opened".to_owned()), opened)
    };
    Ok(devices.into_iter().enumerate().map(name).collect())
}

#[cfg(feature = "gpu")]
fn describe(device: &Device) -> String {
    let part = device.identity().map_or_else(|| "unnamed".to_owned(), |identity| identity.name);
    let is_software = format!("{device:?}").contains("Cpu");
    if is_software { format!("{part}, {SOFTWARE} on the CPU") } else { part }
}

/// The largest difference from the CPU in words, if it is small enough.
fn test(device: &Device) -> Result<String, String> {
    let (largest, place) = guarded(|| self_test::compare(device))?;
    let words = format!("largest difference from the CPU {largest:.1e}, in {place}");
    if largest <= self_test::TOLERANCE {
        Ok(words)
    } else {
        Err(format!("computes wrongly: {words}, allowed is {:.0e}", self_test::TOLERANCE))
    }
}

/// Drivers and the framework may panic where we want an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("the driver or framework failed: {}", text.unwrap_or_else(|| "no reason given".to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burn_ndarray_agrees_with_burn_flex() {
        let compute = open(DeviceName::Ndarray).expect("agrees");
        assert_eq!(compute.name, "ndarray");
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_names_it() {
        let error = open(DeviceName::Gpu(Some(99))).expect_err("no such GPU").to_string();
        assert!(error.starts_with("device `gpu:99`: "), "{error}");
    }
}
