//! Opens the devices of this machine by the names that users write. Each device but the CPU, the
//! reference, must agree with the CPU on a small network before it is used.

mod lacking;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::DeviceType;

use super::{NnError, self_test};
use crate::config::DeviceName;

/// A device that passed its self-test.
#[derive(Clone, Debug)]
pub struct Compute {
    /// The device, without autodiff.
    pub device: Device,
    /// Name that selects it: `cpu`, `ndarray`, `gpu:0`.
    pub name: String,
    /// Description for people, such as the GPU's model.
    pub about: String,
    /// Why `auto` fell back to the CPU, if it rejected a GPU.
    pub fallback: Option<String>,
}

/// A line of `emberlens devices`.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Name that selects the device.
    pub name: String,
    /// Description for people.
    pub about: String,
    /// The largest difference from the CPU and the tensor it occurs in, or why the device can't be
    /// used.
    pub result: Result<String, String>,
}

/// Tests every device that this build can reach, the CPU included.
pub fn check_all() -> Vec<Checked> {
    candidates()
        .into_iter()
        .map(|(name, about, device)| {
            let result = device.and_then(|device| test(&device));
            Checked {
                name,
                about,
                result,
            }
        })
        .collect()
}

/// Returns a sentence on what this machine lacks for wgpu to find a GPU, and what to do; `None` if
/// one of `devices` is a GPU that can be used, or if nothing is known to be missing.
pub fn lacking(devices: &[Checked]) -> Option<String> {
    let has_gpu = devices
        .iter()
        .any(|device| device.name.starts_with("gpu") && device.result.is_ok());
    if has_gpu { None } else { lacking::lacking() }
}

/// Opens the requested device after testing it. `auto` takes the first GPU that passes the
/// self-test, else the CPU; it never takes a software GPU driver.
///
/// # Errors
/// Returns [`NnError::Device`] if the device doesn't exist, can't be opened, or differs from the
/// CPU by more than the tolerance of the self-test.
pub fn open(wanted: DeviceName) -> Result<Compute, NnError> {
    let failed = |name: &str, message: String| NnError::Device {
        name: name.to_owned(),
        message,
    };
    match wanted {
        // The CPU is the reference of the self-test and has nothing to be compared with.
        DeviceName::Cpu => Ok(cpu(None)),
        DeviceName::Ndarray => {
            let device = ndarray();
            test(&device).map_err(|error| failed("ndarray", error))?;
            Ok(Compute {
                device,
                name: "ndarray".to_owned(),
                about: NDARRAY.to_owned(),
                fallback: None,
            })
        }
        DeviceName::Gpu(index) => {
            let gpus = gpus().map_err(|error| failed(&wanted.to_string(), error))?;
            let count = gpus.len();
            let (name, about, device) =
                gpus.into_iter().nth(index.unwrap_or(0)).ok_or_else(|| {
                    failed(
                        &wanted.to_string(),
                        format!(
                            "found {count} GPUs, counted from gpu:0; `emberlens devices` lists \
                             what is here"
                        ),
                    )
                })?;
            let difference = device.clone().and_then(|device| test(&device));
            match (device, difference) {
                (Ok(device), Ok(_)) => Ok(Compute {
                    device,
                    name,
                    about,
                    fallback: None,
                }),
                (Err(error), _) | (_, Err(error)) => Err(failed(
                    &wanted.to_string(),
                    format!("{about}: {error}; use --device cpu"),
                )),
            }
        }
        DeviceName::Auto => Ok(auto()),
    }
}

/// Returns the number of GPUs that `auto` would consider: no software drivers.
pub fn count_gpus() -> usize {
    let gpus = gpus().unwrap_or_default();
    gpus.iter()
        .filter(|(_, about, _)| !about.contains(SOFTWARE))
        .count()
}

const CPU: &str = "burn-flex on the CPU";
const NDARRAY: &str = "burn-ndarray on the CPU";

#[expect(
    deprecated,
    reason = "Burn 0.23 removes the backend; until then it is part of what this program promises"
)]
fn ndarray() -> Device {
    Device::ndarray()
}

fn cpu(fallback: Option<String>) -> Compute {
    Compute {
        device: Device::flex(),
        name: "cpu".to_owned(),
        about: CPU.to_owned(),
        fallback,
    }
}

fn auto() -> Compute {
    let mut reasons = Vec::new();
    // A Vulkan driver that runs on the CPU is slower than the CPU backend; it must be requested by
    // name.
    for (name, about, device) in gpus()
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, about, _)| !about.contains(SOFTWARE))
    {
        match device.and_then(|device| test(&device).map(|_| device)) {
            Ok(device) => {
                return Compute {
                    device,
                    name,
                    about,
                    fallback: None,
                };
            }
            Err(error) => reasons.push(format!("{name} ({about}): {error}")),
        }
    }
    cpu((!reasons.is_empty()).then(|| reasons.join("; ")))
}

type Candidate = (String, String, Result<Device, String>);

fn candidates() -> Vec<Candidate> {
    let mut all = vec![
        ("cpu".to_owned(), CPU.to_owned(), Ok(Device::flex())),
        ("ndarray".to_owned(), NDARRAY.to_owned(), Ok(ndarray())),
    ];
    match gpus() {
        Ok(gpus) => all.extend(gpus),
        Err(error) => all.push((
            "gpu".to_owned(),
            "a GPU through wgpu".to_owned(),
            Err(error),
        )),
    }
    all
}

/// Marks a driver that computes on the CPU in a device's description.
const SOFTWARE: &str = "software";

#[cfg(not(feature = "gpu"))]
fn gpus() -> Result<Vec<Candidate>, String> {
    Err(
        "this build has no GPU support; build it with the feature `gpu`, which is on by default"
            .to_owned(),
    )
}

/// Lists the GPUs in wgpu's order: discrete, integrated, virtual, software.
#[cfg(feature = "gpu")]
fn gpus() -> Result<Vec<Candidate>, String> {
    let devices = guarded(|| Ok(Device::enumerate(DeviceType::Wgpu).into_vec()))?;
    if devices.is_empty() {
        return Err(
            "found no GPU that wgpu can use (Vulkan, Metal or DirectX 12); check that its driver \
             is installed"
                .to_owned(),
        );
    }
    let name = |(index, device): (usize, Device)| {
        let about = guarded(|| Ok(describe(&device)));
        let opened = about.clone().map(|_| device);
        (
            format!("gpu:{index}"),
            about.unwrap_or_else(|_| "a GPU that can't be opened".to_owned()),
            opened,
        )
    };
    Ok(devices.into_iter().enumerate().map(name).collect())
}

#[cfg(feature = "gpu")]
fn describe(device: &Device) -> String {
    let part = device
        .identity()
        .map_or_else(|| "unnamed".to_owned(), |identity| identity.name);
    // wgpu's software drivers are the variant `Cpu` of Burn's device.
    let is_software = format!("{device:?}").contains("Cpu");
    if is_software {
        format!("{part}, {SOFTWARE} on the CPU")
    } else {
        part
    }
}

/// Runs the self-test and describes the largest difference from the CPU, or fails if it exceeds the
/// tolerance.
fn test(device: &Device) -> Result<String, String> {
    let (largest, place) = guarded(|| self_test::compare(device))?;
    let words = match place {
        Some(place) => format!("largest difference from the CPU {largest:.1e}, in {place}"),
        None => "no difference from the CPU".to_owned(),
    };
    if largest <= self_test::TOLERANCE {
        Ok(words)
    } else {
        Err(format!(
            "computes incorrectly: {words}, allowed is {:.0e}",
            self_test::TOLERANCE
        ))
    }
}

/// Turns a panic of a driver or of the framework into an error, so that one broken GPU doesn't end
/// the program.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned().or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        });
        Err(format!(
            "the driver or framework failed: {}",
            text.unwrap_or_else(|| "no reason given".to_owned())
        ))
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
        let error = open(DeviceName::Gpu(Some(99)))
            .expect_err("no such GPU")
            .to_string();
        assert!(error.starts_with("device `gpu:99`: "), "{error}");
    }
}
