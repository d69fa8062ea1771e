//! Saves the image of one promise.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::entry::{Entry, Ours};
use crate::cache::archive::image::{ImageBlobs, Received, Unusable};
use crate::cache::archive::incoming::{Incoming, Stopped};
use crate::cache::archive::saved::{NotSaved, NotSavedKind, Saved, Written};
use crate::cache::archive::unsaved::Unsaved;
use crate::cache::archive::writer::Writer;
use crate::cache::check::milliseconds;
use crate::cache::checks::whole::compare::compare;
use crate::cache::checks::whole::read::{Unread, read_into};
use crate::cache::checks::whole::store::beside;
use crate::cache::checks::whole::verdict::Verdict;
use crate::cache::promise::{Promise, digests_in};
use crate::cache::step::Step;
use crate::engine::{Info, Platform, Reader};
use crate::host::clock::monotonic;
use crate::model::reference::Reference;
use crate::model::{Bytes, Image, ImageId, Observed, Store};
use crate::policy::{ArchiveLimits, Compress, Policy};

pub struct Save<'a> {
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub policy: &'a Policy,
    /// Every image of the engine.
    pub here: &'a BTreeMap<ImageId, Image>,
    pub at: DateTime<Utc>,
    /// Whether to read the whole archive first, and write damaged blobs again.
    pub deep: bool,
    /// Whether the clock can be trusted since the last run.
    pub clock_is_sound: bool,
    pub on_step: &'a mut dyn FnMut(Step),
}

pub struct Saving<'a, 'b> {
    pub save: &'b mut Save<'a>,
    pub writer: Writer,
    pub limits: &'b ArchiveLimits,
    pub platform: Platform,
    /// The layer blobs of our entries, by DiffID (the hash of the uncompressed layer).
    pub layers: BTreeMap<Digest, Descriptor>,
    /// The results of this run.
    pub done: BTreeMap<ImageId, Saved>,
    /// Why no further image is saved: the archive or its disk is full.
    pub closed: Option<NotSaved>,
}

impl Saving<'_, '_> {
    pub async fn save_promise(
        &mut self,
        place: (usize, usize),
        promise: &Promise,
    ) -> Result<Saved, Unsaved> {
        let not = |kind, why: &str| Ok(Saved::Not(NotSaved::new(kind, why)));
        let name = promise.wanted.name();
        if let Some(why) = name.and_then(|name| self.save.policy.promised.never(name)) {
            return not(NotSavedKind::Never, &why);
        }
        let Some(image) = promise.wanted.find(self.save.here) else {
            return not(NotSavedKind::Missing, "it is not here");
        };
        if let Some(Saved::Not(why)) = self.done.get(&image.id) {
            return Ok(Saved::Not(why.clone()));
        }
        if promise.leads_elsewhere(image) {
            let why = "its name leads to another image than was recorded";
            return not(NotSavedKind::Missing, why);
        }
        if let Some(root) = self.is_there(&image.id) {
            self.add_entry(root, image, name);
            return Ok(Saved::Kept(Written::default()));
        }
        if let Some(why) = &self.closed {
            return Ok(Saved::Not(why.clone()));
        }
        let saved = match self.export(place, image).await? {
            Ok((root, written)) => {
                if let Ok(found) = self.writer.archive.resolve_from(&root, &self.platform) {
                    self.layers
                        .extend(found.diff_ids.into_iter().zip(found.layers));
                }
                self.add_entry(root, image, name);
                self.writer.commit(&self.platform)?;
                Saved::Kept(written)
            }
            Err(why) => {
                self.closed = why.leaves_out(&promise.wanted);
                Saved::Not(why)
            }
        };
        self.done.insert(image.id.clone(), saved.clone());
        Ok(saved)
    }

    /// The manifest or index of an image that the archive has whole, by one of our entries.
    fn is_there(&self, id: &ImageId) -> Option<Descriptor> {
        let archive = &self.writer.archive;
        let mut ours = archive.entries().filter(|entry| {
            let ours = entry.ours.as_ref();
            ours.is_some_and(|ours| ours.image_id.as_ref() == Some(id))
        });
        let entry = ours.find(|entry| {
            let found = archive.resolve(entry, &self.platform);
            found.is_ok_and(|found| found.layers.iter().all(|layer| archive.has(layer)))
        });
        entry.map(|entry| entry.descriptor.clone())
    }

    /// Adds an entry for the image, unless it has the same one.
    fn add_entry(&mut self, root: Descriptor, image: &Image, name: Option<&Reference>) {
        let ours = Ours {
            saved: self.save.at,
            image_id: Some(image.id.clone()),
            registry_digest: name.and_then(|name| registry_digest(image, name)),
            unpromised_since: None,
        };
        let mut entries = self.writer.archive.entries();
        let is_same = |entry: &Entry| {
            entry.name.as_ref() == name
                && entry.descriptor.digest == root.digest
                && entry.ours.as_ref().is_some_and(|its| {
                    Ours {
                        saved: ours.saved,
                        ..its.clone()
                    } == ours
                })
        };
        if !entries.any(is_same) {
            drop(entries);
            self.writer.put(Entry::new(root, name.cloned(), ours));
        }
    }

    async fn export(
        &mut self,
        (number, of): (usize, usize),
        image: &Image,
    ) -> Result<Result<(Descriptor, Written), NotSaved>, Unsaved> {
        let started = monotonic();
        let (reader, facts) = (self.save.reader, &self.save.info.facts);
        let room = self.limits.max_size.0.saturating_sub(self.writer.bytes().0);
        // A manifest of the containerd store names its blobs, so no other blob of the same layer
        // serves.
        let (none, names_blobs) = (BTreeMap::new(), facts.store == Store::Containerd);
        let incoming = Incoming::new(
            &self.writer.archive,
            if names_blobs { &none } else { &self.layers },
            self.writer.folder(),
            self.limits.compress == Compress::Gzip && !names_blobs,
            room,
        );
        let on_step = &mut *self.save.on_step;
        let mut progress = |bytes| {
            let bytes = Bytes(bytes);
            on_step(Step::Saving { number, of, bytes });
        };
        let not = |kind, why: String| Ok(Err(NotSaved::new(kind, why)));
        let incoming = match read_into(reader, image, incoming, &mut progress).await {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(Unread::Invalid(why) | Unread::CutShort(_, why))) => {
                return not(NotSavedKind::Export, why);
            }
            Err(error) => {
                let error = reader.still_there(error).await?;
                return not(NotSavedKind::Export, error.to_string());
            }
        };
        match incoming.stopped {
            Some(Stopped::Full) => return Ok(Err(self.too_large(image))),
            Some(Stopped::File(error)) => {
                return not(NotSavedKind::Unwritten, error.to_string());
            }
            None => {}
        }
        let beside = beside(reader, facts, image);
        match compare(&incoming.export, &image.id, facts.store, &beside) {
            Verdict::Whole { .. } => {}
            Verdict::Broken(problems) => return not(NotSavedKind::Unfit, problems.join("; ")),
            Verdict::Unclear(why) => return not(NotSavedKind::Unfit, why),
        }
        let received = Received::of(incoming);
        let image_blobs = received.into_blobs(&self.writer, &image.id, facts.store, &self.layers);
        let ImageBlobs { root, blobs } = match image_blobs {
            Ok(image_blobs) => image_blobs,
            Err(Unusable::Invalid(why)) => return not(NotSavedKind::Unfit, why),
            Err(Unusable::File(error)) => return not(NotSavedKind::Unwritten, error.to_string()),
        };
        let bytes: Bytes = blobs.iter().map(|blob| Bytes(blob.size)).sum();
        if bytes.0 > room {
            return Ok(Err(self.too_large(image)));
        }
        let count = blobs.len();
        if let Err(error) = self.writer.add(blobs) {
            return not(NotSavedKind::Unwritten, error.to_string());
        }
        let written = Written {
            bytes,
            blobs: count,
            milliseconds: milliseconds(started.elapsed()),
        };
        Ok(Ok((root, written)))
    }

    fn too_large(&self, image: &Image) -> NotSaved {
        let size = match &image.size {
            Observed::Known(size) => format!("it has {size}"),
            Observed::Unknown(_) => "it is too large".to_owned(),
        };
        let (taken, most) = (self.writer.bytes(), self.limits.max_size);
        let message = format!("{size}, the archive {taken} of {most} (archive.max_size)");
        NotSaved::new(NotSavedKind::TooLarge, message)
    }
}

/// The image's digest in the registry of this name.
fn registry_digest(image: &Image, name: &Reference) -> Option<Digest> {
    let digest = name.digest().map(str::to_owned);
    let known = || digests_in(image, &name.repository()).into_iter().next();
    digest.or_else(known)?.parse().ok()
}
