//! Whether a run may remove anything at all. Decides from what is going on
//! around the images; only it can make a [`Cleared`], and without one nothing
//! is removed. It never waits, never takes a lock by force, and reads "cannot
//! tell" as no.

mod cause;
mod refusal;
#[cfg(test)]
mod tests;
mod wording;

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::plan::Plan;
use crate::exit::Exit;
use crate::memory::clock::Clock;
use crate::model::conditions::{LockSight, LockState, PullSigns, SignState, Standing};
use crate::model::{AtWork, Observed, Swarm};
use crate::policy::{Policy, Pulls};

pub use cause::{Cause, NoRoom, RefusalKind};
pub use refusal::Refusal;

/// What is going on around the images at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// When.
    pub at: DateTime<Utc>,
    /// What the clocks say.
    pub clock: Clock,
    /// All deploy locks of the policy.
    pub locks: Vec<LockSight>,
    /// Signs of pulls.
    pub pulls: PullSigns,
    /// What the engine tells of builds and deploys.
    pub at_work: AtWork,
    /// What our own memory has of earlier surveys.
    pub standing: Standing,
}

/// Everything that speaks against removing anything now.
pub fn refusals(policy: &Policy, activity: &Activity) -> Vec<Refusal> {
    let standing = without_jump(activity);
    let mut found = held_locks(policy, activity.at, &activity.locks, &standing);
    let mut causes = pulls(policy, &activity.pulls);
    causes.extend(buildkit(activity));
    causes.extend(engine_at_work(&activity.at_work));
    if let Clock::Doubtful { why, .. } = &activity.clock {
        causes.push(Cause::Clock(why.clone()));
    }
    found.extend(causes.into_iter().map(|cause| {
        let parts = cause.parts();
        let since = parts.iter().filter_map(|part| standing.get(part)).min();
        let since = since.copied();
        Refusal::lasting(cause, since, activity.at, policy.guard.alert_after)
    }));
    found
}

/// What our own memory has, less the time that a clock gained which jumped: it did
/// not pass. For how long the clock jumps has nothing else to be told by.
fn without_jump(activity: &Activity) -> Standing {
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
    activity.standing.iter().map(moved).collect()
}

/// What is to be remembered of it.
pub fn standing(policy: &Policy, activity: &Activity) -> Standing {
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
    longest.truncate(STANDING);
    longest.into_iter().map(|(at, what)| (what, at)).collect()
}

/// So many things are remembered, those that have lasted longest: one of them is
/// enough to refuse, and others choose how many there are.
const STANDING: usize = 100;

/// The deploy locks that speak against removing anything now.
pub fn held_locks(
    policy: &Policy,
    now: DateTime<Utc>,
    locks: &[LockSight],
    standing: &Standing,
) -> Vec<Refusal> {
    locks
        .iter()
        .filter_map(|sight| lock(policy, now, sight, standing))
        .collect()
}

/// What speaks against this plan, whatever goes on around it.
fn plan_refusal(policy: &Policy, plan: &Plan) -> Option<Refusal> {
    let (remove, all, limit) = (
        plan.removals().len(),
        plan.entries().len(),
        policy.limits.max_fraction,
    );
    // Just the fraction is allowed, though 100 * 0.29 is a little less than 29.
    let most = all as f64 * limit + 1e-6;
    let cause = Cause::MaxFraction { remove, all, limit };
    (remove as f64 > most).then(|| cause.into())
}

/// Every refusal at any of these moments, and that of the plan itself; each once,
/// as it was at the last moment.
pub fn against(policy: &Policy, activities: &[Activity], plan: &Plan) -> Vec<Refusal> {
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
    sight: &LockSight,
    standing: &Standing,
) -> Option<Refusal> {
    // Unclear for long is as bad as held for long: it gets as loud.
    let (holder, dated, unclear) = match &sight.state {
        LockState::Absent | LockState::Free => return None,
        LockState::Held { holder, since } => (holder.clone(), *since, None),
        LockState::CannotTell(why) => (None, None, Some(why.clone())),
    };
    let cause = Cause::DeployLock {
        path: sight.path.clone(),
        kind: sight.kind,
        holder,
        unclear,
    };
    // A date that is to come says nothing; our own memory does.
    let dated = dated.filter(|since| *since <= now);
    let since = dated.or_else(|| standing.get(&cause.identity()).copied());
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
            let path = crate::model::text::escape(&sign.path.to_string_lossy());
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

/// All that shows BuildKit at work.
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

/// Builds that cannot be told, and deploys that the engine itself tells of.
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

/// A plan that nothing speaks against. Made here alone, used up by `prune`.
#[derive(Debug)]
pub struct Cleared(Plan);

impl Cleared {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.0
    }
}

/// Clears a plan that nothing speaks against.
pub fn clear(
    policy: &Policy,
    activities: &[Activity],
    plan: Plan,
) -> Result<Cleared, Vec<Refusal>> {
    let found = against(policy, activities, &plan);
    if found.is_empty() {
        Ok(Cleared(plan))
    } else {
        Err(found)
    }
}

/// The exit code of a refusal: the loudest of its reasons.
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

/// Nothing else is at work on the images: no deploy, build or pull. Made here
/// alone; without one, `verify-cache --redeploy` pulls nothing.
#[derive(Debug)]
pub struct Undisturbed(());

/// Finds that nothing is at work, or says all that is.
pub fn undisturbed(policy: &Policy, activity: &Activity) -> Result<Undisturbed, Vec<Refusal>> {
    let found = refusals(policy, activity);
    if found.is_empty() {
        Ok(Undisturbed(()))
    } else {
        Err(found)
    }
}
