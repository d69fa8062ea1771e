//! Plays one history: its steps and runs. In the end nobody else acts, and a few runs must bring
//! everything into order.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use secateur::decide::Trust;
use secateur::decide::plan::Verdict;
use secateur::guard;
use secateur::memory::journal::{intended, pending, resisting};
use secateur::memory::ledger::{Ledger, Unusable, file_of};
use secateur::memory::state::Remembered;
use secateur::model::ImageId;
use secateur::model::conditions::ClockReading;
use secateur::policy::{DigestPinned, Policy};
use secateur::prune::cut_off;
use secateur::survey::{self, SurveyError, survey_of};

use crate::checks::{Ran, refused};
use crate::janitor::{Killed, Meeting};
use crate::naive::{self, Past};
use crate::schedule::{Case, Injection, Step};
use crate::world::{Shown, World};

/// The most, in milliseconds, that the wall clock may gain on the boot clock without being noticed,
/// and the longest time that a host may be off, as DECISIONS.md has it.
const UNNOTICED: i64 = 5 * 60_000 + 2_000;
const UNNOTICED_OFF: i64 = 30 * crate::schedule::DAY;

/// A clock that was set back further than this is not waited for.
const LONGEST_BACK: TimeDelta = TimeDelta::days(1);

/// The result of one history.
pub struct Played {
    pub counts: BTreeMap<&'static str, u64>,
    pub violation: Option<String>,
    pub story: Vec<String>,
}

pub async fn play(case: &Case, base: &[Policy], with_story: bool) -> Played {
    let policy = case.setting.policy(base);
    let world = Rc::new(RefCell::new(World::new(case.setting.clone(), policy)));
    world.borrow_mut().story = with_story.then(Vec::new);
    for step in &case.steps {
        match step {
            Step::Act(action) => world.borrow_mut().act(*action, None),
            Step::Wait(time) => {
                let mut world = world.borrow_mut();
                world.tell(|| format!("{} s go by", time / 1000));
                world.wait(*time);
            }
            Step::Run {
                runs,
                turns,
                injections,
            } => {
                together(&world, runs, *turns, injections).await;
            }
        }
        if !world.borrow().violations.is_empty() {
            break;
        }
    }
    if world.borrow().violations.is_empty() {
        in_the_end(&world, base).await;
    }
    let mut world = world.borrow_mut();
    Played {
        counts: std::mem::take(&mut world.counts),
        violation: world.violations.first().cloned(),
        story: world.story.take().unwrap_or_default(),
    }
}

async fn together(
    world: &Rc<RefCell<World>>,
    runs: &[usize],
    turns: u64,
    injections: &[Injection],
) {
    let one = |place: usize| {
        let run = runs[place];
        let mine = injections.iter().filter(|i| i.run == place);
        let mine = mine.map(|i| Injection { run, ..*i }).collect();
        let turns = turns.rotate_left(u32::try_from(17 * place).unwrap_or(0));
        whole(world, run, mine, turns)
    };
    match runs.len() {
        1 => drop(one(0).await),
        _ => drop(futures_util::future::join(one(0), one(1)).await),
    }
}

/// One run to its end, or until it is killed. Returns what it planned to remove.
async fn whole(
    world: &Rc<RefCell<World>>,
    run: usize,
    injections: Vec<Injection>,
    turns: u64,
) -> Option<BTreeSet<ImageId>> {
    let meeting = Meeting::new(world, run, injections, turns);
    let state = {
        let mut world = world.borrow_mut();
        let state = if world.setting.one_state { 0 } else { run };
        world.tell(|| format!("run {run} begins"));
        if world.states[state].taken {
            world.count("refused: other-run");
            return None;
        }
        world.states[state].taken = true;
        world.begins(state);
        let begun = world.steady();
        world.runs[run] = Ran {
            state,
            begun,
            ..Ran::default()
        };
        state
    };
    let done = AssertUnwindSafe(inner(&meeting, run, state))
        .catch_unwind()
        .await;
    let mut world = world.borrow_mut();
    world.states[state].taken = false;
    match done {
        Ok(planned) => planned,
        Err(panic) => {
            let killed = match panic.downcast::<Killed>() {
                Ok(killed) => killed,
                Err(other) => std::panic::resume_unwind(other),
            };
            world.runs[run].holds = None;
            if world.lock.run == Some(run) {
                world.lock_was_let_go();
            }
            if killed.power_cut {
                // Lines that were not durable are lost, and one may be cut in the middle.
                for state in &mut world.states {
                    let keep = state.synced + (state.journal.len() - state.synced) / 2;
                    state.journal.truncate(keep);
                }
                world.reboot(crate::schedule::MINUTE);
            }
            None
        }
    }
}

async fn inner(meeting: &Meeting, run: usize, state: usize) -> Option<BTreeSet<ImageId>> {
    let (facts, policy, ledger, journal) = {
        let mut world = meeting.world();
        let facts = world.facts();
        let mine = &mut world.states[state];
        let read = mine
            .ledgers
            .get(&file_of(&facts.key()))
            .map(|bytes| Ledger::from_json(bytes, &facts.key()));
        let ledger = match read {
            Some(Ok(ledger)) => ledger,
            None | Some(Err(Unusable::Corrupt(_) | Unusable::OtherEngine(_))) => {
                // Ages start again at zero if somebody damaged the ledger.
                if mine.shown.harmed {
                    mine.shown = Shown::default();
                }
                Ledger::empty(&facts.key())
            }
            Some(Err(Unusable::Newer(_))) => return None,
        };
        let journal = world.states[state].journal.clone();
        (facts, world.policy.clone(), ledger, journal)
    };
    let key = facts.key();
    let (open, meant) = (pending(&journal, &key), intended(&journal, &key));
    let remembered = Remembered {
        ledger: &ledger,
        intended: &meant,
        resisting: &resisting(&journal, &key),
    };
    let seen = match survey_of(meeting, &facts, &policy, remembered, Trust::OwnMemory).await {
        Ok(seen) => seen,
        Err(SurveyError::Contradiction(_)) => {
            meeting.world().count("refused: engine-inconsistent");
            return None;
        }
        Err(SurveyError::Fault(_)) => {
            meeting.world().count("run: no survey, the engine failed");
            return None;
        }
    };
    meeting.point(crate::schedule::Point::SaveLedger);
    {
        let mut world = meeting.world();
        let past = world.remembered(run, state, &seen.inventory);
        let mine = &mut world.states[state];
        mine.shown.past.push(past);
        mine.shown.harmed = false;
        let mut bytes = Vec::new();
        seen.ledger.write_to(&mut bytes).expect("a ledger");
        mine.ledgers.insert(file_of(&facts.key()), bytes);
    }
    meeting.point(crate::schedule::Point::SavedLedger);
    meeting.remembers(&seen.ledger);
    let resolved = cut_off::outcomes(&open, &seen.inventory);
    if !resolved.is_empty() {
        let mut world = meeting.world();
        world.count("intent of a killed run resolved");
        world.runs[run].closed.clear();
        world.resolves(state, &resolved);
    }
    planned_is_allowed(meeting, state, &policy, &seen);
    let planned: BTreeSet<ImageId> = seen
        .plan
        .removals()
        .map(|entry| entry.image.id.clone())
        .collect();
    let cleared = match guard::clear(&policy, &seen.activities, seen.plan) {
        Ok(cleared) => {
            late_counts(meeting, state, &policy, &seen.inventory, &planned);
            cleared
        }
        Err(refusals) => {
            for refusal in refusals {
                meeting.world().count(refused(refusal.kind().name()));
            }
            return None;
        }
    };
    meeting.world().runs[run].planned = Some(planned.clone());
    let name = format!("run-{run}-{}", meeting.world().tick);
    let mut host = meeting.clone();
    let outcome = Box::pin(secateur::prune::prune(
        cleared, &policy, name, meeting, &mut host,
    ))
    .await;
    meeting.world().check_ended(run, &outcome);
    Some(planned)
}

/// Checks that the plan lets go only what a naive reading of all surveys lets go.
fn planned_is_allowed(meeting: &Meeting, state: usize, policy: &Policy, seen: &survey::Found) {
    let mut world = meeting.world();
    let past = world.states[state].shown.past_with(&seen.inventory);
    let allowed = naive::may_go(policy, Trust::OwnMemory, &past);
    let by_all = past
        .iter()
        .any(|past| !past.hidden.is_empty())
        .then(|| naive::may_go(policy, Trust::OwnMemory, &with_hidden(past)));
    for entry in seen
        .plan
        .entries()
        .iter()
        .filter(|entry| entry.verdict != Verdict::Keep)
    {
        let id = &entry.image.id;
        world.count("candidate");
        if !allowed.contains_key(id) {
            world.violated(format!(
                "{id} may go by the plan, and not by a naive reading"
            ));
        }
        if by_all
            .as_ref()
            .is_some_and(|by_all| !by_all.contains_key(id))
        {
            world.count("candidate, though used while the clock was wrong");
        }
    }
}

/// Checks that a run that removes something considers what happened before the clock was set back.
fn late_counts(
    meeting: &Meeting,
    state: usize,
    policy: &Policy,
    seen: &secateur::model::Inventory,
    planned: &BTreeSet<ImageId>,
) {
    let mut world = meeting.world();
    let mut past = world.states[state].shown.past_with(seen);
    let start = world.engine.starts;
    if past.iter().all(|past| past.late.is_empty()) {
        return;
    }
    for past in past.iter_mut().filter(|past| past.start == start) {
        past.shown.append(&mut past.late);
    }
    let allowed = naive::may_go(policy, Trust::OwnMemory, &past);
    world.count("a run after a clock that was set back");
    for id in planned.iter().filter(|id| !allowed.contains_key(*id)) {
        world.violated(format!("{id} was used before the clock was set back"));
    }
}

/// The same surveys, as if they had also seen the events that nobody asks for.
fn with_hidden(mut past: Vec<Past<'static>>) -> Vec<Past<'static>> {
    for past in &mut past {
        past.shown.append(&mut past.hidden);
    }
    past
}

impl World {
    /// A survey for later, dated by the monotonic clock plus the clock gains that DECISIONS.md
    /// allows to go unnoticed.
    fn remembered(
        &mut self,
        run: usize,
        state: usize,
        seen: &secateur::model::Inventory,
    ) -> Past<'static> {
        let (reading, steady) = self.runs[run]
            .clock
            .clone()
            .expect("a survey reads the clocks");
        let start = self.engine.starts;
        let state = &mut self.states[state].shown;
        let from = state.set_back_from(&reading, steady);
        if let Some((last, last_steady)) = &state.last_clock {
            let wall = (reading.wall - last.wall).num_milliseconds();
            let gain = wall - (steady - last_steady);
            let unnoticed = if reading.boot_id == last.boot_id {
                gain <= UNNOTICED
            } else {
                wall <= UNNOTICED_OFF && last.wall >= state.latest
            };
            self.runs[run].doubtful = !unnoticed || wall < 0 || from.is_some();
            if unnoticed && wall >= 0 {
                state.credit += gain.max(0);
            }
        }
        state.set_back_from = from.filter(|from| *from - reading.wall <= LONGEST_BACK);
        state.latest = state.latest.max(reading.wall);
        state.last_clock = Some((reading, steady));
        // A name means only an image that had it at this survey or at the last one.
        let named = |id: &ImageId, text: &str| {
            let surveys = state.past.last().map(|past| &*past.host);
            let surveys = surveys.into_iter().chain([seen]);
            let mut images = surveys.filter_map(|host| host.images.get(id));
            images.any(|image| naive::refers(text, image))
        };
        let of_known = |events: &mut Vec<(ImageId, i64, String)>| {
            let events = std::mem::take(events).into_iter();
            let events = events.filter(|(id, _, text)| named(id, text));
            events.map(|(id, at, _)| (id, at)).collect()
        };
        // Only events with an id: for a name, later surveys know only the last image that had it.
        let late = std::mem::take(&mut self.runs[run].late).into_iter();
        let late = late.filter(|(id, _, text)| text == id.as_str());
        Past {
            late: late.map(|(id, at, _)| (id, at)).collect(),
            start,
            at: steady + state.credit,
            host: Cow::Owned(seen.clone()),
            shown: of_known(&mut self.runs[run].shown),
            hidden: of_known(&mut self.runs[run].hidden),
        }
    }

    fn resolves(&mut self, state: usize, records: &[secateur::memory::journal::Record]) {
        let key = self.key();
        let state = &mut self.states[state];
        if state.journal.last().is_some_and(|last| *last != b'\n') {
            state.journal.push(b'\n');
        }
        state
            .journal
            .extend(records.iter().flat_map(|it| it.clone().of(&key).to_line()));
        state.synced = state.journal.len();
    }
}

impl Shown {
    /// The wall clock time of this boot from which the clock was set back, as far as surveys show.
    pub fn set_back_from(&self, now: &ClockReading, steady: i64) -> Option<DateTime<Utc>> {
        let (last, last_steady) = self.last_clock.as_ref()?;
        let untouched = last.wall + TimeDelta::milliseconds(steady - last_steady);
        let from = self
            .set_back_from
            .map_or(untouched, |from| from.max(untouched));
        let noticed = from - now.wall > TimeDelta::seconds(2);
        (now.boot_id == last.boot_id && noticed).then_some(from)
    }

    /// The date since which a survey asks for events: the last survey's. If the clock was set back
    /// since then: what today's clock would have shown at that moment.
    pub fn asks_from(&self, now: &ClockReading, steady: i64) -> DateTime<Utc> {
        let Some((last, last_steady)) = &self.last_clock else {
            return DateTime::<Utc>::MIN_UTC;
        };
        let up = i64::try_from(now.since_boot_secs).unwrap_or(i64::MAX / 1000) * 1000;
        let then = now.wall - TimeDelta::milliseconds((steady - last_steady).min(up));
        let second = TimeDelta::seconds(1);
        let set_back = last.wall - then > second * 2;
        if set_back { then } else { last.wall - second }
    }

    /// Every survey, the last one with what was learnt after it was saved.
    fn past_with(&self, last: &secateur::model::Inventory) -> Vec<Past<'static>> {
        let mut past = self.past.clone();
        if let Some(newest) = past.last_mut() {
            newest.host = Cow::Owned(last.clone());
        }
        past
    }
}

/// The longest time that the policy asks for, in milliseconds.
fn longest_age(policy: &Policy) -> i64 {
    let after = |pinned: DigestPinned| match pinned {
        DigestPinned::After(age) => Some(age),
        DigestPinned::Keep => None,
    };
    let rules = policy.retain.iter();
    let of_rules = rules.flat_map(|rule| [rule.min_age, rule.digest_pinned.and_then(after)]);
    let general = [Some(policy.min_age), after(policy.digest_pinned)];
    let longest = general.into_iter().chain(of_rules).flatten().max();
    i64::try_from(longest.unwrap_or_default().as_millis()).expect("it fits")
}

/// Nobody else acts, the disk is full, and no limit applies. Then whatever may go by a naive
/// reading goes in one run, and our own names with it. No intent stays open, and one more run
/// changes nothing.
async fn in_the_end(world: &Rc<RefCell<World>>, base: &[Policy]) {
    {
        let mut world = world.borrow_mut();
        world.tell(|| "in the end".to_owned());
        world.quiet();
        world.policy = world.setting.greedy(base);
        if world.setting.unreadable_signs {
            return;
        }
        while world.tick.is_multiple_of(2) && !world.engine.containers.is_empty() {
            world.act(crate::schedule::Action::Remove, None);
        }
    }
    whole(world, 0, Vec::new(), 0).await;
    // An image and its parents go one after another.
    for round in 0..6 {
        // A clock that was set back leaves dates in the future.
        let set = world.borrow().counts.contains_key("others: clock set");
        let age = if set {
            40 * crate::schedule::DAY
        } else {
            longest_age(&world.borrow().policy) * 2 + 120_000
        };
        if round == 0 {
            world.borrow_mut().wait(age);
        } else {
            world.borrow_mut().wait(1000);
        }
        let planned = whole(world, 0, Vec::new(), 0).await;
        let mut world = world.borrow_mut();
        let Some(planned) = planned else {
            return world.violated("a run was refused, and nothing speaks against it");
        };
        let state = world.runs[0].state;
        let past = world.states[state].shown.past.clone();
        let wanted: BTreeSet<ImageId> = naive::may_go(&world.policy, Trust::OwnMemory, &past)
            .into_keys()
            .collect();
        // A clock that was set back may give images the same date. Then they share a place among
        // the rollbacks, and all of them stay.
        let rollbacks = world.policy.previous > 0 || !world.policy.retain.is_empty();
        let tied = set && rollbacks && planned.is_subset(&wanted);
        let old = |ids: &BTreeSet<ImageId>| ids - &world.came_back;
        if old(&planned) != old(&wanted) && !tied {
            return world.violated(format!(
                "what may go stays, though nothing keeps it: {planned:?}, wanted {wanted:?}"
            ));
        }
        // If an image is mounted by a name that went before the first survey, only the engine knows
        // that it is used, and keeps it.
        let (stuck, gone): (BTreeSet<_>, BTreeSet<_>) = planned
            .iter()
            .cloned()
            .partition(|id| world.engine.used(id));
        if let Some(id) = gone.iter().find(|id| world.engine.images.contains_key(*id)) {
            let what = format!("{id} was to go, and did not, though nothing keeps it");
            return world.violated(what);
        }
        // Intents for the other engine are not considered: only that engine can close them.
        if !pending(&world.states[state].journal, &world.key()).is_empty() {
            return world.violated("an intent stays open for ever");
        }
        *world.counts.entry("gone in the end").or_default() += gone.len() as u64;
        if gone.is_empty() {
            // Only the next run with the same state folder knows what a run dropped.
            let mut owed = world.owed.iter();
            let missing =
                owed.find(|(name, missing)| name.is_digest() && missing.state == Some(state));
            if let Some((name, _)) = missing {
                let what = format!("{name} stays away for ever");
                return world.violated(what);
            }
            let left = world.engine.images.values().any(|image| {
                let others =
                    image.tags.iter().any(|tag| !tag.is_ours()) || !image.digests.is_empty();
                others
                    && image
                        .tags
                        .iter()
                        .any(secateur::model::reference::Reference::is_ours)
            });
            if left {
                world.violated("a name of our own stays for ever");
            }
            // The run that found nothing may have dropped left names.
            if round > 0 && stuck.is_empty() && world.runs[0].changed > 0 {
                world.violated("a run more changed something");
            }
            return;
        }
    }
    world.borrow_mut().violated("there is no end to what goes");
}
