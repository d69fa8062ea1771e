//! The layers that an engine has, which need not be sent again.

use std::collections::BTreeSet;

use crate::engine::{Completeness, EngineError, Failure, Info, Platform, Reader};
use crate::model::Store;

use crate::cache::archive::{Archive, Digest, Entry, Resolved};

pub enum LayersHere {
    /// The DiffIDs of each image, lowest layer first: a graphdriver store only shares layers on
    /// top of the same lower layers.
    Stacks(Vec<Vec<String>>),
    /// Blobs of the archive's images that a containerd store has whole.
    Blobs(BTreeSet<Digest>),
}

impl LayersHere {
    pub async fn ask(
        reader: &Reader,
        info: &Info,
        archive: &Archive,
        platform: &Platform,
    ) -> Result<Self, EngineError> {
        if info.facts.store == Store::Containerd {
            let held = reader.held(info).await?;
            let is_whole = |entry: &&Entry| {
                let held = held.get(entry.descriptor.digest.as_id());
                held.and_then(|held| held.completeness(platform)) == Some(Completeness::All)
            };
            let whole = archive.entries().filter(is_whole);
            let images = whole.filter_map(|entry| archive.resolve(entry, platform).ok());
            let layers = images.flat_map(|image| image.layers);
            return Ok(Self::Blobs(layers.map(|layer| layer.digest).collect()));
        }
        let mut stacks = Vec::new();
        for id in reader.images(info).await?.keys() {
            match reader.described(id).await {
                Ok(image) => stacks.extend(image.layers),
                Err(error) if error.kind == Failure::Lost => return Err(error),
                // It is gone, or so damaged that the engine cannot describe it: of its layers
                // none is left out.
                Err(_) => {}
            }
        }
        Ok(Self::Stacks(stacks))
    }

    /// Adds an image that was just loaded.
    pub fn add(&mut self, image: &Resolved) {
        match self {
            Self::Stacks(stacks) => {
                let ids = image.diff_ids.iter().map(|id| id.as_str().to_owned());
                stacks.push(ids.collect());
            }
            Self::Blobs(blobs) => {
                blobs.extend(image.layers.iter().map(|layer| layer.digest.clone()));
            }
        }
    }

    /// How many of an image's lowest layers a graphdriver store has.
    pub fn lowest(&self, image: &Resolved) -> usize {
        let alike = |stack: &Vec<String>| {
            let pairs = stack.iter().zip(&image.diff_ids);
            let same = pairs.take_while(|(one, other)| one.as_str() == other.as_str());
            same.count()
        };
        match self {
            Self::Stacks(stacks) => stacks.iter().map(alike).max().unwrap_or(0),
            Self::Blobs(_) => 0,
        }
    }

    /// `None` for a graphdriver store.
    pub fn blobs(&self) -> Option<&BTreeSet<Digest>> {
        match self {
            Self::Stacks(_) => None,
            Self::Blobs(blobs) => Some(blobs),
        }
    }
}
