//! Saves the promised images that are here, in the order of the promises. What the archive
//! already has is not exported from the engine.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::entry::Entry;
use crate::cache::archive::saved::AllSaved;
use crate::cache::archive::saving::{Save, Saving};
use crate::cache::archive::trim::trim;
use crate::cache::archive::unsaved::Unsaved;
use crate::cache::archive::writer::Writer;
use crate::cache::promise::Promise;
use crate::engine::{EngineError, Platform};

impl Save<'_> {
    /// One result for each promise. Creates the archive if there is none.
    pub async fn all(mut self, dir: &Path, promises: &[Promise]) -> Result<AllSaved, Unsaved> {
        let limits = &self.policy.archive.limits;
        let Some(platform) = self.reader.platform().cloned() else {
            let doing = "save images";
            let why = "it does not tell its platform";
            return Err(EngineError::nonsense(doing, why).into());
        };
        let mut writer = match Writer::open(dir).await? {
            Ok(writer) => writer,
            Err(held) => return Err(Unsaved::Held(held)),
        };
        if self.deep {
            writer.find_damage(self.on_step);
        }
        let layers = layers(&writer, &platform);
        let mut saving = Saving {
            save: &mut self,
            writer,
            limits,
            platform,
            layers,
            done: BTreeMap::new(),
            closed: None,
        };
        let mut all = BTreeMap::new();
        for (number, promise) in (1..).zip(promises) {
            let saved = saving
                .save_promise((number, promises.len()), promise)
                .await?;
            all.insert(promise.wanted.clone(), saved);
        }
        let Saving {
            mut writer,
            platform,
            save,
            ..
        } = saving;
        if save.clock_is_sound {
            trim(
                &mut writer,
                promises,
                save.policy.min_age,
                save.at,
                &platform,
            )?;
        }
        writer.commit(&platform)?;
        Ok(AllSaved {
            each: all,
            damage: writer.archive.damage(),
        })
    }
}

/// The layer blobs of what an engine exported, by DiffID. The entries of other tools and those
/// from registries are left out: nobody has checked that their blobs contain these layers.
pub(super) fn layers(writer: &Writer, platform: &Platform) -> BTreeMap<Digest, Descriptor> {
    let mut layers = BTreeMap::new();
    let archive = &writer.archive;
    let exported = |entry: &&Entry| {
        let ours = entry.ours.as_ref();
        ours.is_some_and(|ours| ours.image_id.is_some())
    };
    for entry in archive.entries().filter(exported) {
        if let Ok(found) = archive.resolve(entry, platform) {
            layers.extend(found.diff_ids.into_iter().zip(found.layers));
        }
    }
    layers
}
