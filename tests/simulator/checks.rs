//! The invariants of tests/simulator/main.rs, each checked when it could break: when a name is
//! given or dropped, when an image goes, when a run has ended.

use std::collections::{BTreeMap, BTreeSet};

use secateur::engine::Dropped;
use secateur::memory::journal::{Record, RecordKind, RemovalResult, open_intents};
use secateur::model::conditions::{ClockReading, LockKind};
use secateur::model::lost::Lost;
use secateur::model::reference::Reference;
use secateur::model::{Event, Image, ImageId, Store};
use secateur::prune::outcome::{Ending, Outcome};

use crate::naive::refers;
use crate::schedule::Point;
use crate::world::World;

/// What the simulator knows of one run under way.
#[derive(Default)]
pub struct Ran {
    /// Which state folder it uses.
    pub state: usize,
    pub begun: i64,
    /// How often each kind of call was made.
    pub calls: BTreeMap<Point, usize>,
    /// The image of its last request.
    pub at: Option<ImageId>,
    pub terminated: bool,
    /// Its last reading of the clocks, and when that really was.
    pub clock: Option<(ClockReading, i64)>,
    /// When it last got events.
    pub heard: i64,
    /// When it took the deploy locks, if it has them.
    pub holds: Option<i64>,
    /// The step of its last question about each.
    pub asked_swarm: u64,
    pub asked_builds: u64,
    pub asked_refusals: u64,
    /// What its cleared plan removes; `None` without such a plan.
    pub planned: Option<BTreeSet<ImageId>>,
    /// Intents that would outlast a crash of the host.
    pub intended: BTreeSet<ImageId>,
    pub closed: BTreeSet<ImageId>,
    /// What its own calls removed, which tags went with it, and whether that answer was lost.
    pub removed: BTreeSet<ImageId>,
    pub lost: Vec<(Reference, bool)>,
    /// Names that it journalled as lost.
    pub reported: BTreeSet<Reference>,
    pub unplanned: BTreeSet<ImageId>,
    /// Removals whose answer never came.
    pub unanswered: BTreeSet<ImageId>,
    /// Images that events show to have been wanted, when, and by which name.
    pub shown: Vec<(ImageId, i64, String)>,
    /// The same from events that no survey asks for, because the clock was set twice between two
    /// surveys: their dates are in the future, or before the last survey.
    pub hidden: Vec<(ImageId, i64, String)>,
    /// The same from events that are missing, as a comparison of the two clocks shows.
    pub late: Vec<(ImageId, i64, String)>,
    /// Images that the engine's answers showed to be wanted since the plan.
    pub told: BTreeSet<ImageId>,
    pub changed: u64,
    /// How many of its drops are under way.
    pub dropping: usize,
    /// Tags that it gave to an image; and tags that it moved, from which image to which.
    pub gave: BTreeSet<(Reference, ImageId)>,
    pub moved: Vec<(Reference, ImageId, ImageId)>,
    /// Its clock had jumped since the last survey.
    pub doubtful: bool,
    /// The journal could not be written at some moment.
    pub journal_failed: bool,
}

impl Ran {
    pub fn between_intent_and_outcome(&self) -> bool {
        self.intended.difference(&self.closed).next().is_some()
    }
}

impl World {
    /// Records the events that the engine still remembers since the last saved survey.
    pub fn record_events(&mut self, run: usize) {
        let state = &self.states[self.runs[run].state].shown;
        let since = state
            .last_clock
            .as_ref()
            .map_or(i64::MIN, |(_, steady)| *steady);
        let (reading, until) = self.runs[run].clock.as_ref().expect("the clock was read");
        let credit = state.credit;
        let events = self.engine.events.iter();
        let new = events.filter(|event| event.moment > since && event.moment <= *until);
        let asked = state.asks_from(reading, *until);
        // An event of the same moment with another date came after the clock was set.
        let after = |event: &&crate::engine::Happened| {
            event.moment == *until && event.event.at != reading.wall
        };
        let (told, untold): (Vec<_>, Vec<_>) = new
            .partition(|event| !after(event) && (asked..=reading.wall).contains(&event.event.at));
        let from = state.set_back_from(reading, *until);
        let is_late = |at| at > reading.wall && from.is_some_and(|from| at <= from);
        let (late, hidden): (Vec<_>, Vec<_>) = untold
            .into_iter()
            .partition(|event| is_late(event.event.at));
        let shown = |event: &crate::engine::Happened| {
            let text = event.event.image.raw().to_owned();
            (event.image.clone(), event.moment + credit, text)
        };
        let (told, hidden) = (
            told.into_iter().map(shown).collect(),
            hidden.into_iter().map(shown).collect(),
        );
        let late = late.into_iter().map(shown).collect();
        self.runs[run].shown = told;
        self.runs[run].hidden = hidden;
        self.runs[run].late = late;
    }

    /// Records which images these events show to be wanted since the plan.
    pub fn record_wanted(&mut self, run: usize, events: &[Event]) {
        let (plan, _) = self.runs[run].clock.as_ref().expect("the clock was read");
        let since = plan.wall;
        let mut images = self.engine.list();
        // An image of the plan had no tag, and no event shows which image a pull by tag brought.
        for image in images.values_mut() {
            image.tags.clear();
        }
        let meant = |image: &&Image| {
            let mut new = events.iter().filter(|event| event.at > since);
            new.any(|e| refers(e.image.raw(), image))
        };
        let told = images.values().filter(meant).map(|i| i.id.clone());
        self.runs[run].told.extend(told);
    }

    /// Whether events showed, when the run took the locks, that this image had been wanted since
    /// the plan: a deploy that shares the lock may have wanted it and let the lock go.
    fn was_wanted_before_the_lock(&self, run: usize, id: &ImageId) -> bool {
        let ran = &self.runs[run];
        let (Some((plan, _)), Some(taken)) = (&ran.clock, ran.holds) else {
            return false;
        };
        let (since, now) = (plan.wall, self.wall());
        let image = &self.engine.list()[id];
        let mut events = self.engine.events.iter();
        events.any(|event| {
            event.moment < taken
                && event.event.at > since
                && event.event.at <= now
                && refers(event.event.image.raw(), image)
        })
    }

    /// Checks a run that is about to give an image our name. `asked_under_lock`: as for
    /// [`World::check_drop`].
    pub fn check_naming(&mut self, run: usize, id: &ImageId, asked_under_lock: bool) {
        // Our name holds the image while the names that a cut-off run dropped are put back.
        if self.is_of_a_cut_off_run(run, id) {
            self.runs[run].changed += 1;
            return;
        }
        let ran = &self.runs[run];
        let mut wrong = Vec::new();
        match &ran.planned {
            None => wrong.push("a run that was not cleared changed something"),
            Some(planned) if !planned.contains(id) => {
                wrong.push("an image was named that no plan removes");
            }
            Some(_) => {}
        }
        // Names that this run dropped are put back even if a deploy has its lock by then.
        let comes_back = ran.removed.contains(id) || self.owes(id);
        if ran.told.contains(id) && !comes_back {
            wrong.push("the engine told that it was wanted since the plan");
        }
        if ran.doubtful {
            wrong.push("the clock had jumped, and something was changed");
        }
        if !ran.intended.contains(id) {
            wrong.push("an image was changed without an intent that outlasts a crash");
        }
        if !asked_under_lock && !comes_back {
            wrong.push("an image is named without the locks");
        }
        self.runs[run].changed += 1;
        for why in wrong {
            self.violated(format!("{why}: {id} was named"));
        }
        let let_go = self.runs[run].holds.is_none();
        if !comes_back {
            self.check_undisturbed(run, id, "named", let_go);
        }
    }

    /// Checks that no deploy, pull or build was under way that the run could have seen.
    fn check_undisturbed(&mut self, run: usize, id: &ImageId, what: &str, slow: bool) {
        let ran = &self.runs[run];
        let mut wrong = Vec::new();
        let asked = ran.asked_refusals;
        if let Some(since) = self.lock.deployer
            && (self.setting.lock == Some(LockKind::Flock) || since < asked)
        {
            if slow {
                self.count("change under way when the lock was let go");
            } else {
                wrong.push("beside a deploy that holds the lock");
            }
        }
        if self
            .pulls
            .iter()
            .any(|pull| pull.live.is_some_and(|since| since < asked))
        {
            wrong.push("beside a pull that showed its sign");
        }
        let ran = &self.runs[run];
        if !self.setting.is_20()
            && self
                .builds
                .iter()
                .any(|build| build.since < ran.asked_builds)
        {
            wrong.push("beside a build");
        }
        if self
            .services
            .iter()
            .any(|s| s.under_way.is_some_and(|since| since < ran.asked_swarm))
        {
            wrong.push("beside a deploy of Swarm's");
        }
        for why in wrong {
            self.violated(format!("{id} was {what} {why}"));
        }
    }

    /// Checks a run that is about to drop a name of this image. `asked_under_lock`: the request
    /// was sent while the run held the locks.
    pub fn check_drop(
        &mut self,
        run: usize,
        id: &ImageId,
        name: &Reference,
        asked_under_lock: bool,
    ) {
        self.runs[run].changed += 1;
        let (image, ran) = (&self.engine.images[id], &self.runs[run]);
        let planned = ran
            .planned
            .as_ref()
            .is_some_and(|planned| planned.contains(id));
        let mut wrong = Vec::new();
        if ran.planned.is_none() {
            wrong.push("a run that was not cleared drops a name");
        }
        if !name.is_ours() && !name.is_digest() {
            wrong.push("a tag of somebody's is dropped");
        }
        // Runs with different state folders may take each other's names for left ones.
        let other = &self.runs[1 - run];
        let held = image.tags.iter().any(Reference::is_ours) || other.changed > 0;
        if self.setting.store == Store::Containerd && name.is_digest() && !held {
            wrong.push("a digest reference is dropped, and our name does not hold the image");
        }
        // If the image has other names, it does not go with ours.
        let names = image.tags.len() + image.digests.len();
        let takes_it = !name.is_ours() || names == 1;
        if planned && takes_it && ran.told.contains(id) {
            wrong.push("the engine told that the image was wanted since the plan");
        }
        if planned && takes_it && self.was_wanted_before_the_lock(run, id) {
            wrong.push("the image was wanted since the plan, before the lock was taken");
        }
        if planned && takes_it && !ran.intended.contains(id) {
            wrong.push("a name is dropped without an intent that outlasts a crash");
        }
        if !planned && !name.is_ours() {
            wrong.push("a name is dropped of an image that no plan removes");
        }
        // After names were put back, ours is dropped even if a deploy has its lock by then.
        if takes_it && !asked_under_lock {
            wrong.push("a name is dropped without the locks");
        }
        for why in wrong {
            self.violated(format!("{why}: {name}"));
        }
        if !takes_it {
            self.count("a left name of ours dropped");
            self.came_back.insert(id.clone());
        }
        let let_go = self.runs[run].holds.is_none();
        if planned && takes_it {
            self.check_undisturbed(run, id, "dropped", let_go);
        }
    }

    /// Checks what a delete call did.
    pub fn check_removal(
        &mut self,
        run: usize,
        name: &Reference,
        dropped: &Dropped,
        tags: &BTreeSet<Reference>,
        answer_lost: bool,
    ) {
        let gone: Vec<ImageId> = dropped
            .deleted
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        for id in gone {
            self.count("image removed");
            let lost = tags.iter().filter(|tag| !tag.is_ours() && *tag != name);
            for tag in lost.cloned().collect::<Vec<_>>() {
                self.count("a tag lost inside a delete call");
                if self.setting.store != Store::Graphdriver {
                    self.violated(format!("the tag {tag} is lost on the containerd store"));
                }
                let shared = self.setting.lock == Some(LockKind::Flock);
                if shared && self.lock.deployer.is_some() && self.runs[run].holds.is_some() {
                    self.violated(format!(
                        "the tag {tag} is lost beside a deploy that holds the lock"
                    ));
                }
                self.runs[run].lost.push((tag, answer_lost));
            }
            let ran = &mut self.runs[run];
            if answer_lost {
                ran.unanswered.insert(id.clone());
            }
            ran.removed.insert(id.clone());
            if !ran
                .planned
                .as_ref()
                .is_some_and(|planned| planned.contains(&id))
            {
                ran.unplanned.insert(id.clone());
            }
            self.check_not_wanted(run, &id);
        }
    }

    /// Checks that a removed image was not wanted, as far as the run could know.
    fn check_not_wanted(&mut self, run: usize, id: &ImageId) {
        let asked = self.runs[run].asked_swarm;
        let mut wrong = Vec::new();
        if self.engine.used(id) {
            wrong.push("a container uses it");
        }
        if self.engine.has_child(id) {
            wrong.push("an image is built on it");
        }
        let wants = |(_, image, since): &(String, ImageId, u64)| image == id && *since < asked;
        let service = |s: &crate::others::Service| {
            wants(&s.current) || s.previous.as_ref().is_some_and(wants)
        };
        if self.setting.swarm && self.services.iter().any(service) {
            wrong.push("a service wants it");
        }
        for why in wrong {
            self.violated(format!("{id} went, and {why}"));
        }
    }

    /// Appends lines to the journal.
    pub fn writes(&mut self, run: usize, records: &[Record], durable: bool) {
        let key = self.key();
        let state = &mut self.states[self.runs[run].state];
        if state.journal.last().is_some_and(|last| *last != b'\n') {
            state.journal.push(b'\n');
        }
        state
            .journal
            .extend(records.iter().flat_map(|it| it.clone().of(&key).to_line()));
        if durable {
            state.synced = state.journal.len();
        }
        for record in records {
            match &record.what {
                RecordKind::Intent { .. } if durable => {
                    self.runs[run].intended.insert(record.id.clone());
                }
                RecordKind::Intent { .. } | RecordKind::Restored { .. } => {}
                RecordKind::Outcome { result, lost, .. } => {
                    let names = lost.iter().filter_map(Lost::name).cloned();
                    self.runs[run].reported.extend(names);
                    if *result != RemovalResult::Unknown {
                        self.runs[run].closed.insert(record.id.clone());
                    }
                    self.check_journal(run, &record.id, *result);
                }
            }
        }
    }

    /// Checks that the journal says what the engine did.
    fn check_journal(&mut self, run: usize, id: &ImageId, came: RemovalResult) {
        let image = self.engine.images.get(id);
        let here = image.is_some_and(|image| !image.without_content);
        let ours = self.runs[run].removed.contains(id);
        match came {
            RemovalResult::Removed if here && !ours => {
                self.violated(format!("{id} is journalled as removed, and is here"));
            }
            // The image may have come back under a name that was moved or dropped since then.
            RemovalResult::Skipped if self.setting.store == Store::Containerd => {}
            // If somebody brought it back under a tag before the run inspected it, the run cannot
            // know that it was gone. The tag may have been moved since then, or another run, with
            // a state folder of its own, may have removed the image again.
            RemovalResult::Skipped if here || self.runs[1 - run].removed.contains(id) => {}
            RemovalResult::Skipped | RemovalResult::Failed
                if ours && !self.runs[run].unanswered.contains(id) =>
            {
                self.violated(format!(
                    "{id} is journalled as {came:?}, and this run removed it"
                ));
            }
            _ => {}
        }
    }

    /// Checks a run that was not killed: its outcome, its journal and what the engine did must
    /// agree.
    pub fn check_ended(&mut self, run: usize, outcome: &Outcome) {
        let mut wrong = Vec::new();
        let ran = &self.runs[run];
        let said: BTreeSet<&ImageId> = outcome.removed.iter().map(|removed| &removed.id).collect();
        let unsure: BTreeSet<&ImageId> = outcome
            .unconfirmed
            .iter()
            .chain(&outcome.failed)
            .map(|stayed| &stayed.id)
            .collect();
        let told = |id: &ImageId| {
            let what = Lost::Image(id.clone());
            said.contains(id) || outcome.lost.iter().any(|c| c.what == what)
        };
        let back: BTreeSet<&ImageId> = outcome.skipped.iter().map(|stayed| &stayed.id).collect();
        let may_be_silent =
            |id: &ImageId| ran.unanswered.contains(id) || unsure.contains(id) || back.contains(id);
        for id in ran
            .removed
            .iter()
            .filter(|id| !told(id) && !may_be_silent(id))
        {
            wrong.push(format!("this run removed {id} and does not say so"));
        }
        let (clock, _) = ran.clock.as_ref().expect("the clock was read");
        let began = clock.wall;
        for id in said
            .iter()
            .filter(|id| !ran.removed.contains(**id) && ran.unanswered.is_empty())
        {
            // Somebody else may have removed it, and somebody may have brought it again.
            let here = self.engine.images.get(*id);
            if here.is_some_and(|image| image.came.is_none_or(|came| came < began)) {
                wrong.push(format!("the run says that it removed {id}, which is here"));
            }
        }
        for id in ran.unplanned.iter().filter(|id| !told(id)) {
            wrong.push(format!("{id} went, in no plan and in no report"));
        }
        let (mut reported, mut silent) = (0, 0);
        for (tag, answer_lost) in &ran.lost {
            let what = Lost::Name(tag.clone());
            if outcome.lost.iter().any(|c| c.what == what) {
                reported += 1;
            } else if *answer_lost {
                silent += 1;
            } else {
                wrong.push(format!("the tag {tag} was lost and is not reported"));
            }
        }
        if !outcome.lost.is_empty() && outcome.exit() != secateur::exit::Exit::Collateral {
            wrong.push("collateral, and another exit code".to_owned());
        }
        let state = &self.states[ran.state];
        let open = open_intents(&state.journal);
        let may_be_open = matches!(
            outcome.ending,
            Ending::EngineLost(_) | Ending::Surprised | Ending::StateLost(_)
        );
        if !(may_be_open || ran.journal_failed)
            && open.iter().any(|record| record.run == outcome.run)
        {
            wrong.push("an intent is left open by a run that ended well".to_owned());
        }
        if ran.holds.is_some() {
            wrong.push("a run ended with the deploy lock".to_owned());
        }
        for what in wrong {
            self.violated(what);
        }
        self.check_all_back(run, outcome);
        for (count, what) in [
            (reported, "collateral reported"),
            (silent, "collateral unseen: the answer was lost"),
            (outcome.skipped.len(), "image skipped"),
            (outcome.failed.len(), "image failed"),
            (outcome.unconfirmed.len(), "removal unconfirmed"),
        ] {
            if count > 0 {
                *self.counts.entry(what).or_default() += count as u64;
            }
        }
        self.count(match &outcome.ending {
            Ending::Done if outcome.removed.is_empty() => "run: nothing to remove",
            Ending::Done => "run: pruned",
            Ending::Refused | Ending::PlanRefused(_) => "run: stopped by a refusal",
            Ending::OutOfTime => "run: out of time",
            Ending::Interrupted => "run: interrupted",
            Ending::EngineLost(_) => "run: engine lost",
            Ending::Surprised => "run: surprised",
            Ending::StateLost(_) => "run: journal lost",
        });
        for refusal in &outcome.refusals {
            self.count(refused(refusal.kind().name()));
        }
    }
}

/// The name under which a kind of refusal is counted.
pub fn refused(kind: &str) -> &'static str {
    let all = [
        ("deploy-lock", "refused: deploy-lock"),
        ("pull", "refused: pull"),
        ("build", "refused: build"),
        ("deploy", "refused: deploy"),
        ("other-run", "refused: other-run"),
        ("clock", "refused: clock"),
        ("max-fraction", "refused: max-fraction"),
        ("engine-inconsistent", "refused: engine-inconsistent"),
        ("signs-unreadable", "refused: signs-unreadable"),
    ];
    all.iter()
        .find(|(known, _)| *known == kind)
        .map_or("refused: ?", |(_, counted)| counted)
}
