//! Whether a run may remove anything at all. Decides from the conditions around the images.
//! Only this module makes a [`Cleared`], and without one nothing is removed. It never waits,
//! never takes a lock by force, and reads unknown as no.

mod cause;
mod refusal;
#[cfg(test)]
mod tests;
mod wording;

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::plan::Plan;
use crate::exit::Exit;
use crate::memory::clock::Clock;
use crate::model::conditions::{CausesSince, LockReading, LockState, PullSigns, SignState};
use crate::model::text::escape_path;
use crate::model::{AtWork, Observed, Swarm};
use crate::policy::{Policy, Pulls};

pub use cause::{Cause, NoRoom, RefusalKind};
pub use refusal::Refusal;

/// The conditions around the images at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    pub at: DateTime<Utc>,
    pub clock: Clock,
    pub locks: Vec<LockReading>,
    pub pulls: PullSigns,
    pub at_work: AtWork,
    /// Of earlier surveys, from the ledger.
    pub causes_since: CausesSince,
}

/// Everything that refuses any removal now.
pub fn refusals(policy: &Policy, activity: &Activity) -> Vec<Refusal> {
    let causes_since = without_jump(activity);
    let mut found = held_locks(policy, activity.at, &activity.locks, &causes_since);
    let mut causes = pulls(policy, &activity.pulls);
    causes.extend(buildkit(activity));
    causes.extend(engine_at_work(&activity.at_work));
    if let Clock::Doubtful { why, .. } = &activity.clock {
        causes.push(Cause::Clock(why.clone()));
    }
    found.extend(causes.into_iter().map(|cause| {
        let parts = cause.parts();
        let since = parts.iter().filter_map(|part| causes_since.get(part)).min();
        let since = since.copied();
        Refusal::lasting(cause, since, activity.at, policy.guard.alert_after)
    }));
    found
}

/// The remembered causes, without the time by which a clock jumped ahead: that time did not
/// pass. The jump's own cause keeps its date, because nothing else tells for how long the clock
/// has jumped.
fn without_jump(activity: &Activity) -> CausesSince {
    let gained = match &activity.clock {
        Clock::Doubtful { shift, .. } => *shift,
        Clock::Sound => TimeDelta::zero(),
    };
    let clock = Cause::Clock(String::new()).identity();
    let moved = |(what, since): (&String, &DateTime<Utc>)| {
        let later = since.checked_add_signed(gained).unwrap_or(activity.at);
        let since = if *what == clock { *since } else { later };
        (what.clone(), since.min(activity.at))
    };
    activity.causes_since.iter().map(moved).collect()
}

/// The causes that the ledger remembers of this moment.
pub fn causes_since(policy: &Policy, activity: &Activity) -> CausesSince {
    let known = without_jump(activity);
    let mut longest: Vec<(DateTime<Utc>, String)> = refusals(policy, activity)
        .into_iter()
        .flat_map(|refusal| {
            let parts = refusal.cause.parts();
            let one = parts.len() == 1;
            let known = &known;
            parts.into_iter().map(move |part| {
                let since = if one {
                    refusal.since
                } else {
                    known.get(&part).copied()
                };
                (since.unwrap_or(activity.at).min(activity.at), part)
            })
        })
        .collect();
    longest.sort();
    longest.truncate(MOST_CAUSES);
    longest.into_iter().map(|(at, what)| (what, at)).collect()
}

/// Causes that are remembered, longest first. One is enough to refuse, and others decide how
/// many there are.
const MOST_CAUSES: usize = 100;

/// Refusals because of deploy locks.
pub fn held_locks(
    policy: &Policy,
    now: DateTime<Utc>,
    locks: &[LockReading],
    causes_since: &CausesSince,
) -> Vec<Refusal> {
    locks
        .iter()
        .filter_map(|reading| lock(policy, now, reading, causes_since))
        .collect()
}

/// The refusal that lies in the plan itself.
fn plan_refusal(policy: &Policy, plan: &Plan) -> Option<Refusal> {
    let (remove, all, limit) = (
        plan.removals().len(),
        plan.entries().len(),
        policy.limits.max_fraction,
    );
    // Exactly the fraction is allowed, though 100 * 0.29 is a little less than 29 in f64.
    let most = all as f64 * limit + 1e-6;
    let cause = Cause::MaxFraction { remove, all, limit };
    (remove as f64 > most).then(|| cause.into())
}

/// Every refusal at any of these moments and that of the plan itself, each once, as at the last
/// moment.
pub fn all_refusals(policy: &Policy, activities: &[Activity], plan: &Plan) -> Vec<Refusal> {
    let mut found: Vec<Refusal> = Vec::new();
    let all = activities
        .iter()
        .flat_map(|activity| refusals(policy, activity));
    for refusal in all.chain(plan_refusal(policy, plan)) {
        let same = |other: &&mut Refusal| other.cause.identity() == refusal.cause.identity();
        match found.iter_mut().find(same) {
            Some(other) => *other = refusal,
            None => found.push(refusal),
        }
    }
    found
}

fn lock(
    policy: &Policy,
    now: DateTime<Utc>,
    reading: &LockReading,
    causes_since: &CausesSince,
) -> Option<Refusal> {
    // A state unknown for long is as bad as a lock held for long, and alerts as well.
    let (holder, dated, unclear) = match &reading.state {
        LockState::Absent | LockState::Free => return None,
        LockState::Held { holder, since } => (holder.clone(), *since, None),
        LockState::CannotTell(why) => (None, None, Some(why.clone())),
    };
    let cause = Cause::DeployLock {
        path: reading.path.clone(),
        kind: reading.kind,
        holder,
        unclear,
    };
    // A date in the future says nothing; the ledger does.
    let dated = dated.filter(|since| *since <= now);
    let since = dated.or_else(|| causes_since.get(&cause.identity()).copied());
    let after = policy.guard.alert_after;
    Some(Refusal::lasting(cause, since, now, after))
}

fn pulls(policy: &Policy, signs: &PullSigns) -> Vec<Cause> {
    let live = signs.signs.iter().filter_map(|sign| match &sign.state {
        SignState::Live(how) => Some(Cause::Pull {
            path: sign.path.clone(),
            sign: how.clone(),
        }),
        SignState::Build => {
            let path = escape_path(&sign.path);
            Some(Cause::Build(format!("{path} is there")))
        }
        SignState::BuildKit(_) | SignState::Stale { .. } => None,
    });
    let unreadable = signs
        .unreadable
        .iter()
        .filter(|_| policy.guard.pulls == Pulls::Require);
    let unreadable = unreadable.map(|place| Cause::SignsUnreadable {
        path: place.path.clone(),
        why: place.why.clone(),
        cure: place.cure,
    });
    live.chain(unreadable).collect()
}

fn buildkit(activity: &Activity) -> Option<Cause> {
    let records = match &activity.at_work.builds {
        Observed::Known(records) => records.clone(),
        Observed::Unknown(_) => Vec::new(),
    };
    let signs = activity.pulls.signs.iter();
    let downloads: Vec<_> = signs
        .filter_map(|sign| match &sign.state {
            SignState::BuildKit(how) => Some((sign.path.clone(), how.clone())),
            SignState::Live(_) | SignState::Build | SignState::Stale { .. } => None,
        })
        .collect();
    let any = !(records.is_empty() && downloads.is_empty());
    any.then_some(Cause::BuildKit { records, downloads })
}

/// Deploys that the engine itself reports, and unknown answers about builds and deploys.
fn engine_at_work(at_work: &AtWork) -> Vec<Cause> {
    let mut found = Vec::new();
    match &at_work.builds {
        Observed::Known(_) => {} // see `buildkit`
        Observed::Unknown(why) => found.push(Cause::BuildUnclear(why.clone())),
    }
    match &at_work.swarm {
        Swarm::Manager { under_way, .. } => {
            let moving = under_way.iter().filter(|deploy| !deploy.stuck);
            found.extend(moving.map(|deploy| Cause::Deploy {
                service: deploy.service.raw().to_owned(),
                what: deploy.what.clone(),
            }));
        }
        Swarm::Unreadable(why) => found.push(Cause::DeployUnclear(why.clone())),
        Swarm::Inactive | Swarm::Worker => {}
    }
    found
}

/// A plan that nothing refuses. Only this module makes one; `prune` consumes it.
#[derive(Debug)]
pub struct Cleared(Plan);

impl Cleared {
    pub fn plan(&self) -> &Plan {
        &self.0
    }
}

pub fn clear(
    policy: &Policy,
    activities: &[Activity],
    plan: Plan,
) -> Result<Cleared, Vec<Refusal>> {
    none(all_refusals(policy, activities, &plan)).map(|()| Cleared(plan))
}

/// The exit code of the most urgent refusal.
pub fn exit(refusals: &[Refusal]) -> Exit {
    let inconsistent = refusals
        .iter()
        .any(|refusal| matches!(refusal.cause, Cause::EngineInconsistent(_)));
    if inconsistent {
        Exit::Engine
    } else if refusals.iter().any(Refusal::needs_a_person) {
        Exit::NeedsAPerson
    } else {
        Exit::RefusedForNow
    }
}

/// Proof that no deploy, build or pull was under way. Only this module makes one; without it,
/// `verify-cache --redeploy` pulls nothing.
#[derive(Debug)]
pub struct Undisturbed(());

pub fn undisturbed(policy: &Policy, activity: &Activity) -> Result<Undisturbed, Vec<Refusal>> {
    none(refusals(policy, activity)).map(Undisturbed)
}

fn none(refusals: Vec<Refusal>) -> Result<(), Vec<Refusal>> {
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(refusals)
    }
}
