//! The platform that an engine runs and pulls by default. GET /version has the names that
//! images use. GET /info has the kernel's names, which differ (`x86_64`) and are wrong where a
//! 32-bit engine runs on a 64-bit kernel.

use std::fmt;

use crate::model::text::escape;

/// Operating system and architecture, without the variant: only the engine knows whether
/// a host takes `arm/v6` or `arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
}

impl Platform {
    /// `None` where either is missing or "unknown".
    pub fn given(os: Option<String>, architecture: Option<String>) -> Option<Self> {
        let said = |text: &String| !text.is_empty() && text != "unknown";
        Some(Self {
            os: os.filter(said)?,
            architecture: architecture.filter(said)?,
        })
    }

    /// For runs without an engine.
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            same => same,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
        }
    }

    /// Whether images for the other platform run here without emulation.
    pub fn runs(&self, other: &Self) -> bool {
        let pair = (self.architecture.as_str(), other.architecture.as_str());
        self.os == other.os
            && (pair.0 == pair.1 || matches!(pair, ("amd64", "386") | ("arm64", "arm")))
    }
}

/// Fit to print.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", escape(&self.os), escape(&self.architecture))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, architecture: &str) -> Platform {
        Platform {
            os: os.into(),
            architecture: architecture.into(),
        }
    }

    #[test]
    fn what_is_not_said_is_no_platform() {
        let given = |os: &str, architecture: Option<&str>| {
            Platform::given(Some(os.to_owned()), architecture.map(str::to_owned))
        };
        assert_eq!(
            given("linux", Some("arm64")),
            Some(platform("linux", "arm64"))
        );
        assert_eq!(given("linux", None), None);
        assert_eq!(given("", Some("arm64")), None);
        assert_eq!(given("unknown", Some("unknown")), None, "an attestation");
    }

    #[test]
    fn a_64_bit_engine_runs_its_32_bit_images() {
        let amd64 = platform("linux", "amd64");
        assert!(amd64.runs(&amd64) && amd64.runs(&platform("linux", "386")));
        assert!(!amd64.runs(&platform("linux", "arm64")));
        assert!(!amd64.runs(&platform("windows", "amd64")));
        assert!(!platform("linux", "386").runs(&amd64));
    }
}
