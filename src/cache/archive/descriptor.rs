//! What an index or a manifest says of a blob.

use serde::{Deserialize, Deserializer};

use crate::cache::archive::annotations::Annotations;
use crate::cache::archive::digest::Digest;
use crate::engine::Platform;
use crate::model::text::Untrusted;

/// A blob, as whoever names it describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: Untrusted,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub platform: Option<Platform>,
    /// Provenance, signatures and the like: nothing that runs.
    pub is_attestation: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: Option<String>,
    digest: Digest,
    size: u64,
    platform: Option<Named>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Named {
    os: Option<String>,
    architecture: Option<String>,
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Written::deserialize(from).map(|written| Self::of(written).0)
    }
}

impl Descriptor {
    fn of(written: Written) -> (Self, Annotations) {
        let annotations = written.annotations.unwrap_or_default();
        let architecture = written.platform.as_ref().map(|named| &named.architecture);
        let unknown = architecture.is_some_and(|given| given.as_deref() == Some("unknown"));
        let refers = annotations.refers.as_deref() == Some("attestation-manifest");
        let platform = written.platform;
        let descriptor = Self {
            media_type: Untrusted::new(written.media_type.unwrap_or_default()),
            digest: written.digest,
            size: written.size,
            platform: platform.and_then(|named| Platform::given(named.os, named.architecture)),
            is_attestation: refers || unknown,
        };
        (descriptor, annotations)
    }

    /// With the annotations that mean something here.
    pub fn annotated(json: &str) -> serde_json::Result<(Self, Annotations)> {
        serde_json::from_str(json).map(Self::of)
    }

    /// Whether it is, or leads to, what an engine of this platform runs, as far as it says.
    pub fn may_be_for(&self, platform: &Platform) -> bool {
        let named = self.platform.as_ref();
        !self.is_attestation && named.is_none_or(|named| named == platform)
    }

    /// Whether its media type says that it is an index; `None` where it says neither that
    /// nor that it is a manifest.
    pub fn says_index(&self) -> Option<bool> {
        match self.media_type.raw() {
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Some(true),
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Some(false),
            _ => None,
        }
    }
}
