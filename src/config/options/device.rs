//! `device`: where a run is computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A device, as the user names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// A GPU that passes its self-test, else the CPU.
    #[default]
    Auto,
    /// A GPU through wgpu; `None` takes the one that the system prefers.
    Gpu(Option<usize>),
    /// The CPU, through burn-flex.
    Cpu,
    /// The CPU, through burn-ndarray.
    Ndarray,
}

impl JsonSchema for DeviceName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        const PATTERN: &str = "^(auto|cpu|ndarray|gpu(:[0-9]+)?)$";
        schemars::json_schema!({ "type": "string", "pattern": PATTERN })
    }
}

impl std::str::FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu(None)),
            "cpu" => Ok(Self::Cpu),
            "ndarray" => Ok(Self::Ndarray),
            _ => text
                .strip_prefix("gpu:")
                .and_then(|index| index.parse().ok())
                .map(|index| Self::Gpu(Some(index)))
                .ok_or_else(|| {
                    format!("unknown device `{text}`, expected auto, gpu, gpu:N, cpu or ndarray")
                }),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(index)) => write!(f, "gpu:{index}"),
            Self::Cpu => f.write_str("cpu"),
            Self::Ndarray => f.write_str("ndarray"),
        }
    }
}

impl From<DeviceName> for String {
    fn from(device: DeviceName) -> Self {
        device.to_string()
    }
}
