//! The fields of manifests and indexes that list blobs.

use serde::{Deserialize, Deserializer};

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::error::Damage;
use crate::engine::Platform;
use crate::model::text::json_error;

pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Debug)]
pub enum Document {
    Index(Vec<Descriptor>),
    Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
struct RawDocument {
    #[serde(default, deserialize_with = "given")]
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "given")]
    layers: Option<Vec<Descriptor>>,
}

/// A list that is present; the classic builder writes null for an empty list of layers.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Descriptor>>, D::Error> {
    Ok(Some(Option::deserialize(from)?.unwrap_or_default()))
}

impl Document {
    /// `of`: the descriptor that led here. A document that can be read both as index and as
    /// manifest is refused: different tools would read different images.
    pub fn read(bytes: &[u8], of: &Descriptor) -> Result<Self, Damage> {
        let written: RawDocument = serde_json::from_slice(bytes)
            .map_err(|error| Damage::Unreadable(json_error(&error)))?;
        let invalid = |why: &str| Damage::Unreadable(why.to_owned());
        let says_index = of.says_index();
        match (written.manifests, written.config, written.layers) {
            (Some(manifests), None, None) if says_index != Some(false) => {
                Ok(Self::Index(manifests))
            }
            (None, Some(config), layers) if says_index != Some(true) => Ok(Self::Manifest {
                config,
                layers: layers.unwrap_or_default(),
            }),
            (Some(_), None, None) => Err(invalid("it is an index, and is named as a manifest")),
            (None, Some(_), _) => Err(invalid("it is a manifest, and is named as an index")),
            (None, None, _) => Err(invalid("it is neither a manifest nor an index")),
            (Some(_), ..) => Err(invalid("it is a manifest and an index at once")),
        }
    }

    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (first, rest) = match self {
            Self::Index(manifests) => (None, manifests),
            Self::Manifest { config, layers } => (Some(config), layers),
        };
        first.into_iter().chain(rest)
    }
}

#[derive(Deserialize)]
struct RawConfig {
    os: Option<String>,
    architecture: Option<String>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

/// An image's configuration.
pub struct Config {
    /// `None` if it says nothing of it.
    pub platform: Option<Platform>,
    /// Lowest layer first.
    pub diff_ids: Vec<Digest>,
}

impl Config {
    pub fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let written: RawConfig = serde_json::from_slice(bytes)
            .map_err(|error| Damage::Unreadable(json_error(&error)))?;
        Ok(Self {
            platform: Platform::given(written.os, written.architecture),
            diff_ids: written.rootfs.diff_ids.unwrap_or_default(),
        })
    }
}
