//! The descriptor of a blob, in an index or a manifest.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use crate::cache::archive::annotations::Annotations;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::error::Damage;
use crate::engine::Platform;
use crate::model::text::Untrusted;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: Untrusted,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub platform: Option<Platform>,
    /// The variant of the architecture: `v7`.
    pub variant: Option<String>,
    /// Provenance, signatures and the like: nothing that runs.
    pub is_attestation: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: Digest,
    size: u64,
    platform: Option<RawPlatform>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct RawPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RawDescriptor::deserialize(from).map(|written| Self::of(written).0)
    }
}

impl Descriptor {
    /// Without platform, variant and annotations.
    pub fn bare(media_type: Untrusted, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            variant: None,
            is_attestation: false,
        }
    }

    fn of(written: RawDescriptor) -> (Self, Annotations) {
        let annotations = written.annotations.unwrap_or_default();
        let architecture = written.platform.as_ref().map(|named| &named.architecture);
        let unknown = architecture.is_some_and(|given| given.as_deref() == Some("unknown"));
        let refers = annotations.refers.as_deref() == Some("attestation-manifest");
        let platform = written.platform;
        let variant = platform.as_ref().and_then(|named| named.variant.clone());
        let descriptor = Self {
            media_type: Untrusted::new(written.media_type.unwrap_or_default()),
            digest: written.digest,
            size: written.size,
            platform: platform.and_then(|named| Platform::given(named.os, named.architecture)),
            variant: variant.filter(|text| !text.is_empty()),
            is_attestation: refers || unknown,
        };
        (descriptor, annotations)
    }

    /// Also returns the annotations that secateur uses.
    pub fn annotated(json: &str) -> serde_json::Result<(Self, Annotations)> {
        serde_json::from_str(json).map(Self::of)
    }

    /// Whether it may be, or lead to, an image that an engine of this platform runs.
    fn may_be_for(&self, platform: &Platform) -> bool {
        let named = self.platform.as_ref();
        !self.is_attestation && named.is_none_or(|named| named == platform)
    }

    /// Whether its media type is that of an index (true) or a manifest (false); `None` for any
    /// other.
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

/// The descriptors that an engine of this platform may use.
///
/// # Errors
///
/// If they are of several variants: only the engine knows which one its host runs.
pub fn those_for<'a>(
    children: impl Iterator<Item = &'a Descriptor>,
    platform: &Platform,
) -> Result<Vec<&'a Descriptor>, Damage> {
    let fitting: Vec<_> = children.filter(|it| it.may_be_for(platform)).collect();
    let variants: BTreeSet<_> = fitting.iter().map(|child| &child.variant).collect();
    if variants.len() > 1 {
        return Err(Damage::Variants(platform.to_string()));
    }
    Ok(fitting)
}
