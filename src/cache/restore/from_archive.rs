//! Restores images from an archive by loading them into the engine without a name.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use crate::engine::{
    Amount, Completeness, EngineError, Failure, Info, NotLoaded, Platform, Reader,
};
use crate::guard::Undisturbed;
use crate::model::reference::Reference;
use crate::model::{Bytes, ImageId, Store};

use crate::cache::archive::{
    Archive, ArchiveError, Entry, Resolved, Sending, to_containerd, to_graphdriver,
};
use crate::cache::promise::Wanted;
use crate::cache::restore::brought::{Brought, Missed};
use crate::cache::restore::layers_here::LayersHere;
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::limits::Limits;
use crate::cache::restore::order::Target;
use crate::cache::step::watched;

/// Shown if only a pull from a registry can set a digest reference.
const BY_DIGEST: &str = "promised by digest, which this engine takes from a registry alone";

pub struct FromArchive<'a> {
    reader: &'a Reader,
    info: &'a Info,
    archive: Arc<Archive>,
    platform: Platform,
    /// Restore tags as their registries have them now.
    follow: bool,
    /// The layers in the engine; `None` before it is asked.
    here: Option<LayersHere>,
    /// Images whose blobs were all read and are undamaged.
    read: BTreeSet<ImageId>,
    /// What was wrong with the archive, fit to print.
    notes: Vec<String>,
}

/// One image of the archive, and its id in this engine.
struct Found {
    entry: Entry,
    image: Resolved,
    id: ImageId,
}

impl<'a> FromArchive<'a> {
    pub fn new(
        reader: &'a Reader,
        info: &'a Info,
        archive: Archive,
        platform: Platform,
        follow: bool,
    ) -> Self {
        Self {
            reader,
            info,
            archive: Arc::new(archive),
            platform,
            follow,
            here: None,
            read: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    pub async fn bring(
        &mut self,
        undisturbed: &Undisturbed,
        limits: &Limits<'_>,
        target: &Target,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<Brought, Missed> {
        let found = self.find(target)?;
        let name = target.pinned();
        if let Some(name) = name
            && !self.takes_digests()
        {
            self.notes.push(format!("archive: {name}: {BY_DIGEST}"));
            return Err(Missed::Not(LeftOut::Nameless(BY_DIGEST)));
        }
        if self.is_here(&found.id).await? {
            if let Some(name) = name {
                let root = found.entry.for_engine();
                let loader = self.reader.loader(undisturbed);
                let named = loader.name_by_digest(std::slice::from_ref(name), &root);
                named
                    .await
                    .map_err(|error| Missed::failed(error.to_string()))?;
            }
            return Ok(Brought::here(found.id));
        }
        let whole = self.sending(&found, name, false);
        let whole = whole.map_err(|why| self.unusable(&why))?;
        // A digest reference is only loaded together with its image. Added later, it would stand
        // beside the engine's record of the nameless image, and hide it.
        if name.is_none() {
            self.learn().await?;
            let part = self.sending(&found, None, true);
            let part = part.map_err(|why| self.unusable(&why))?;
            if part.bytes < whole.bytes {
                let loaded = self
                    .load(undisturbed, limits, &found, part, on_amount)
                    .await?;
                // Layers of the engine may have been removed meanwhile.
                if let Ok(brought) = loaded {
                    return Ok(brought);
                }
            }
        }
        let loaded = self
            .load(undisturbed, limits, &found, whole, on_amount)
            .await?;
        loaded.map_err(Missed::failed)
    }

    /// Whether the engine accepts digest references with a load.
    fn takes_digests(&self) -> bool {
        self.info.facts.store == Store::Containerd
    }

    /// Whether the archive has exactly this image, undamaged.
    pub async fn has(&mut self, target: &Target) -> Result<(), String> {
        if target.pinned().is_some() && !self.takes_digests() {
            return Err(BY_DIGEST.to_owned());
        }
        let found = match self.find(target) {
            Ok(found) => found,
            Err(Missed::Not(why)) => return Err(why.message()),
            Err(_) => return Err("the archive cannot be read".to_owned()),
        };
        if self.read.contains(&found.id) {
            return Ok(());
        }
        let sending = self.sending(&found, None, false);
        let sending = sending.map_err(|why| format!("in the archive, {why}"))?;
        let read = sending.check(&self.archive).await;
        read.map_err(|why| format!("in the archive, {why}"))?;
        self.read.insert(found.id);
        Ok(())
    }

    /// Finds exactly the target, not just an image of its name.
    fn find(&mut self, target: &Target) -> Result<Found, Missed> {
        let not = |why: &str| Err(Missed::failed(why));
        let entry = match &target.wanted {
            Wanted::Name(name) if target.is_open() && !self.follow => self.archive.named(name),
            _ => {
                let digests = target.digests.iter().filter_map(|it| it.parse().ok());
                let mut digests = digests.filter_map(|it| self.archive.with_digest(&it));
                let by_id = || self.archive.with_id(target.id.as_ref()?);
                digests.next().or_else(by_id)
            }
        };
        let Some(entry) = entry.cloned() else {
            return not("the archive does not have it");
        };
        let image = match self.archive.resolve(&entry, &self.platform) {
            Ok(image) => image,
            Err(why) => return Err(self.unusable(&why)),
        };
        let other = image.platform.as_ref();
        let other = other.filter(|it| target.is_open() && !self.platform.runs(it));
        if let Some(other) = other {
            let (name, ours) = (target.wanted.full(), &self.platform);
            let why = format!("the archive has it for {other}, and this engine runs {ours}");
            self.notes.push(format!("archive: {name}: {why}"));
            return not(&why);
        }
        // Wrong sizes would count toward the limits of the run.
        for layer in &image.layers {
            if let Err(why) = self.archive.blob(&layer.digest, layer.size) {
                return Err(self.unusable(&why));
            }
        }
        let id = match self.info.facts.store {
            Store::Graphdriver => image.config.digest.as_id(),
            Store::Containerd => entry.descriptor.digest.as_id(),
            Store::Podman => return not("an archive is loaded into Docker alone"),
        };
        let by_digest = self.info.facts.store == Store::Containerd && target.id.is_none();
        let digests = &target.digests;
        if target.id.as_ref().is_some_and(|wanted| wanted != id)
            || by_digest && !target.is_open() && !digests.iter().any(|it| it == id.as_str())
        {
            return not("the archive has it in a form of which this engine makes another image");
        }
        let id = id.clone();
        Ok(Found { entry, image, id })
    }

    /// Whether the engine has the whole image.
    async fn is_here(&self, id: &ImageId) -> Result<bool, EngineError> {
        match self.reader.inspect(id).await {
            Ok(Some(_)) => {}
            Err(error) if error.kind == Failure::Lost => return Err(error),
            // The engine lists what it cannot describe, too.
            Ok(None) | Err(_) => return Ok(false),
        }
        let held = self.reader.held(self.info).await?;
        let completeness = held
            .get(id)
            .and_then(|held| held.completeness(&self.platform));
        Ok(completeness.is_none_or(|completeness| completeness == Completeness::All))
    }

    /// Asks the engine once which layers it has.
    async fn learn(&mut self) -> Result<(), EngineError> {
        if self.here.is_none() {
            let asked = LayersHere::ask(self.reader, self.info, &self.archive, &self.platform);
            self.here = Some(asked.await?);
        }
        Ok(())
    }

    /// What to send for an image. `in_part`: without the layers that the engine has.
    fn sending(
        &self,
        found: &Found,
        name: Option<&Reference>,
        in_part: bool,
    ) -> Result<Sending, ArchiveError> {
        let here = self.here.as_ref().filter(|_| in_part);
        if self.info.facts.store == Store::Containerd {
            let none = BTreeSet::new();
            let here = here.and_then(LayersHere::blobs).unwrap_or(&none);
            return to_containerd(&self.archive, &found.entry, &found.image, name, here);
        }
        let lowest = here.map_or(0, |here| here.lowest(&found.image));
        Ok(to_graphdriver(&self.archive, &found.image, lowest))
    }

    /// The inner error is the engine's, fit to print: it did not accept the image.
    async fn load(
        &mut self,
        undisturbed: &Undisturbed,
        limits: &Limits<'_>,
        found: &Found,
        sending: Sending,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<Result<Brought, String>, Missed> {
        let total = sending.bytes;
        // The engine unpacks at the end, and reports no progress of it.
        let packed = total;
        let sent = |done| Amount {
            done,
            total,
            packed,
        };
        let amount = Cell::new(sent(0));
        // Headers and small files are sent in addition to the blobs.
        let on_bytes = |bytes: u64| amount.set(sent(bytes.min(total)));
        let loader = self.reader.loader(undisturbed);
        let is_checked = self.info.facts.store == Store::Containerd;
        let archive = Arc::clone(&self.archive);
        let load = async {
            if is_checked {
                let checked = sending.check(&archive).await;
                checked.map_err(|why| NotLoaded::File(io::Error::other(why)))?;
            }
            loader.load(&found.id, sending.parts, on_bytes).await
        };
        let allow = |now| limits.allow(now, on_amount);
        match watched(Box::pin(load), &amount, allow).await? {
            Ok(()) => {}
            Err(NotLoaded::File(error)) => return Err(self.unusable(&error)),
            Err(NotLoaded::Engine(error)) => {
                let error = self.reader.still_there(error).await?;
                return Ok(Err(error.to_string()));
            }
        }
        if !self.is_here(&found.id).await? {
            return Ok(Err("it was loaded, and is not here whole".to_owned()));
        }
        if let Some(here) = &mut self.here {
            here.add(&found.image);
        }
        Ok(Ok(Brought {
            id: found.id.clone(),
            bytes: Bytes(total),
        }))
    }

    /// `why` is fit to print.
    fn unusable(&mut self, why: &impl Display) -> Missed {
        self.notes.push(format!("archive: {why}"));
        Missed::failed(why.to_string())
    }
}
