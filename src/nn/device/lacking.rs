//! What a Linux machine lacks if wgpu finds no GPU: judged by its files, because the loader of
//! Vulkan only says that it found none. Other systems bring what is needed with the GPU's driver.

use std::path::Path;

/// Folders in which drivers of Vulkan are announced.
const DRIVERS: [&str; 3] = [
    "/usr/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
];

/// Folders of shared libraries on the usual distributions.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

/// What a machine shows.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    /// The notebook service that it belongs to.
    service: Option<&'static str>,
    is_container: bool,
    /// Has an NVIDIA GPU and its kernel driver.
    has_nvidia: bool,
    /// Has a GPU of any maker, as the kernel's graphics drivers show it.
    has_gpu: bool,
    has_nvidia_vulkan: bool,
    /// Has a driver of Vulkan that isn't a software one.
    has_vulkan: bool,
    has_loader: bool,
}

/// Returns what this machine lacks for wgpu to find a GPU, and what to do; `None` if nothing is
/// known to be missing.
pub(super) fn lacking() -> Option<String> {
    cfg!(target_os = "linux").then(|| Machine::seen().lacks())?
}

impl Machine {
    fn seen() -> Self {
        let drivers: Vec<String> = DRIVERS.iter().flat_map(|folder| names_in(folder)).collect();
        let has_driver = |maker: &str| drivers.iter().any(|name| name.contains(maker));
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let is_there = |path: &str| Path::new(path).exists();
        // Whoever names drivers by hand knows where they are.
        let is_named = is_set("VK_DRIVER_FILES") || is_set("VK_ICD_FILENAMES");
        let has_nvidia = is_there("/dev/nvidiactl") || is_there("/proc/driver/nvidia/version");
        Self {
            service: if is_set("COLAB_RELEASE_TAG") {
                Some("Colab")
            } else if is_set("KAGGLE_KERNEL_RUN_TYPE") {
                Some("Kaggle")
            } else {
                None
            },
            is_container: is_there("/.dockerenv") || is_there("/run/.containerenv"),
            has_nvidia,
            has_gpu: has_nvidia
                || names_in("/dev/dri")
                    .iter()
                    .any(|name| name.starts_with("renderD")),
            has_nvidia_vulkan: is_named || has_driver("nvidia"),
            has_vulkan: is_named || drivers.iter().any(|name| !name.starts_with("lvp")),
            has_loader: LIBRARIES
                .iter()
                .any(|folder| Path::new(folder).join("libvulkan.so.1").exists()),
        }
    }

    fn lacks(self) -> Option<String> {
        const MEANWHILE: &str = "training uses the CPU";
        let maker = if self.has_nvidia { "an NVIDIA" } else { "a" };
        let lacks_nvidia = self.has_nvidia && !self.has_nvidia_vulkan;
        Some(match self.service {
            Some(service) if lacks_nvidia => format!(
                "{service} lends an NVIDIA GPU for CUDA only, without the Vulkan driver that this \
                 program needs: {MEANWHILE} here"
            ),
            Some(service) if !self.has_gpu => format!(
                "{service} shows no GPU in this session: {MEANWHILE}. Its NVIDIA GPUs are for CUDA \
                 only and wouldn't help"
            ),
            _ if !self.has_gpu && self.is_container => format!(
                "This container was started without a GPU (docker run --gpus all gives it one): \
                 {MEANWHILE}"
            ),
            _ if !self.has_gpu => format!("This machine shows no GPU: {MEANWHILE}"),
            _ if lacks_nvidia => format!(
                "This machine has an NVIDIA GPU, but no Vulkan driver for it (nvidia_icd.json in \
                 {} or {}): {MEANWHILE} until the driver's graphics libraries are installed \
                 (libnvidia-gl on Ubuntu; for a container, NVIDIA_DRIVER_CAPABILITIES=all)",
                DRIVERS[0], DRIVERS[1]
            ),
            _ if !self.has_vulkan => format!(
                "This machine has a GPU, but no Vulkan driver for it in {}: {MEANWHILE} until one \
                 is installed (mesa-vulkan-drivers on Debian, Ubuntu and Fedora)",
                DRIVERS[0]
            ),
            _ if !self.has_loader => format!(
                "This machine has {maker} GPU, but no loader of Vulkan (libvulkan.so.1): \
                 {MEANWHILE} until it is installed (libvulkan1 on Debian and Ubuntu, vulkan-loader \
                 on Fedora)"
            ),
            _ => return None,
        })
    }
}

/// Returns the names in a folder, none if it can't be read.
fn names_in(folder: &str) -> Vec<String> {
    std::fs::read_dir(folder).map_or_else(
        |_| Vec::new(),
        |entries| {
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_the_first_thing_first() {
        let none = Machine::default();
        let nvidia = Machine {
            has_nvidia: true,
            has_gpu: true,
            ..none
        };
        let other = Machine {
            has_gpu: true,
            ..none
        };
        let colab = Some("Colab");
        for (machine, expected) in [
            (none, "This machine shows no GPU: training uses the CPU"),
            (
                Machine {
                    is_container: true,
                    ..none
                },
                "docker run --gpus all",
            ),
            (
                Machine {
                    service: colab,
                    ..none
                },
                "Colab shows no GPU in this session",
            ),
            (
                Machine {
                    service: colab,
                    is_container: true,
                    ..nvidia
                },
                "Colab lends an NVIDIA GPU for CUDA only",
            ),
            (nvidia, "(nvidia_icd.json in /usr/share/vulkan/icd.d or"),
            (other, "(mesa-vulkan-drivers on"),
            (
                Machine {
                    has_nvidia_vulkan: true,
                    has_vulkan: true,
                    ..nvidia
                },
                "has an NVIDIA GPU, but no loader of Vulkan",
            ),
        ] {
            let found = machine.lacks().unwrap_or_default();
            assert!(found.contains(expected), "{machine:?}: {found}");
        }
        let whole = Machine {
            has_vulkan: true,
            has_loader: true,
            ..other
        };
        assert_eq!(whole.lacks(), None);
    }
}
