//! The annotations of index entries that secateur reads or writes.

use serde::Deserialize;

/// `docker.io/library/app:1`, for skopeo and umoci; other tools write only the tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `docker.io/library/app:1`, for containerd and `docker load`.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// When secateur wrote the entry (RFC 3339, UTC). Other tools' entries lack it.
pub const SAVED: &str = "invalid.secateur.saved";

/// The engine's id of the image.
pub const IMAGE_ID: &str = "invalid.secateur.image-id";

/// The image's digest in its registry, if the engine knows it.
pub const REGISTRY_DIGEST: &str = "invalid.secateur.registry-digest";

/// When a save first found the image unpromised (RFC 3339, UTC).
pub const UNPROMISED_SINCE: &str = "invalid.secateur.unpromised-since";

/// Marks the additional entry of a name: see [`crate::cache::archive::Entry::alias`].
pub const ALIAS: &str = "invalid.secateur.alias";

#[derive(Debug, Default, Deserialize)]
pub struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub ref_name: Option<String>,
    #[serde(rename = "io.containerd.image.name")]
    pub image_name: Option<String>,
    #[serde(rename = "invalid.secateur.saved")]
    pub saved: Option<String>,
    #[serde(rename = "invalid.secateur.image-id")]
    pub image_id: Option<String>,
    #[serde(rename = "invalid.secateur.registry-digest")]
    pub registry_digest: Option<String>,
    #[serde(rename = "invalid.secateur.unpromised-since")]
    pub unpromised_since: Option<String>,
    #[serde(rename = "invalid.secateur.alias")]
    pub alias: Option<String>,
    /// `attestation-manifest` in what BuildKit writes about another manifest.
    #[serde(rename = "vnd.docker.reference.type")]
    pub refers: Option<String>,
}
