//! Saves promised images from their registries, without an engine: what an engine of one platform
//! would pull. What the archive already has is not fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::entry::{Entry, Ours};
use crate::cache::archive::fetching::answers::{
    counted, from_registry, message, names, unwritable,
};
use crate::cache::archive::incoming::HashingDraft;
use crate::cache::archive::offered::{Fetcher, Offered};
use crate::cache::archive::saved::{AllSaved, NotSaved, NotSavedKind, Saved, Written};
use crate::cache::archive::trim::trim;
use crate::cache::archive::unsaved::Unsaved;
use crate::cache::archive::writer::{NewBlob, Writer};
use crate::cache::check::milliseconds;
use crate::cache::promise::{Promise, Wanted};
use crate::cache::questions::{OpenRegistry, Registries};
use crate::cache::registry::Upstream;
use crate::cache::step::Step;
use crate::engine::Platform;
use crate::host::clock::monotonic;
use crate::model::Bytes;
use crate::model::reference::Reference;
use crate::policy::Policy;

pub struct Fetch<'a> {
    pub registries: &'a mut Registries,
    pub policy: &'a Policy,
    /// Selects from images for several platforms.
    pub platform: Platform,
    /// Fetch tags as their registries have them now, whatever is recorded or saved.
    pub follow: bool,
    /// Whether to read the whole archive first, and write damaged blobs again.
    pub deep: bool,
    pub at: DateTime<Utc>,
    /// Whether all promises are known, and the clock can be trusted.
    pub may_trim: bool,
    pub on_step: &'a mut dyn FnMut(Step),
}

struct Fetching<'a> {
    policy: &'a Policy,
    platform: &'a Platform,
    on_step: &'a mut dyn FnMut(Step),
    writer: Writer,
    /// Why no further image is saved: the archive or its disk is full.
    closed: Option<NotSaved>,
}

impl Fetch<'_> {
    /// Saves in the order of the promises. Creates the archive if there is none.
    pub async fn all(self, dir: &Path, promises: &[Promise]) -> Result<AllSaved, Unsaved> {
        let mut writer = match Writer::open(dir).await? {
            Ok(writer) => writer,
            Err(held) => return Err(Unsaved::Held(held)),
        };
        if self.deep {
            writer.find_damage(self.on_step);
        }
        let mut fetching = Fetching {
            policy: self.policy,
            platform: &self.platform,
            on_step: self.on_step,
            writer,
            closed: None,
        };
        let wanted = promises.iter().filter_map(|promise| {
            let name = fetching.wants(promise, self.follow).ok()?;
            Some(name.domain())
        });
        let wanted: BTreeSet<&str> = wanted.collect();
        self.registries.open_all(wanted).await;
        let mut saved = BTreeMap::new();
        for (number, promise) in (1..).zip(promises) {
            let answer = match fetching.wants(promise, self.follow) {
                Ok(name) => {
                    let place = (number, promises.len());
                    let names = names(promise, name, self.follow);
                    let from = self.registries.opened(name);
                    fetching
                        .fetch_name(place, name, &names, from, self.at)
                        .await?
                }
                Err(answer) => answer,
            };
            saved.insert(promise.wanted.clone(), answer);
        }
        let mut writer = fetching.writer;
        if self.may_trim {
            let age = self.policy.min_age;
            trim(&mut writer, promises, age, self.at, &self.platform)?;
        }
        writer.commit(&self.platform)?;
        Ok(AllSaved {
            each: saved,
            damage: writer.archive.damage(),
        })
    }
}

impl Fetching<'_> {
    /// The name to fetch; the error is the result if nothing is fetched.
    fn wants<'p>(&self, promise: &'p Promise, follow: bool) -> Result<&'p Reference, Saved> {
        let not = |kind, why: &str| Err(Saved::Not(NotSaved::new(kind, why)));
        let Wanted::Name(name) = &promise.wanted else {
            let why = "it is promised by id, and a registry is asked by name";
            return not(NotSavedKind::Registry, why);
        };
        if let Some(why) = self.policy.promised.never(name) {
            return not(NotSavedKind::Never, &why);
        }
        if self.is_there(name, &names(promise, name, follow), follow) {
            return Err(Saved::Kept(Written::default()));
        }
        Ok(name)
    }

    /// Whether the archive has the whole promised image under this name.
    fn is_there(&self, name: &Reference, names: &[Reference], follow: bool) -> bool {
        let archive = &self.writer.archive;
        let Some(entry) = archive.named(name).filter(|it| it.ours.is_some()) else {
            return false;
        };
        let meant = names.iter().filter_map(|it| it.digest()?.parse().ok());
        let meant: Vec<Digest> = meant.collect();
        let is_meant = if meant.is_empty() {
            !follow
        } else {
            meant.iter().any(|digest| entry.has_digest(digest))
        };
        let whole = || archive.resolve(entry, self.platform);
        is_meant && whole().is_ok_and(|it| it.layers.iter().all(|layer| archive.has(layer)))
    }

    async fn fetch_name(
        &mut self,
        place: (usize, usize),
        name: &Reference,
        names: &[Reference],
        from: Option<&OpenRegistry>,
        at: DateTime<Utc>,
    ) -> Result<Saved, Unsaved> {
        if let Some(why) = &self.closed {
            return Ok(Saved::Not(why.clone()));
        }
        let Some(from) = from else {
            return Ok(Saved::Not(from_registry("its registry was not asked")));
        };
        match self.fetch(place, name, names, from).await {
            Ok((root, written)) => {
                let ours = Ours {
                    saved: at,
                    image_id: None,
                    registry_digest: Some(root.digest.clone()),
                    unpromised_since: None,
                };
                self.writer.put(Entry::new(root, Some(name.clone()), ours));
                self.writer.commit(self.platform)?;
                Ok(Saved::Kept(written))
            }
            Err(why) => {
                self.closed = why.leaves_out(&name.familiar());
                Ok(Saved::Not(why))
            }
        }
    }

    async fn fetch(
        &mut self,
        (number, of): (usize, usize),
        name: &Reference,
        names: &[Reference],
        from: &OpenRegistry,
    ) -> Result<(Descriptor, Written), NotSaved> {
        let started = monotonic();
        if let Some(why) = from.unusable() {
            return Err(from_registry(why));
        }
        self.has_pulls_left(names, from).await?;
        let fetcher = Fetcher {
            registry: &from.registry,
            archive: &self.writer.archive,
            platform: self.platform,
        };
        let folder = self.writer.folder();
        let offered = counted(from, fetcher.image(names).await, &folder)?;
        let missing = offered.layers.iter();
        let missing = missing.filter(|layer| !fetcher.archive.has(layer));
        let missing: Vec<&Descriptor> = missing.collect();
        self.fits(&offered, &missing)?;
        let (mut blobs, mut came) = (Vec::new(), 0);
        for layer in missing {
            let on_step = &mut *self.on_step;
            let mut on_bytes = |bytes| {
                let bytes = Bytes(came + bytes);
                on_step(Step::Saving { number, of, bytes });
            };
            on_bytes(0);
            let mut to = HashingDraft::begin(&folder).map_err(|error| unwritable(&error))?;
            let work = fetcher.blob(name, layer, &mut to, &mut on_bytes);
            counted(from, work.await, &folder)?;
            blobs.push(to.finish());
            came += layer.size;
        }
        // Documents come after the blobs that they list.
        for (of, bytes) in &offered.documents {
            blobs.extend(self.drafted(of, bytes)?);
        }
        let bytes = blobs.iter().map(|blob| Bytes(blob.size)).sum();
        let count = blobs.len();
        self.writer.add(blobs).map_err(|error| unwritable(&error))?;
        let written = Written {
            bytes,
            blobs: count,
            milliseconds: milliseconds(started.elapsed()),
        };
        Ok((offered.root, written))
    }

    /// Fails if the registry allows fewer pulls than are to be left. If no answer has told that
    /// yet, asks with a HEAD, which does not count as a pull.
    async fn has_pulls_left(
        &self,
        names: &[Reference],
        from: &OpenRegistry,
    ) -> Result<(), NotSaved> {
        if let (None, Some(name)) = (from.registry.cost().pulls_left(), names.first()) {
            let upstream = from.registry.digest(name).await;
            from.count(Some(&upstream));
            if matches!(upstream, Upstream::Limited | Upstream::TimedOut(_)) {
                return Err(from_registry(message(&upstream)));
            }
        }
        let wanted = self.policy.restore.min_pulls_left;
        match from.registry.cost().pulls_left() {
            Some(left) if left < u64::from(wanted) => Err(from_registry(format!(
                "its registry allows {left} more pulls, and {wanted} are left to others (restore.min_pulls_left)"
            ))),
            _ => Ok(()),
        }
    }

    fn fits(&self, offered: &Offered, missing: &[&Descriptor]) -> Result<(), NotSaved> {
        let documents = offered.documents.iter().map(|(of, _)| of);
        let documents = documents.filter(|of| self.writer.archive.document(of).is_err());
        let new = documents.chain(missing.iter().copied());
        let new = Bytes(new.fold(0, |sum, blob| blob.size.saturating_add(sum)));
        let (taken, most) = (self.writer.bytes(), self.policy.archive.limits.max_size);
        if taken.0.saturating_add(new.0) <= most.0 {
            return Ok(());
        }
        let message =
            format!("{new} of it are new, the archive has {taken} of {most} (archive.max_size)");
        Err(NotSaved::new(NotSavedKind::TooLarge, message))
    }

    /// `None` if the archive already has it.
    fn drafted(&self, of: &Descriptor, bytes: &[u8]) -> Result<Option<NewBlob>, NotSaved> {
        if self.writer.archive.document(of).is_ok() {
            return Ok(None);
        }
        let draft = self.writer.draft(bytes);
        draft.map(Some).map_err(|error| unwritable(&error))
    }
}

mod answers;
#[cfg(test)]
mod tests;
