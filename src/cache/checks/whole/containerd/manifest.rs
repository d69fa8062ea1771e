//! The fields of manifests and indexes that list an image's parts.

use serde::{Deserialize, Deserializer};

use crate::cache::checks::whole::verdict::place;
use crate::engine::Platform;
use crate::model::text::escape;

#[derive(Default, Deserialize)]
pub struct Manifest {
    #[serde(default, deserialize_with = "or_null")]
    pub manifests: Vec<Descriptor>,
    pub config: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_null")]
    pub layers: Vec<Descriptor>,
}

/// The classic builder writes null for an empty list of layers.
fn or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub struct Descriptor {
    pub digest: String,
    platform: Option<RawPlatform>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct RawPlatform {
    os: Option<String>,
    architecture: Option<String>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "vnd.docker.reference.type")]
    refers: Option<String>,
}

impl Descriptor {
    /// Provenance, signatures and the like: nothing that runs.
    pub fn is_attestation(&self) -> bool {
        let annotations = self.annotations.as_ref();
        let refers = annotations.and_then(|all| all.refers.as_ref());
        let named = self.platform.as_ref();
        let architecture = named.and_then(|named| named.architecture.as_ref());
        refers.is_some_and(|what| what == "attestation-manifest")
            || architecture.is_some_and(|architecture| architecture == "unknown")
    }

    pub fn platform(&self) -> Option<Platform> {
        let named = self.platform.as_ref()?;
        Platform::given(named.os.clone(), named.architecture.clone())
    }
}

impl Manifest {
    /// Digest and description of the configuration and of each layer.
    pub fn parts(&self) -> Vec<(String, String)> {
        let config = self.config.iter().map(|config| {
            let place = format!("the configuration {}", escape(&config.digest));
            (config.digest.clone(), place)
        });
        let of = self.layers.len();
        let layers = self.layers.iter().enumerate();
        let layers = layers.map(|(n, layer)| (layer.digest.clone(), place(n, of, &layer.digest)));
        config.chain(layers).collect()
    }
}
