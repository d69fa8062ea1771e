//! Saves what is promised and here: in the order of the promises, and what the archive has
//! already without reading it out of the engine.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::saved::Saved;
use crate::cache::archive::saving::{Save, Saving};
use crate::cache::archive::trim::trim;
use crate::cache::archive::unsaved::Unsaved;
use crate::cache::archive::writer::Writer;
use crate::cache::promise::{Promise, Wanted};
use crate::engine::{EngineError, Platform};

impl Save<'_> {
    /// One answer for each promise, in their order. The archive is made where it is missing.
    pub async fn all(
        mut self,
        dir: &Path,
        promises: &[Promise],
    ) -> Result<BTreeMap<Wanted, Saved>, Unsaved> {
        let limits = &self.policy.archive.limits;
        let Some(platform) = self.reader.platform().cloned() else {
            let doing = "save images";
            let why = "it does not tell its platform";
            return Err(EngineError::nonsense(doing, why).into());
        };
        let writer = match Writer::open(dir).await? {
            Ok(writer) => writer,
            Err(held) => return Err(Unsaved::Held(held)),
        };
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
            let saved = saving.promise((number, promises.len()), promise).await?;
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
        Ok(all)
    }
}

/// Those of others are left out: nobody has checked that their blobs hold these layers.
fn layers(writer: &Writer, platform: &Platform) -> BTreeMap<Digest, Descriptor> {
    let mut layers = BTreeMap::new();
    let archive = &writer.archive;
    for entry in archive.entries().filter(|entry| entry.ours.is_some()) {
        if let Ok(found) = archive.resolve(entry, platform) {
            layers.extend(found.diff_ids.into_iter().zip(found.layers));
        }
    }
    layers
}
