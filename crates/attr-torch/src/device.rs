//! Devices by name.

use attr_core::{Error, Result};
use tch::{Cuda, Device};

use crate::error::BACKEND;

/// The device of this name: `cpu`, `cuda` (the first one), `cuda:N` or `mps`.
///
/// # Errors
///
/// [`Error::Parameter`] if no device can have this name; [`Error::Backend`] if this machine, or this build of
/// libtorch, does not have the device.
///
/// ```
/// assert_eq!(attr_torch::device("cpu"), Ok(tch::Device::Cpu));
/// assert!(attr_torch::device("gpu").is_err());
/// ```
pub fn device(name: &str) -> Result<Device> {
    let found = match name {
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        "mps" => Some(Device::Mps),
        _ => name.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Device::Cuda),
    };
    let device = found
        .ok_or_else(|| Error::parameter("device", "cpu, cuda, cuda:N or mps", format_args!("{name:?}")))?;
    let missing = match device {
        Device::Cuda(_) if !Cuda::is_available() => Some("libtorch finds no CUDA device".to_string()),
        Device::Cuda(index) if index as i64 >= Cuda::device_count() => {
            Some(format!("expected cuda:0 to cuda:{}", Cuda::device_count() - 1))
        }
        Device::Mps if !tch::utils::has_mps() => Some("libtorch finds no MPS device".to_string()),
        _ => None,
    };
    match missing {
        Some(reason) => Err(Error::Backend { backend: BACKEND, reason: format!("device {name}: {reason}") }),
        None => Ok(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_no_device() {
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = device(name).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_device_that_is_not_there() {
        let error = device("cuda:1000").unwrap_err().to_string();
        assert!(error.starts_with("torch: device cuda:1000: "), "{error}");
    }
}
