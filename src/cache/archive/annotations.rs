//! The annotations of an index's entries that mean something here.

use serde::Deserialize;

/// `docker.io/library/app:1`, for skopeo and umoci; others write the tag alone.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `docker.io/library/app:1`, for containerd and `docker load`.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// When secateur wrote the entry (RFC 3339, UTC). Entries without it are of others.
pub const SAVED: &str = "invalid.secateur.saved";

/// The engine's id of the image.
pub const IMAGE_ID: &str = "invalid.secateur.image-id";

/// The digest by which a registry knows the image, where the engine told it.
pub const REGISTRY_DIGEST: &str = "invalid.secateur.registry-digest";

/// When a save first saw that nobody promises the image any more (RFC 3339, UTC).
pub const UNPROMISED_SINCE: &str = "invalid.secateur.unpromised-since";

/// At the second of two entries for one name: see [`crate::cache::archive::Entry::alias`].
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
    /// `attestation-manifest` where BuildKit tells about another manifest.
    #[serde(rename = "vnd.docker.reference.type")]
    pub refers: Option<String>,
}
