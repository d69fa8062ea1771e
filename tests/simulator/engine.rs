//! A model of an engine: its images and their names, containers and image mounts, and the events
//! that it remembers. It does what real engines do when a name is given or dropped, and
//! tests/engines/engine_model.rs compares it with them. It knows nothing of secateur.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use secateur::engine::{
    Claim, Descriptor, Dropped, Failure, ImageAction, ImageEvent, Inspected, Leads,
};
use secateur::model::reference::Reference;
use secateur::model::text::Untrusted;
use secateur::model::{Bytes, Container, Dates, Event, EventKind, Image, ImageId, Observed, Store};

/// Events that an engine remembers. Real ones keep 256.
const EVENTS: usize = 256;

/// One image and its names, ours among them.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub tags: BTreeSet<Reference>,
    /// On the containerd store only real ones, without those that it makes up from tags.
    pub digests: BTreeSet<Reference>,
    pub parent: Option<ImageId>,
    pub created: Option<DateTime<Utc>>,
    pub came: Option<DateTime<Utc>>,
    pub tagged: Option<DateTime<Utc>>,
    pub labels: BTreeMap<String, Untrusted>,
    pub size: u64,
    /// A delete call has decided to remove it.
    pub going: bool,
    /// The containerd store took an index that leads to it, without its content.
    pub without_content: bool,
}

/// A container in any state.
#[derive(Debug, Clone)]
pub struct Held {
    pub number: u64,
    /// The name by which its image was given.
    pub text: String,
    pub image: ImageId,
    /// Images mounted into it: the names given, and the images meant.
    pub mounts: Vec<(String, ImageId)>,
}

/// An event, and which image it was really about.
#[derive(Debug, Clone)]
pub struct Happened {
    pub event: Event,
    pub image: ImageId,
    /// By the monotonic clock.
    pub moment: i64,
    /// Whether a run caused it.
    pub by_run: bool,
}

/// A delete call that drops a name, after its first half.
#[derive(Debug)]
pub enum Dropping {
    /// The image stays: it has other names, or something keeps it.
    Done(Dropped),
    /// The image goes, whatever names it gets from now on.
    Decided(ImageId, Dropped, u64),
}

#[derive(Debug, Clone)]
pub struct Engine {
    pub store: Store,
    pub images: BTreeMap<ImageId, Stored>,
    pub containers: Vec<Held>,
    pub events: VecDeque<Happened>,
    /// The same events, with image and name.
    pub done: VecDeque<ImageEvent>,
    made: u64,
    /// On the containerd store: older than 28, so images have no descriptor.
    pub old: bool,
    /// How often it was started.
    pub starts: u64,
}

/// A moment, by the wall clock and by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub wall: DateTime<Utc>,
    pub steady: i64,
}

impl Engine {
    pub fn new(store: Store) -> Engine {
        Engine {
            store,
            images: BTreeMap::new(),
            containers: Vec::new(),
            events: VecDeque::new(),
            done: VecDeque::new(),
            made: 0,
            old: false,
            starts: 0,
        }
    }

    fn note(&mut self, now: Moment, text: String, image: &ImageId, what: EventKind) {
        self.events.push_back(Happened {
            event: Event {
                at: now.wall,
                image: Untrusted::new(text),
                what,
                tag: None,
            },
            image: image.clone(),
            moment: now.steady,
            by_run: false,
        });
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    fn tell(&mut self, now: Moment, what: ImageAction) {
        self.done.push_back(ImageEvent { at: now.wall, what });
        if self.done.len() > EVENTS {
            self.done.pop_front();
        }
    }

    /// Marks the last event as caused by a run.
    pub fn by_run(&mut self) {
        let Some(last) = self
            .events
            .back()
            .map(|last| (last.moment, last.image.clone()))
        else {
            return;
        };
        let events = self.events.iter_mut().rev();
        let same = |event: &&mut Happened| (event.moment, &event.image) == (last.0, &last.1);
        for event in events.take_while(same) {
            event.by_run = event.by_run || event.event.what != EventKind::Pulled;
        }
    }

    /// Stores an image without a name, unless it is here.
    pub fn store(&mut self, now: Moment, id: &ImageId, new: Stored) {
        let came = Some(now.wall);
        let here = self
            .images
            .entry(id.clone())
            .or_insert(Stored { came, ..new });
        here.without_content = false;
    }

    /// On the containerd store a digest reference also means the image with that digest if any tag
    /// of its repository leads to it.
    pub fn holder(&self, name: &Reference) -> Option<&ImageId> {
        let has = |image: &Stored| image.tags.contains(name) || image.digests.contains(name);
        let named = self.images.iter().find(|(_, image)| has(image));
        let meant = || {
            let (id, image) = self.by_digest(name)?;
            let mut tags = image.tags.iter();
            tags.any(|tag| tag.repository() == name.repository())
                .then_some((id, image))
        };
        named.or_else(meant).map(|(id, _)| id)
    }

    /// On the containerd store an image's id is its digest.
    fn by_digest(&self, name: &Reference) -> Option<(&ImageId, &Stored)> {
        let id = name.digest()?.parse::<ImageId>().ok()?;
        let here = self.images.get_key_value(&id);
        here.filter(|_| self.store == Store::Containerd)
    }

    /// The image that a text names: an id, a tag or a digest reference. In `name:tag@digest` the
    /// digest decides.
    pub fn resolve(&self, text: &str) -> Option<ImageId> {
        if let Ok(id) = text.parse::<ImageId>() {
            return self.images.contains_key(&id).then_some(id);
        }
        let name: Reference = text.parse().ok()?;
        let plain = name.without_tag().unwrap_or(name);
        self.holder(&plain).cloned()
    }

    /// `docker tag`: takes the name from any image that has it.
    pub fn tag(&mut self, now: Moment, id: &ImageId, name: &Reference) -> Result<(), Failure> {
        if !self.images.contains_key(id) {
            return Err(Failure::NotFound);
        }
        self.give(now, id, name);
        if let Some(image) = self.images.get_mut(id) {
            image.tagged = Some(now.wall);
        }
        self.note(now, id.to_string(), id, EventKind::Named);
        if !name.is_ours() {
            let (image, name) = (id.clone(), name.clone());
            self.tell(now, ImageAction::Tag(Claim { image, name }));
        }
        Ok(())
    }

    /// `docker load` of an image with a tag.
    pub fn load(&mut self, now: Moment, id: &ImageId, new: Stored, name: Option<&Reference>) {
        self.store(now, id, new);
        if let Some(name) = name {
            self.give(now, id, name);
        }
        self.note(now, id.to_string(), id, EventKind::Loaded);
    }

    /// `docker load` of an index that gives an image a name and has no content. The containerd
    /// store accepts it even if the image is not here.
    pub fn load_index(&mut self, now: Moment, id: &ImageId, name: &Reference) {
        if !self.images.contains_key(id) {
            let (came, without_content) = (Some(now.wall), true);
            let new = Stored {
                came,
                without_content,
                ..Stored::default()
            };
            self.images.insert(id.clone(), new);
        }
        self.give_digest(now, id, name);
        self.note(now, id.to_string(), id, EventKind::Loaded);
    }

    /// The end of a pull, by tag or by digest.
    pub fn pulled(
        &mut self,
        now: Moment,
        id: &ImageId,
        new: Stored,
        tag: Option<&Reference>,
        digest: &Reference,
    ) {
        self.named_by_pull(now, id, new, tag, digest);
        let name = tag.unwrap_or(digest).familiar();
        self.note(now, name, id, EventKind::Pulled);
    }

    /// A pull gives names, before its event.
    pub fn named_by_pull(
        &mut self,
        now: Moment,
        id: &ImageId,
        new: Stored,
        tag: Option<&Reference>,
        digest: &Reference,
    ) {
        self.store(now, id, new);
        let by_digest = tag.is_none() || self.store == Store::Graphdriver;
        if by_digest {
            self.give_digest(now, id, digest);
        }
        if let Some(tag) = tag {
            self.give(now, id, tag);
        }
    }

    fn give_digest(&mut self, now: Moment, id: &ImageId, name: &Reference) {
        if let Some(image) = self.images.get_mut(id) {
            image.digests.insert(name.clone());
            if self.store == Store::Containerd {
                image.tagged = Some(now.wall);
            }
        }
    }

    fn give(&mut self, now: Moment, id: &ImageId, name: &Reference) {
        let containerd = self.store == Store::Containerd;
        for (other, image) in &mut self.images {
            if other != id && image.tags.remove(name) && containerd {
                // The store's record of the dangling image has the same date.
                image.tagged = Some(now.wall);
            }
        }
        if let Some(image) = self.images.get_mut(id) {
            image.tags.insert(name.clone());
            if containerd {
                image.tagged = Some(now.wall);
            }
        }
    }

    /// Whether a container is of this image, or has it mounted.
    pub fn used(&self, id: &ImageId) -> bool {
        let by =
            |held: &Held| held.image == *id || held.mounts.iter().any(|(_, image)| image == id);
        self.containers.iter().any(by)
    }

    pub fn has_child(&self, id: &ImageId) -> bool {
        self.images
            .values()
            .any(|image| image.parent.as_ref() == Some(id))
    }

    /// The first half of `DELETE /images/{name}?noprune=1`: the engine decides. If the image stays,
    /// the name goes now.
    pub fn begin_drop(&mut self, now: Moment, name: &Reference) -> Result<Dropping, Failure> {
        // The containerd store removes an image without a name by any digest reference.
        let nameless = || {
            let found = self.by_digest(name);
            found.filter(|(_, image)| image.tags.is_empty() && image.digests.is_empty())
        };
        let held = self
            .holder(name)
            .or_else(|| nameless().map(|(id, _)| id))
            .cloned();
        let id = held.ok_or(Failure::NotFound)?;
        match self.store {
            Store::Containerd | Store::Podman => self.drop_on_containerd(now, &id, name),
            Store::Graphdriver => self.drop_on_graphdriver(now, &id, name),
        }
    }

    fn drop_on_graphdriver(
        &mut self,
        now: Moment,
        id: &ImageId,
        name: &Reference,
    ) -> Result<Dropping, Failure> {
        let (used, has_child) = (self.used(id), self.has_child(id));
        let image = self.images.get_mut(id).ok_or(Failure::NotFound)?;
        if used && is_single(image) {
            return Err(Failure::Conflict);
        }
        let mut dropped = Dropped::default();
        dropped.untagged.push(name.familiar());
        image.tags.remove(name);
        image.digests.remove(name);
        // The digest references of a repository go with its last tag.
        let same = |other: &Reference| other.repository() == name.repository();
        if !name.is_digest() && !image.tags.iter().any(same) {
            let (with_it, stay) = std::mem::take(&mut image.digests)
                .into_iter()
                .partition(same);
            image.digests = stay;
            dropped
                .untagged
                .extend(with_it.iter().map(Reference::familiar));
        }
        let stays = !(image.tags.is_empty() && image.digests.is_empty()) || has_child || used;
        self.note(now, id.to_string(), id, EventKind::Named);
        if stays {
            return Ok(Dropping::Done(dropped));
        }
        if let Some(image) = self.images.get_mut(id) {
            image.going = true;
        }
        Ok(Dropping::Decided(id.clone(), dropped, self.starts))
    }

    fn drop_on_containerd(
        &mut self,
        now: Moment,
        id: &ImageId,
        name: &Reference,
    ) -> Result<Dropping, Failure> {
        let used = self.used(id);
        let image = self.images.get_mut(id).ok_or(Failure::NotFound)?;
        let same = |other: &Reference| other.repository() == name.repository();
        // A digest reference stands for every name of its repository, and goes with the last tag of
        // it.
        let mut others = image.tags.iter().filter(|other| *other != name);
        let with_pins = name.is_digest() || !others.any(same);
        let tags = image
            .tags
            .iter()
            .filter(|tag| *tag == name || (name.is_digest() && same(tag)));
        let pins = image.digests.iter().filter(|pin| with_pins && same(pin));
        let goes: Vec<Reference> = tags.chain(pins).cloned().collect();
        let last = image.tags.len() + image.digests.len() == goes.len();
        if last && used {
            return Err(Failure::Conflict);
        }
        image.tags.retain(|other| !goes.contains(other));
        image.digests.retain(|other| !goes.contains(other));
        let dropped = Dropped {
            untagged: goes.iter().map(Reference::familiar).collect(),
            deleted: Vec::new(),
        };
        // Each event has the image and the name.
        for name in &goes {
            self.note(now, id.to_string(), id, EventKind::Named);
            self.note(now, name.familiar(), id, EventKind::Named);
            self.tell(now, ImageAction::Untag(id.clone(), Some(name.clone())));
        }
        if last {
            let mut dropped = dropped;
            dropped.deleted.push(id.to_string());
            self.images.remove(id);
            return Ok(Dropping::Done(dropped));
        }
        Ok(Dropping::Done(dropped))
    }

    /// The second half: the image goes with every name that it got meanwhile. `None` if the engine
    /// was restarted meanwhile: then the image stayed.
    pub fn end_drop(&mut self, dropping: Dropping) -> Option<Dropped> {
        match dropping {
            Dropping::Done(dropped) => Some(dropped),
            Dropping::Decided(_, _, start) if start != self.starts => None,
            Dropping::Decided(id, mut dropped, _) => {
                if let Some(image) = self.images.remove(&id) {
                    let names = image.tags.iter().chain(&image.digests);
                    dropped.untagged.extend(names.map(Reference::familiar));
                }
                dropped.deleted.push(id.to_string());
                Some(dropped)
            }
        }
    }

    /// Creates a container; its image and its mounts must be here.
    pub fn create(&mut self, now: Moment, text: &str, mounts: &[String]) -> Result<u64, Failure> {
        let image = self.resolve(text).ok_or(Failure::NotFound)?;
        let mounted: Option<Vec<_>> = mounts
            .iter()
            .map(|text| Some((text.clone(), self.resolve(text)?)))
            .collect();
        let mounts = mounted.ok_or(Failure::NotFound)?;
        self.made += 1;
        let number = self.made;
        self.note(now, text.to_owned(), &image, EventKind::Used);
        self.containers.push(Held {
            number,
            text: text.to_owned(),
            image,
            mounts,
        });
        Ok(number)
    }

    pub fn remove_container(&mut self, now: Moment, number: u64) {
        if let Some(at) = self
            .containers
            .iter()
            .position(|held| held.number == number)
        {
            let held = self.containers.remove(at);
            self.note(now, held.text, &held.image, EventKind::Used);
        }
    }

    /// Loses what is only in memory.
    pub fn restart(&mut self) {
        self.events.clear();
        self.done.clear();
        self.starts += 1;
        for image in self.images.values_mut() {
            image.going = false;
        }
    }

    // ---- as secateur reads a real engine

    pub fn list(&self) -> BTreeMap<ImageId, Image> {
        let images = self.images.iter();
        images
            .map(|(id, stored)| (id.clone(), self.image(id, stored)))
            .collect()
    }

    fn digests(&self, id: &ImageId, stored: &Stored) -> BTreeSet<Reference> {
        let mut digests = stored.digests.clone();
        if self.store == Store::Containerd {
            // Made up from the tags.
            let tags = stored.tags.iter().filter(|tag| !tag.is_ours());
            digests
                .extend(tags.filter_map(|tag| format!("{}@{id}", tag.repository()).parse().ok()));
        }
        digests
    }

    pub fn image(&self, id: &ImageId, stored: &Stored) -> Image {
        let (ours, tags) = stored.tags.iter().cloned().partition(Reference::is_ours);
        Image {
            id: id.clone(),
            tags,
            digests: self.digests(id, stored),
            ours,
            parent: stored.parent.clone(),
            dates: Dates {
                created: stored.created,
                stored: None,
            },
            last_tag_time: None,
            restorable: None,
            untied: BTreeSet::new(),
            ours_until: None,
            resists: false,
            size: Observed::Known(Bytes(stored.size)),
            shared: Observed::Known(Bytes(0)),
            stays: None,
            labels: stored.labels.clone().into(),
            incomplete: stored
                .without_content
                .then(|| "its content is not here".to_owned().into()),
        }
    }

    pub fn look(&self, id: &ImageId) -> Option<Inspected> {
        let stored = self.images.get(id)?;
        let (ours, tags) = stored.tags.iter().cloned().partition(Reference::is_ours);
        let digests = self.digests(id, stored);
        let descriptor = if self.store == Store::Containerd && !self.old {
            Observed::Known(Descriptor {
                media_type: Untrusted::new("application/vnd.oci.image.manifest.v1+json"),
                digest: id.clone(),
                size: 500,
            })
        } else {
            Observed::Unknown("it gives none".into())
        };
        Some(Inspected {
            tags,
            made_up: digests.difference(&stored.digests).cloned().collect(),
            digests,
            ours,
            last_tag_time: Observed::Known(stored.tagged),
            descriptor,
        })
    }

    /// Where a name leads.
    pub fn leads(&self, name: &Reference) -> Leads {
        match self.holder(name) {
            None => Leads::Nowhere,
            Some(id) if self.images[id].without_content => Leads::ToNothing,
            Some(_) => Leads::ToAnImage,
        }
    }

    pub fn container_list(&self) -> Vec<Container> {
        let listed = |held: &Held| Container {
            id: Untrusted::new(format!("c{}", held.number)),
            name: Untrusted::new(format!("c{}", held.number)),
            image: Untrusted::new(held.text.clone()),
            image_ids: vec![held.image.clone()],
            state: Untrusted::new("running"),
            image_mounts: held
                .mounts
                .iter()
                .map(|(text, _)| Untrusted::new(text.clone()))
                .collect(),
        };
        self.containers.iter().map(listed).collect()
    }
}

/// Whether the engine counts all names of an image as one: a single name, or a tag with the digest
/// reference of its repository.
fn is_single(image: &Stored) -> bool {
    let repositories: BTreeSet<String> = image
        .tags
        .iter()
        .chain(&image.digests)
        .map(Reference::repository)
        .collect();
    image.tags.len() + image.digests.len() <= 1
        || (image.tags.len() <= 1 && repositories.len() <= 1)
}
