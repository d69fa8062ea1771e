//! A manifest or an index, as far as it names blobs.

use serde::{Deserialize, Deserializer};

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::error::Damage;
use crate::model::text::json_error;

pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// In bytes. Registries take no longer manifest, index or configuration.
pub const LONGEST_DOCUMENT: u64 = 4 << 20;

#[derive(Debug)]
pub enum Document {
    Index(Vec<Descriptor>),
    Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
struct Written {
    #[serde(default, deserialize_with = "given")]
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "given")]
    layers: Option<Vec<Descriptor>>,
}

/// A list that is there, also one that is null: so the classic builder writes no layers.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Descriptor>>, D::Error> {
    Ok(Some(Option::deserialize(from)?.unwrap_or_default()))
}

impl Document {
    /// `of`: what the document was named as. One that can be read as either would be
    /// another image to another reader, so it is refused.
    pub fn read(bytes: &[u8], of: &Descriptor) -> Result<Self, Damage> {
        let written: Written = serde_json::from_slice(bytes)
            .map_err(|error| Damage::Unreadable(json_error(&error)))?;
        let odd = |why: &str| Damage::Unreadable(why.to_owned());
        let says_index = of.says_index();
        match (written.manifests, written.config, written.layers) {
            (Some(manifests), None, None) if says_index != Some(false) => {
                Ok(Self::Index(manifests))
            }
            (None, Some(config), layers) if says_index != Some(true) => Ok(Self::Manifest {
                config,
                layers: layers.unwrap_or_default(),
            }),
            (Some(_), None, None) => Err(odd("it is an index, and is named as a manifest")),
            (None, Some(_), _) => Err(odd("it is a manifest, and is named as an index")),
            (None, None, _) => Err(odd("it is neither a manifest nor an index")),
            (Some(_), ..) => Err(odd("it is a manifest and an index at once")),
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
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

/// The DiffIDs in an image's configuration, lowest layer first.
pub fn diff_ids(config: &[u8]) -> Result<Vec<Digest>, Damage> {
    let config: Config =
        serde_json::from_slice(config).map_err(|error| Damage::Unreadable(json_error(&error)))?;
    Ok(config.rootfs.diff_ids.unwrap_or_default())
}
