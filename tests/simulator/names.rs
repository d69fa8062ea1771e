//! Follows names that a run dropped on the containerd store, until they are back or their image is
//! gone. The engine drops the tags of a repository together with its digest reference.

use std::collections::{BTreeMap, BTreeSet};

use secateur::engine::{Dropped, ImageAction};
use secateur::memory::journal::{Record, RecordKind, open_intents, pending};
use secateur::model::lost::Lost;
use secateur::model::reference::Reference;
use secateur::model::{EventKind, ImageId, Store};
use secateur::prune::outcome::{Ending, Outcome};

use crate::engine::Stored;
use crate::naive::refers;
use crate::world::World;

/// A name that a run dropped from an image that is still here, and that is not back.
pub struct Missing {
    pub image: ImageId,
    /// The state folder whose journal must have it; `None` if somebody removed that journal.
    pub state: Option<usize>,
    /// The run that dropped it was cut off. Then perhaps only events show a tag that went along
    /// with a digest reference.
    pub cut_off: bool,
}

pub type Owed = BTreeMap<Reference, Missing>;

fn somebodys(name: &Reference) -> bool {
    !name.is_ours() && !name.is_dangling_record()
}

/// The names that an intent has.
fn of_intent(record: &Record) -> Vec<Reference> {
    match &record.what {
        RecordKind::Intent { names, .. } => {
            names.iter().filter_map(|text| text.parse().ok()).collect()
        }
        RecordKind::Outcome { .. } | RecordKind::Restored { .. } => Vec::new(),
    }
}

impl World {
    /// Forgets names that are back, on whatever image, and names of images that are gone.
    pub fn forget_returned(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let images = &self.engine.images;
        let has = |name: &Reference| {
            let mut real = images.values().filter(|image| !image.without_content);
            real.any(|image| image.tags.contains(name) || image.digests.contains(name))
        };
        self.owed
            .retain(|name, missing| images.contains_key(&missing.image) && !has(name));
    }

    /// Records and checks what a run dropped from an image on the containerd store.
    pub fn record_untied(
        &mut self,
        run: usize,
        name: &Reference,
        image: &ImageId,
        dropped: &Dropped,
    ) {
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
            self.check_remembered(run);
            return;
        }
        if name.is_ours() && !self.owed.is_empty() {
            self.count("an image removed after its digest references");
        }
        if name.is_digest() && self.runs[1 - run].changed > 0 {
            // The other run has a state folder of its own, and took our name for a left one.
            self.count("an image went with a digest reference between two runs");
            self.owed.retain(|_, missing| missing.image != *image);
            return;
        }
        if name.is_digest() {
            self.violated(format!("{image} went with {name}"));
        }
        self.check_not_named(run, image);
        self.owed.retain(|_, missing| missing.image != *image);
    }

    /// Checks that nobody named a removed image between the survey and its removal: that would have
    /// left an event.
    fn check_not_named(&mut self, run: usize, id: &ImageId) {
        let Some((survey, steady)) = self.runs[run].clock.clone() else {
            return;
        };
        let now = self.wall();
        let mut image = self.engine.image(id, &Stored::default());
        image.digests.clear();
        let mine = Some(self.runs[run].state);
        let owed = self.owed.iter();
        let owed = owed.filter(|(_, missing)| {
            // This run cannot know what a run with another state folder dropped.
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
        // The load of an image that is here without a name leaves only an event. If it came after
        // the run's last question for events, no answer has it.
        let heard = self.runs[run].heard;
        let unheard = |what: EventKind, moment| what == EventKind::Loaded && moment >= heard;
        for happened in &self.engine.events {
            let event = &happened.event;
            if given(event.what)
                && !unheard(event.what, happened.moment)
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

    /// Checks that the durable part of the journal has every name that is not back.
    pub fn check_remembered(&mut self, run: usize) {
        if self.owed.is_empty() {
            return;
        }
        let key = self.key();
        let mut wrong = Vec::new();
        for (name, missing) in &self.owed {
            let Some(state) = missing.state else { continue };
            // A tag that came in the last moment is in no intent.
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

    /// Checks a run that is about to put a name back. `elsewhere`: it could see that the name leads
    /// to another image.
    pub fn check_put_back(&mut self, run: usize, id: &ImageId, name: &Reference, elsewhere: bool) {
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
        // Two runs with different state folders and without a lock do not know of each other.
        let by_another = self.runs.iter().any(|other| other.removed.contains(id));
        let nothing = name.is_digest() && image.is_none_or(|image| image.without_content);
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

    /// Whether a run can see that a tag leads to another image, except one that this run gave it
    /// to.
    pub fn led_elsewhere(&self, run: usize, id: &ImageId, tag: &Reference) -> bool {
        let gave = |other: &ImageId| self.runs[run].gave.contains(&(tag.clone(), other.clone()));
        let holder = self.engine.holder(tag);
        holder.is_some_and(|other| other != id && !gave(other))
    }

    /// Records that a run gives an image a tag, which may be on another image by now.
    pub fn record_given(&mut self, run: usize, id: &ImageId, tag: &Reference) {
        let holder = self.engine.holder(tag).filter(|other| *other != id);
        if let Some(other) = holder.cloned()
            && !self.runs[run].gave.contains(&(tag.clone(), other.clone()))
        {
            let mut told = self.engine.done.iter().rev();
            // The event of a pull does not show which image it named.
            let last = told.find_map(|one| match &one.what {
                ImageAction::Tag(claim) if claim.name == *tag => Some(claim.image.clone()),
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

    /// A run begins, so the last one with this state folder is over.
    pub fn begins(&mut self, state: usize) {
        for missing in self.owed.values_mut() {
            missing.cut_off |= missing.state == Some(state);
        }
    }

    /// Whether a name of this image is not back.
    pub fn owes(&self, id: &ImageId) -> bool {
        self.owed.values().any(|missing| missing.image == *id)
    }

    /// Whether an earlier run with this state folder may have dropped digest references of an
    /// image, by its journal. The image may also have gone and come again.
    pub fn is_of_a_cut_off_run(&self, run: usize, id: &ImageId) -> bool {
        let ran = &self.runs[run];
        let state = &self.states[ran.state];
        let open = pending(&state.journal[..state.synced], &self.key());
        let intent = open.get(id).filter(|_| !ran.intended.contains(id));
        self.setting.store == Store::Containerd
            && ran.planned.is_some()
            && intent.is_some_and(|record| of_intent(record).iter().any(Reference::is_digest))
    }

    /// Somebody removed the journal of this state folder.
    pub fn lose_journal(&mut self, state: usize) {
        for missing in self.owed.values_mut().chain(self.parked_owed.values_mut()) {
            if missing.state == Some(state) {
                missing.state = None;
            }
        }
    }

    /// Checks a run that was not killed: all names are back, or it reports which are not, or it
    /// leaves them to the next run.
    pub fn check_all_back(&mut self, run: usize, outcome: &Outcome) {
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
            if there && self.engine.images.contains_key(&from) {
                self.violated(format!("{tag} was moved from {from} to {to}"));
            }
        }
        for name in forgotten {
            self.count("a tag that went along is lost with a run that was cut off");
            self.owed.remove(&name);
        }
        let open = open_intents(&self.states[state].journal);
        for name in silent {
            let text = name.to_string();
            let knows = |record: &Record| match &record.what {
                RecordKind::Intent { names, .. } => names.contains(&text),
                RecordKind::Outcome { .. } | RecordKind::Restored { .. } => false,
            };
            if outcome.ending == Ending::OutOfTime && open.iter().any(knows) {
                self.count("a name is left to the next run, for want of time");
                continue;
            }
            self.violated(format!("a run ended well, and {name} is not back"));
        }
    }
}
