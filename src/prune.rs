//! Carries out a cleared plan: looks again at each image, drops its name,
//! records intent and outcome. It never decides anew: it may only drop items,
//! stop, or find that the disk has enough. It never removes by id, never
//! forces, and stops at the first thing that went and was not meant to.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::activity::Disk;
use crate::decide::target_reached;
use crate::engine::{DropName, Dropped, EngineError, Failure, Seen};
use crate::guards::{Cleared, Refusal};
use crate::journal::{Came, Record};
use crate::model::{AtWork, ImageId, Observed, Swarm};
use crate::outcome::{Collateral, Ending, Outcome, Removed, Stayed};
use crate::plan::{Entry, Plan};
use crate::policy::Policy;
use crate::reference::Reference;
use crate::text::escape;
use crate::users::Names;

/// Intents are made durable so many at a time: an intent without a removal is
/// harmless, and each wait for the disk costs more than the removal itself.
const BATCH: usize = 16;

/// A deploy that waits for the lock gets it after at most this long, and then
/// some: twice this is what the documents promise.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// How long the lock is left alone after that, so that who waits can take it.
const PAUSE: Duration = Duration::from_millis(20);

/// What a run asks of an engine.
#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Engine {
    /// Looks at one image; `None` where it is gone.
    async fn look(&self, id: &ImageId) -> Result<Option<Seen>, EngineError>;
    /// Whether the containerd store keeps it under a dangling record.
    async fn has_dangling_record(&self, id: &ImageId) -> Result<bool, EngineError>;
    /// Gives it our name.
    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError>;
    /// Drops one name.
    async fn drop_name(&self, name: &DropName) -> Result<Dropped, EngineError>;
    /// What is being deployed and built.
    async fn at_work(&self) -> Result<AtWork, EngineError>;
}

/// What a run asks of its host.
pub trait Host {
    /// Takes every deploy lock that can be held, unless it is held already.
    fn hold(&mut self) -> Result<(), Vec<Refusal>>;
    /// How long the locks have been held; `None`: not held.
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
    /// Appends to the journal; `durable`: returns when it would outlast a crash
    /// of the host.
    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String>;
    /// Tells how far the run is.
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
    let mut pruning = Pruning {
        plan,
        policy,
        engine,
        host,
        outcome,
    };
    pruning.drop_left_names().await;
    let ending = match pruning.all().await {
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
}

/// What came of one image.
enum Fate {
    Removed,
    Skipped(String),
    Failed(String),
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Tries every removal of the plan, or says what ended the run before.
    async fn all(&mut self) -> Result<(), Ending> {
        let removals: Vec<&Entry> = self.plan.removals().collect();
        let total = removals.len();
        for (number, batch) in removals.chunks(BATCH).enumerate() {
            self.may_go_on()?;
            if self.has_enough() {
                return Ok(());
            }
            let now = self.host.now();
            let intents: Vec<Record> = batch
                .iter()
                .map(|entry| Record::intent(&self.outcome.run, now, entry))
                .collect();
            // No removal without an intent that outlasts a crash.
            self.host
                .record(&intents, true)
                .map_err(Ending::StateLost)?;
            for (index, entry) in batch.iter().enumerate() {
                if let Err(ending) = self.one(entry).await {
                    // What this batch meant to do and will not.
                    self.not_tried(&batch[index..], &ending);
                    return Err(ending);
                }
                self.host.progress(number * BATCH + index + 1, total);
                if self.has_enough() {
                    self.not_tried(&batch[index + 1..], &Ending::Done);
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
    fn has_enough(&mut self) -> bool {
        !self.outcome.removed.is_empty()
            && self
                .host
                .disk()
                .known()
                .is_some_and(|disk| target_reached(&self.policy.disk, disk))
    }

    /// One image, under the deploy locks. An error ends the run.
    async fn one(&mut self, entry: &Entry) -> Result<(), Ending> {
        self.may_go_on()?;
        self.take_locks().await?;
        let fate = self.remove(entry).await;
        let id = entry.image().id.clone();
        let (came, detail) = match fate {
            Ok(Fate::Removed) => {
                self.outcome.removed.push(Removed::of(entry));
                (Came::Removed, None)
            }
            Ok(Fate::Skipped(why)) => {
                self.outcome.skipped.push(Stayed {
                    id: id.clone(),
                    why: why.clone(),
                });
                (Came::Skipped, Some(why))
            }
            Ok(Fate::Failed(why)) => {
                self.outcome.failed.push(Stayed {
                    id: id.clone(),
                    why: why.clone(),
                });
                (Came::Failed, Some(why))
            }
            Err(ending) => return Err(ending),
        };
        self.journal(id, came, detail)
    }

    fn journal(&mut self, id: ImageId, came: Came, detail: Option<String>) -> Result<(), Ending> {
        let record = Record::outcome(&self.outcome.run, self.host.now(), id, came, detail);
        self.host
            .record(&[record], false)
            .map_err(Ending::StateLost)
    }

    /// Holds the deploy locks for the next removal. Now and then they are let
    /// go for a moment, or a deploy that waits would wait for the whole run.
    async fn take_locks(&mut self) -> Result<(), Ending> {
        if self
            .host
            .held_for()
            .is_some_and(|held| held >= LONGEST_HOLD)
        {
            self.host.let_go();
            tokio::time::sleep(PAUSE).await;
        }
        self.host.hold().map_err(|refusals| self.refused(refusals))
    }

    fn refused(&mut self, refusals: Vec<Refusal>) -> Ending {
        self.outcome.refusals = refusals;
        Ending::Refused
    }

    async fn remove(&mut self, entry: &Entry) -> Result<Fate, Ending> {
        let id = &entry.image().id;
        let (at_work, seen) =
            futures_util::future::join(self.engine.at_work(), self.engine.look(id)).await;
        let at_work = at_work.map_err(lost)?;
        let refusals = self.host.refusals(&at_work);
        if !refusals.is_empty() {
            return Err(self.refused(refusals));
        }
        let seen = match seen {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(Fate::Skipped("gone already".into())),
            Err(error) => return failed(error),
        };
        if let Some(why) = changed(entry, &seen).or_else(|| wanted_by_swarm(entry, &at_work)) {
            return Ok(Fate::Skipped(why));
        }
        let names = match self.names_to_drop(entry, seen).await? {
            Ok(names) => names,
            Err(fate) => return Ok(fate),
        };
        self.drop_all(entry, &names).await
    }

    /// The names to drop, the last of which decides. An image without any gets
    /// ours first, and is looked at once more: only if ours is then its only
    /// name does dropping it remove the image and nothing else.
    async fn names_to_drop(
        &mut self,
        entry: &Entry,
        seen: Seen,
    ) -> Result<Result<Vec<DropName>, Fate>, Ending> {
        let id = &entry.image().id;
        let references = |seen: &Seen| -> Vec<DropName> {
            seen.ours
                .iter()
                .chain(&seen.digests)
                .cloned()
                .map(DropName::Reference)
                .collect()
        };
        let names = references(&seen);
        if !names.is_empty() {
            return Ok(Ok(names));
        }
        // On the containerd store, too, though its record of a dangling image is
        // a name there: dropping that one does not look at image mounts.
        let ours = match self.engine.name_ours(id).await {
            Ok(ours) => ours,
            Err(error) if error.kind == Failure::NotFound => {
                return Ok(Err(Fate::Skipped("gone already".into())));
            }
            Err(error) => return failed(error).map(Err),
        };
        let again = match self.engine.look(id).await {
            Ok(Some(again)) => again,
            Ok(None) => return Ok(Err(Fate::Skipped("gone already".into()))),
            Err(error) => return failed(error).map(Err),
        };
        if again.tags.is_empty()
            && again.digests.is_empty()
            && again.ours == BTreeSet::from([ours.clone()])
        {
            return Ok(Ok(vec![DropName::Reference(ours)]));
        }
        // Somebody named it meanwhile. With that name on it, dropping ours
        // takes ours and no more.
        let back = self.engine.drop_name(&DropName::Reference(ours)).await;
        let left = back
            .err()
            .map(|error| format!("; our own name for it stays for now: {error}"))
            .unwrap_or_default();
        Ok(Err(Fate::Skipped(format!(
            "it got a name since the plan{left}"
        ))))
    }

    async fn drop_all(&mut self, entry: &Entry, names: &[DropName]) -> Result<Fate, Ending> {
        let id = &entry.image().id;
        let meant: BTreeSet<String> = names.iter().flat_map(spellings).collect();
        let mut deleted = false;
        for name in names {
            let dropped = match self.drop_within_hold(name).await {
                Ok(dropped) => dropped,
                Err(error) => match error.kind {
                    Failure::NotFound => return Ok(Fate::Skipped("gone already".into())),
                    Failure::Conflict => {
                        return Ok(Fate::Skipped(format!(
                            "the engine would not: {}",
                            error.why
                        )));
                    }
                    Failure::Status(_) => return Ok(Fate::Failed(error.to_string())),
                    Failure::Lost
                    | Failure::Permission
                    | Failure::Nonsense
                    | Failure::Contradiction => {
                        return self.find_out(entry, &error).await;
                    }
                },
            };
            self.collateral(entry, &dropped, &meant)?;
            deleted |= dropped
                .deleted
                .iter()
                .any(|text| text.parse().is_ok_and(|gone: ImageId| gone == *id));
        }
        match self.engine.look(id).await {
            Ok(None) => Ok(Fate::Removed),
            Ok(Some(_)) if !deleted => Ok(Fate::Skipped(
                "it got another name meanwhile, which keeps it".into(),
            )),
            Ok(Some(_)) => {
                self.unconfirmed(
                    entry,
                    "the engine said that it is gone, and still has it".into(),
                )?;
                Err(Ending::Surprised)
            }
            Err(error) => self.find_out(entry, &error).await,
        }
    }

    /// Drops one name. If that takes long, the locks are let go: a deploy must
    /// not wait for the files of a large layer, and by then the engine has
    /// long decided about the name, which it does first.
    async fn drop_within_hold(&mut self, name: &DropName) -> Result<Dropped, EngineError> {
        let mut request = std::pin::pin!(self.engine.drop_name(name));
        let left = LONGEST_HOLD
            .saturating_mul(2)
            .saturating_sub(self.host.held_for().unwrap_or_default());
        match tokio::time::timeout(left, &mut request).await {
            Ok(answer) => answer,
            Err(_) => {
                self.host.let_go();
                request.await
            }
        }
    }

    /// The answer was lost on the way: is the image gone?
    async fn find_out(&mut self, entry: &Entry, error: &EngineError) -> Result<Fate, Ending> {
        match self.engine.look(&entry.image().id).await {
            Ok(None) => Ok(Fate::Removed),
            Ok(Some(_)) => Ok(Fate::Failed(error.to_string())),
            Err(again) => {
                let why = format!("{error}; then: {again}");
                self.journal(entry.image().id.clone(), Came::Unknown, Some(why.clone()))?;
                Err(Ending::EngineLost(why))
            }
        }
    }

    /// Anything in the engine's answer that is neither a name that we meant
    /// nor this image nor a layer: stop.
    fn collateral(
        &mut self,
        entry: &Entry,
        dropped: &Dropped,
        meant: &BTreeSet<String>,
    ) -> Result<(), Ending> {
        let id = &entry.image().id;
        let names = dropped
            .untagged
            .iter()
            .filter(|text| !meant.contains(*text))
            .cloned();
        // Layers are listed as deleted, too; an image of the plan that is not
        // this one is no layer.
        let images = dropped.deleted.iter().filter(|text| {
            text.parse()
                .is_ok_and(|gone: ImageId| gone != *id && self.plan.entry(&gone).is_some())
        });
        let went: Vec<Collateral> = names
            .chain(images.cloned())
            .map(|what| Collateral {
                what: escape(&what),
                with: id.clone(),
            })
            .collect();
        if went.is_empty() {
            return Ok(());
        }
        let detail = went
            .iter()
            .map(|c| c.what.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        self.outcome.collateral.extend(went);
        self.journal(id.clone(), Came::Collateral, Some(detail))?;
        Err(Ending::Surprised)
    }

    fn unconfirmed(&mut self, entry: &Entry, why: String) -> Result<(), Ending> {
        let id = entry.image().id.clone();
        self.outcome.unconfirmed.push(Stayed {
            id: id.clone(),
            why: why.clone(),
        });
        self.journal(id, Came::Unknown, Some(why))
    }

    /// Closes the intents of a batch that ended early; the first of them may
    /// have been closed, or left open on purpose, by whatever ended it.
    fn not_tried(&mut self, entries: &[&Entry], ending: &Ending) {
        let why = match ending {
            Ending::Done => "the disk has enough",
            Ending::Refused => "the run was refused before its turn",
            Ending::OutOfTime => "limits.max_run was over before its turn",
            Ending::Interrupted => "the run was asked to end before its turn",
            Ending::EngineLost(_) | Ending::Surprised => "the run stopped before its turn",
            Ending::StateLost(_) => return,
        };
        let open_on_purpose =
            usize::from(matches!(ending, Ending::EngineLost(_) | Ending::Surprised));
        let now = self.host.now();
        let records: Vec<Record> = entries
            .iter()
            .skip(open_on_purpose)
            .map(|entry| {
                Record::outcome(
                    &self.outcome.run,
                    now,
                    entry.image().id.clone(),
                    Came::Skipped,
                    Some(why.into()),
                )
            })
            .collect();
        // Should this fail, the next run finds the intents open and looks.
        let _ = self.host.record(&records, false);
    }

    /// Names of ours on images that stay, left by a run that was cut off. Only
    /// where somebody's name is on the image as well; on one without, dropping
    /// ours would remove it.
    async fn drop_left_names(&mut self) {
        for entry in self.plan.entries() {
            let image = entry.image();
            if image.ours.is_empty() || (image.tags.is_empty() && image.digests.is_empty()) {
                continue;
            }
            for name in &image.ours {
                let named = |seen: &Seen| !(seen.tags.is_empty() && seen.digests.is_empty());
                if self
                    .engine
                    .look(&image.id)
                    .await
                    .is_ok_and(|seen| seen.as_ref().is_some_and(named))
                {
                    // Not worth ending a run for: the next one tries again.
                    let _ = self
                        .engine
                        .drop_name(&DropName::Reference(name.clone()))
                        .await;
                }
            }
        }
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

/// How the engine may spell a name that it dropped.
fn spellings(name: &DropName) -> Vec<String> {
    match name {
        DropName::Reference(name) => vec![name.to_string(), name.familiar()],
        DropName::DanglingRecord(id) => {
            let name = DropName::DanglingRecord(id.clone()).to_string();
            vec![format!("docker.io/library/{name}"), name, id.to_string()]
        }
    }
}

/// What is different from what was planned, if anything: every difference
/// means that somebody has been at it, and keeps.
fn changed(entry: &Entry, seen: &Seen) -> Option<String> {
    let image = entry.image();
    if let Some(tag) = seen.tags.first() {
        return Some(format!("it was tagged {} since the plan", tag.familiar()));
    }
    if seen.digests != image.digests {
        return Some("its digest references changed since the plan".into());
    }
    if image.last_tag_time.as_ref() != Some(&seen.last_tag_time) {
        return Some("a tag was set on it since the plan".into());
    }
    None
}

/// A service that appeared since the plan. Containers need no such look: the
/// engine itself keeps what they use.
fn wanted_by_swarm(entry: &Entry, at_work: &AtWork) -> Option<String> {
    let Swarm::Manager { images, .. } = &at_work.swarm else {
        return None;
    };
    let alone = [(entry.image().id.clone(), entry.image().clone())].into();
    let names = Names::of(&alone);
    let service = images
        .iter()
        .find(|service| !names.resolve(service.image.raw()).is_empty())?;
    Some(format!(
        "service {} wants it since the plan",
        service.service.escaped()
    ))
}
