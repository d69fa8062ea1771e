//! What becomes of the names that the containerd store gives up one by one: from the
//! moment at which a run dropped one until it is back, or its image is gone. The engine
//! unties the tags of a repository with its digest reference.

use std::collections::{BTreeMap, BTreeSet};

use secateur::engine::{Did, Dropped};
use secateur::memory::journal::{Record, What, pending};
use secateur::model::lost::Lost;
use secateur::model::reference::Reference;
use secateur::model::{EventKind, ImageId, Store};
use secateur::prune::outcome::{Ending, Outcome};

use crate::engine::Stored;
use crate::naive::refers;
use crate::world::World;

/// A name that a run dropped of an image that is here, and that is not back.
pub struct Missing {
    pub image: ImageId,
    /// Whose state folder must know of it; `None`: its journal was taken away.
    pub state: Option<usize>,
    /// The run that dropped it was cut off. Of a tag that went along with a digest reference,
    /// the engine's events alone may tell then.
    pub cut_off: bool,
}

pub type Owed = BTreeMap<Reference, Missing>;

fn somebodys(name: &Reference) -> bool {
    !name.is_ours() && !name.is_dangling_record()
}

/// The names that an intent has.
fn of_intent(record: &Record) -> Vec<Reference> {
    match &record.what {
        What::Intent { names, .. } => names.iter().filter_map(|text| text.parse().ok()).collect(),
        What::Outcome { .. } | What::Restored { .. } => Vec::new(),
    }
}

impl World {
    /// Names that are back are owed no more, whoever gave them to whatever.
    pub fn settles(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let images = &self.engine.images;
        let has = |name: &Reference| {
            let mut real = images.values().filter(|image| !image.hollow);
            real.any(|image| image.tags.contains(name) || image.digests.contains(name))
        };
        self.owed.retain(|name, missing| {
            // With its image, which was `gone` if a run removed it.
            images.contains_key(&missing.image) && !has(name)
        });
    }

    /// What a run dropped of an image on the containerd store.
    pub fn unties(&mut self, run: usize, name: &Reference, image: &ImageId, dropped: &Dropped) {
        if self.setting.store != Store::Containerd {
            return;
        }
        let names = dropped.untagged.iter().filter_map(|text| text.parse().ok());
        let names: BTreeSet<Reference> = names.filter(somebodys).collect();
        let state = Some(self.runs[run].state);
        for dropped in &names {
            if dropped != name {
                self.count("a tag went along with a digest reference");
            }
            let image = image.clone();
            let missing = Missing {
                image,
                state,
                cut_off: false,
            };
            self.owed.insert(dropped.clone(), missing);
        }
        if self.engine.images.contains_key(image) {
            self.remembers(run);
            return;
        }
        if name.is_ours() && !self.owed.is_empty() {
            self.count("an image removed after its digest references");
        }
        if name.is_digest() && self.runs[1 - run].changed > 0 {
            // The other run, with a state folder of its own, took our name for a left one.
            self.count("an image went with a digest reference between two runs");
            self.owed.retain(|_, missing| missing.image != *image);
            return;
        }
        if name.is_digest() {
            self.violated(format!("{image} went with {name}"));
        }
        self.given_since_the_plan(run, image);
        self.owed.retain(|_, missing| missing.image != *image);
    }

    /// An image went all of whose names were dropped: what gave it one of them before that,
    /// and after the survey, left an event.
    fn given_since_the_plan(&mut self, run: usize, id: &ImageId) {
        let Some((survey, steady)) = self.runs[run].clock.clone() else {
            return;
        };
        let now = self.wall();
        let mut image = self.engine.image(id, &Stored::default());
        image.digests.clear();
        let mine = Some(self.runs[run].state);
        let owed = self.owed.iter();
        let owed = owed.filter(|(_, missing)| {
            // Of what another state folder's run took, this one cannot know.
            missing.image == *id && missing.state == mine && !missing.cut_off
        });
        for (name, _) in owed {
            if name.is_digest() {
                image.digests.insert(name.clone());
            } else {
                image.tags.insert(name.clone());
            }
        }
        let wrong = image.tags.iter().map(|tag| format!("{tag} went with {id}"));
        let mut wrong: Vec<String> = wrong.collect();
        let given = |what: EventKind| what != EventKind::Used;
        for happened in &self.engine.events {
            let event = &happened.event;
            if given(event.what)
                && !happened.by_run
                && happened.moment > steady
                && event.at > survey.wall
                && event.at <= now
                && refers(event.image.raw(), &image)
            {
                let text = event.image.raw();
                wrong.push(format!("{id} went, and was given a name since: {text}"));
            }
        }
        for why in wrong {
            self.violated(why);
        }
    }

    /// While a name is owed, a journal that outlasts a crash knows it.
    pub fn remembers(&mut self, run: usize) {
        if self.owed.is_empty() {
            return;
        }
        let key = self.key();
        let mut wrong = Vec::new();
        for (name, missing) in &self.owed {
            let Some(state) = missing.state else { continue };
            // A tag that came in the last moment stands in no intent.
            if !name.is_digest() {
                continue;
            }
            let state = &self.states[state];
            let open = pending(&state.journal[..state.synced], &key);
            let known = open.get(&missing.image);
            let reported = self.runs[run].reported.contains(name);
            if !reported && !known.is_some_and(|record| of_intent(record).contains(name)) {
                wrong.push(format!("{name} is not back, and no intent knows of it"));
            }
        }
        for why in wrong {
            self.violated(why);
        }
    }

    /// A run is about to give an image a name back. `elsewhere`: it could see that the name
    /// leads to another.
    pub fn puts_back(&mut self, run: usize, id: &ImageId, name: &Reference, elsewhere: bool) {
        self.runs[run].changed += 1;
        let image = self.engine.images.get(id);
        let ran = &self.runs[run];
        let mut wrong = Vec::new();
        if ran.planned.is_none() {
            wrong.push("a run that was not cleared gives a name");
        }
        if elsewhere {
            wrong.push("a name is taken from another image");
        }
        // Two runs with a state folder each and no lock know nothing of each other.
        let by_another = self.runs.iter().any(|other| other.removed.contains(id));
        let nothing = name.is_digest() && image.is_none_or(|image| image.hollow);
        if nothing && !by_another {
            wrong.push("a name is given to what is not here");
        }
        for why in wrong {
            self.violated(format!("{why}: {name}"));
        }
        if nothing && by_another {
            self.count("a name given to what another run removed meanwhile");
        }
        self.count("a name put back");
        self.came_back.insert(id.clone());
    }

    /// Whether a run can see that a tag leads to another image, which is not one that the run
    /// gave it to by mistake.
    pub fn led_elsewhere(&self, run: usize, id: &ImageId, tag: &Reference) -> bool {
        let gave = |other: &ImageId| self.runs[run].gave.contains(&(tag.clone(), other.clone()));
        let holder = self.engine.holder(tag);
        holder.is_some_and(|other| other != id && !gave(other))
    }

    /// A run gives an image a tag, which may be another's by now.
    pub fn gives(&mut self, run: usize, id: &ImageId, tag: &Reference) {
        let holder = self.engine.holder(tag).filter(|other| *other != id);
        if let Some(other) = holder.cloned()
            && !self.runs[run].gave.contains(&(tag.clone(), other.clone()))
        {
            let mut told = self.engine.done.iter().rev();
            // A pull does not tell what it named.
            let last = told.find_map(|one| match &one.what {
                Did::Tag(claim) if claim.name == *tag => Some(claim.image.clone()),
                _ => None,
            });
            if last.as_ref() == Some(&other) {
                let moved = (tag.clone(), other, id.clone());
                self.runs[run].moved.push(moved);
                self.count("a tag moved while it was put back");
            }
        }
        self.runs[run].gave.insert((tag.clone(), id.clone()));
    }

    /// A run begins: the last one of this state folder has ended somehow.
    pub fn begins(&mut self, state: usize) {
        for missing in self.owed.values_mut() {
            missing.cut_off |= missing.state == Some(state);
        }
    }

    /// Whether a name of this image is not back.
    pub fn owes(&self, id: &ImageId) -> bool {
        self.owed.values().any(|missing| missing.image == *id)
    }

    /// Whether an earlier run of this state folder may have dropped digest references of an
    /// image, by its journal. It cannot be told from one that went and came again.
    pub fn is_of_a_cut_off_run(&self, run: usize, id: &ImageId) -> bool {
        let ran = &self.runs[run];
        let state = &self.states[ran.state];
        let open = pending(&state.journal[..state.synced], &self.key());
        let intent = open.get(id).filter(|_| !ran.intended.contains(id));
        self.setting.store == Store::Containerd
            && ran.planned.is_some()
            && intent.is_some_and(|record| of_intent(record).iter().any(Reference::is_digest))
    }

    /// Somebody took the journal of this state folder.
    pub fn forgives(&mut self, state: usize) {
        for missing in self.owed.values_mut().chain(self.parked_owed.values_mut()) {
            if missing.state == Some(state) {
                missing.state = None;
            }
        }
    }

    /// A run ended of itself: all names are back, or it says which are not, or the next run
    /// has to see to them.
    pub fn all_back(&mut self, run: usize, outcome: &Outcome) {
        let state = self.runs[run].state;
        let reported = |name: &Reference| {
            let what = Lost::Name(name.clone());
            outcome.lost.iter().any(|loss| loss.what == what)
        };
        let cut_off = matches!(
            outcome.ending,
            Ending::EngineLost(_) | Ending::Surprised | Ending::StateLost(_)
        );
        let owed = self.owed.iter();
        let mine = owed.filter(|(_, missing)| missing.state == Some(state));
        let (forgotten, mine): (Vec<_>, Vec<_>) =
            mine.partition(|(name, missing)| missing.cut_off && !name.is_digest());
        let forgotten: Vec<Reference> = forgotten.iter().map(|(name, _)| (*name).clone()).collect();
        let (told, silent): (Vec<_>, Vec<_>) = mine
            .into_iter()
            .map(|(name, _)| name.clone())
            .partition(|name| reported(name));
        if !told.is_empty() {
            self.count("a name that is not back is reported");
        }
        if cut_off {
            return;
        }
        let moved = std::mem::take(&mut self.runs[run].moved);
        for (tag, from, to) in moved {
            let there = self.engine.holder(&tag) == Some(&to);
            if there && self.engine.images.contains_key(&from) && !self.runs[run].untold {
                self.violated(format!("{tag} was moved from {from} to {to}"));
            }
        }
        for name in forgotten {
            self.count("a tag that went along is lost with a run that was cut off");
            self.owed.remove(&name);
        }
        for name in silent {
            self.violated(format!("a run ended well, and {name} is not back"));
        }
    }
}
