//! Carries out a cleared plan: looks again at each image, drops its name,
//! records intent and outcome. It never decides anew: it may only drop items,
//! stop, or find that the disk has enough. It never removes by id, never
//! forces, and stops at the first thing that went and was not meant to.

pub mod aftermath;
mod ask;
mod changed;
mod confirm;
mod intent;
pub mod late;
mod left;
pub mod live;
pub mod outcome;
mod remove;
mod set_back;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::decide::plan::{Entry, Plan, Pressure};
use crate::engine::{Dropped, EngineError, Failure, Inspected};
use crate::guard::{Cleared, Refusal};
use crate::memory::journal::{Because, Record, RemovalResult};
use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::{AtWork, Container, Event, ImageId, Observed, Swarm};
use crate::policy::Policy;
use crate::prune::intent::intent;
use crate::prune::outcome::{Ending, Outcome, Removed, Stayed};
use crate::prune::set_back::SetBack;

/// Intents are made durable so many at a time: an intent without a removal is
/// harmless, and each wait for the disk costs more than the removal itself.
const BATCH: usize = 16;

/// A deploy that waits for the lock gets it after at most this long, and then
/// some: twice this is what the documents promise.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// How long the lock is left alone after that, so that who waits can take it.
const PAUSE: Duration = Duration::from_millis(20);

/// How often a slow engine's answer is looked for, and the signals with it.
const TICK: Duration = Duration::from_millis(100);

/// How long a run that was asked to end waits for the call that it is in; what
/// that did is then unknown, and found out by the next run.
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// Said of an image that cannot be removed within the time that a deploy may
/// be kept waiting.
const SLOW: &str = "the engine answers slowly, and the deploy locks were let go meanwhile";

/// Said of an image that was seen before the run was stopped.
const STOPPED: &str = "the run was stopped before its turn was over";

/// Said of an image that got another name while its last one was dropped.
const KEPT: &str = "something keeps it since: another name, or an image built on it";

/// What a run asks of an engine.
#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Engine {
    /// Looks at one image; `None` where it is gone.
    async fn look(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError>;
    /// Gives it our name.
    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError>;
    /// Drops one name.
    async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError>;
    /// What is being built. May take seconds where there is much build cache.
    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError>;
    /// What Swarm wants and deploys.
    async fn swarm(&self) -> Result<Swarm, EngineError>;
    /// Every container.
    async fn containers(&self) -> Result<Vec<Container>, EngineError>;
    /// Which images were named or used from a moment on, or from shortly before it.
    async fn happened(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError>;
    /// Which images nothing keeps, by a survey made now.
    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError>;
}

/// What a run asks of its host.
pub trait Host {
    /// Takes every deploy lock that can be held, unless it is held already.
    fn hold(&mut self) -> Result<(), Vec<Refusal>>;
    /// For how long a deploy may have been waiting: since the locks were taken, and
    /// never where the policy names none. `None`: not held.
    fn held_for(&self) -> Option<Duration>;
    /// Lets the locks go.
    fn let_go(&mut self);
    /// Everything that speaks against the next removal.
    fn refusals(&mut self, at_work: &AtWork) -> Vec<Refusal>;
    /// The disk, now.
    fn disk(&mut self) -> Observed<Disk>;
    /// Time since the run began, by a clock that nobody sets.
    fn elapsed(&self) -> Duration;
    /// Wall clock.
    fn now(&self) -> DateTime<Utc>;
    /// Whether somebody asked the run to end.
    fn interrupted(&self) -> bool;
    /// Whether the run was stopped and went on (SIGSTOP): what it saw before is old.
    fn was_stopped(&self) -> bool;
    /// Appends to the journal; `durable`: returns when it would outlast a crash
    /// of the host.
    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String>;
    /// Tells how far the run is, and never waits for a reader.
    fn progress(&mut self, done: usize, of: usize);
}

/// Carries out a plan.
pub async fn prune<E: Engine, H: Host>(
    cleared: Cleared,
    policy: &Policy,
    run: String,
    engine: &E,
    host: &mut H,
) -> Outcome {
    let plan = cleared.plan();
    let outcome = Outcome::new(run, plan.now(), host.disk());
    let set_back = SetBack::since(host.now(), host.elapsed());
    let mut pruning = Pruning {
        plan,
        policy,
        engine,
        host,
        outcome,
        turn: 0,
        last: None,
        builds_quickly: false,
        met_a_deploy: false,
        still_candidates: None,
        happened: Vec::new(),
        told_until: plan.now(),
        set_back,
        asked_to_end: None,
    };
    let ending = match pruning.everything().await {
        Ok(()) => Ending::Done,
        Err(ending) => ending,
    };
    pruning.host.let_go();
    let mut outcome = pruning.outcome;
    outcome.ending = ending;
    outcome.disk_after = host.disk();
    outcome
}

struct Pruning<'a, E, H> {
    plan: &'a Plan,
    policy: &'a Policy,
    engine: &'a E,
    host: &'a mut H,
    outcome: Outcome,
    /// How many images had their turn.
    turn: usize,
    /// The last image whose names were dropped, until it is seen to be gone.
    last: Option<Last<'a>>,
    /// Whether the engine told what it builds within a tick, the last time.
    builds_quickly: bool,
    /// A deploy had its lock since the plan or the last survey.
    met_a_deploy: bool,
    /// What goes by all surveys that were made after such a deploy, too.
    still_candidates: Option<BTreeSet<ImageId>>,
    /// What the engine told to have happened since the plan, one event for each
    /// image; and up to when.
    happened: Vec<Event>,
    told_until: DateTime<Utc>,
    set_back: SetBack,
    /// When in the run it was first noticed that it was asked to end.
    asked_to_end: Option<Duration>,
}

/// An image whose names were dropped, and what the engine said of it.
struct Last<'a> {
    entry: &'a Entry,
    /// Those that are gone from it.
    names: Vec<Reference>,
    /// Just before the first of them was dropped.
    since: DateTime<Utc>,
    /// The engine said that the image is gone.
    deleted: bool,
    /// The engine said that a name was gone already.
    name_gone: bool,
}

/// What was asked just before one image's turn.
struct Before {
    at_work: AtWork,
    seen: Result<Option<Inspected>, EngineError>,
}

/// What came of one image.
enum Fate {
    /// Gone; with what was odd about it.
    Removed(Option<String>),
    Skipped(String),
    /// Skipped for a reason that a later step goes by.
    Stayed(String, Because),
    Failed(String),
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    async fn everything(&mut self) -> Result<(), Ending> {
        self.drop_left_names().await?;
        self.all().await
    }

    /// Tries every removal of the plan, or says what ended the run before.
    async fn all(&mut self) -> Result<(), Ending> {
        let plan = self.plan;
        let removals: Vec<&Entry> = plan.removals().collect();
        let total = removals.len();
        for batch in removals.chunks(BATCH) {
            self.may_go_on()?;
            // A deploy must not wait for our disk.
            self.host.let_go();
            self.host.progress(self.turn, total);
            let now = self.host.now();
            let key = self.plan.engine().key();
            let intents: Vec<Record> = batch
                .iter()
                .map(|entry| intent(&self.outcome.run, now, &key, entry))
                .collect();
            // No removal without an intent that outlasts a crash.
            self.host
                .record(&intents, true)
                .map_err(Ending::StateLost)?;
            for (index, &entry) in batch.iter().enumerate() {
                let before = match self.get_ready(entry).await {
                    Ok(before) => before,
                    Err(ending) => {
                        self.not_tried(&batch[index..], &ending);
                        return Err(ending);
                    }
                };
                if let Err(ending) = self.one(entry, before).await {
                    // Where nobody knows what came of it, its intent stays open.
                    let untouched = matches!(ending, Ending::Refused);
                    self.not_tried(&batch[index + usize::from(!untouched)..], &ending);
                    return Err(ending);
                }
                self.turn += 1;
                self.host.progress(self.turn, total);
                let (rest, roomy) = (&batch[index + 1..], self.roomy());
                if rest.is_empty() || roomy {
                    self.confirm_last().await.inspect_err(|ending| {
                        self.not_tried(rest, ending);
                    })?;
                }
                // By the same look at the disk: none ends with an image that
                // was not seen to be gone.
                if roomy && !self.outcome.removed.is_empty() {
                    self.not_tried(rest, &Ending::Done);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn may_go_on(&self) -> Result<(), Ending> {
        if self.host.interrupted() {
            Err(Ending::Interrupted)
        } else if self.host.elapsed() >= self.policy.limits.max_run {
            Err(Ending::OutOfTime)
        } else {
            Ok(())
        }
    }

    /// Measured, not summed: shared layers make every sum of sizes wrong.
    fn roomy(&mut self) -> bool {
        let Pressure::Asked { until, .. } = self.plan.pressure() else {
            return false;
        };
        self.host
            .disk()
            .known()
            .is_some_and(|disk| until.is_reached(disk))
    }

    /// Writes down what came of an image.
    fn settle(&mut self, entry: &Entry, fate: Fate) -> Result<(), Ending> {
        let id = entry.image().id.clone();
        match fate {
            Fate::Removed(odd) => {
                self.outcome.removed.push(Removed::of(entry));
                self.journal(id, RemovalResult::Removed, odd)
            }
            Fate::Skipped(why) => self.skipped(id, why, None),
            Fate::Stayed(why, because) => self.skipped(id, why, Some(because)),
            Fate::Failed(why) => {
                self.outcome.failed.push(Stayed {
                    id: id.clone(),
                    why: why.clone(),
                    because: None,
                });
                self.journal(id, RemovalResult::Failed, Some(why))
            }
        }
    }

    fn skipped(
        &mut self,
        id: ImageId,
        why: String,
        because: Option<Because>,
    ) -> Result<(), Ending> {
        let (run, now) = (&self.outcome.run, self.host.now());
        let record = Record::stayed(run, now, id.clone(), why.clone(), because);
        self.outcome.skipped.push(Stayed { id, why, because });
        self.write(record)
    }

    fn journal(
        &mut self,
        id: ImageId,
        came: RemovalResult,
        detail: Option<String>,
    ) -> Result<(), Ending> {
        let now = self.host.now();
        self.write(Record::outcome(&self.outcome.run, now, id, came, detail))
    }

    fn write(&mut self, record: Record) -> Result<(), Ending> {
        self.host
            .record(&[record], false)
            .map_err(Ending::StateLost)
    }

    fn refused(&mut self, refusals: Vec<Refusal>) -> Ending {
        self.outcome.refusals = refusals;
        Ending::Refused
    }

    /// Closes the intents of images whose turn did not come.
    fn not_tried(&mut self, entries: &[&Entry], ending: &Ending) {
        let why = match ending {
            Ending::Done => "the disk has enough",
            Ending::Refused | Ending::PlanRefused(_) => "the run was refused before its turn",
            Ending::OutOfTime => "limits.max_run was over before its turn",
            Ending::Interrupted => "the run was asked to end before its turn",
            Ending::EngineLost(_) | Ending::Surprised => "the run stopped before its turn",
            Ending::StateLost(_) => return,
        };
        let now = self.host.now();
        let records: Vec<Record> = entries
            .iter()
            .map(|entry| {
                let id = entry.image().id.clone();
                Record::outcome(
                    &self.outcome.run,
                    now,
                    id,
                    RemovalResult::Skipped,
                    Some(why.into()),
                )
            })
            .collect();
        // Should this fail, the next run finds the intents open and looks.
        let _ = self.host.record(&records, false);
    }
}

/// An engine that answers badly about one image is asked about the next; one
/// that is gone ends the run.
fn failed(error: EngineError) -> Result<Fate, Ending> {
    match error.kind {
        Failure::Lost | Failure::Permission => Err(lost(error)),
        Failure::NotFound
        | Failure::Conflict
        | Failure::Status(_)
        | Failure::Nonsense
        | Failure::Contradiction => Ok(Fate::Failed(error.to_string())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn lost(error: EngineError) -> Ending {
    Ending::EngineLost(error.to_string())
}
