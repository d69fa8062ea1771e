//! Carries out a cleared plan: looks again at each image, drops its name,
//! records intent and outcome. It never decides anew: it may only drop items,
//! stop, or find that the disk has enough. It never removes by id, never
//! forces, and stops at the first thing that went and was not meant to.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::activity::Disk;
use crate::decide::target_reached;
use crate::engine::{Dropped, EngineError, Failure, Seen};
use crate::guards::{Cleared, Refusal};
use crate::journal::{Came, Record};
use crate::model::{AtWork, Container, ImageId, Observed, Swarm};
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

/// How often a slow engine's answer is looked for, and the signals with it.
const TICK: Duration = Duration::from_millis(100);

/// How long a run that was asked to end waits for the call that it is in; what
/// that did is then unknown, and found out by the next run.
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// Said of an image that cannot be removed within the time that a deploy may
/// be kept waiting.
const SLOW: &str = "the engine answers slowly, and the deploy locks were let go meanwhile";

/// What a run asks of an engine.
#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Engine {
    /// Looks at one image; `None` where it is gone.
    async fn look(&self, id: &ImageId) -> Result<Option<Seen>, EngineError>;
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
    /// When in the run it was first noticed that it was asked to end.
    asked_to_end: Option<Duration>,
}

/// What came of one image.
enum Fate {
    /// Gone; with what was odd about it.
    Removed(Option<String>),
    Skipped(String),
    Failed(String),
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    async fn everything(&mut self) -> Result<(), Ending> {
        self.drop_left_names().await?;
        self.all().await
    }

    /// Tries every removal of the plan, or says what ended the run before.
    async fn all(&mut self) -> Result<(), Ending> {
        let removals: Vec<&Entry> = self.plan.removals().collect();
        let total = removals.len();
        for (number, batch) in removals.chunks(BATCH).enumerate() {
            self.may_go_on()?;
            if self.has_enough() {
                return Ok(());
            }
            // A deploy must not wait for our disk.
            self.host.let_go();
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
        let engine = self.engine;
        let builds = self.patiently(engine.builds()).await.map_err(lost)?;
        self.take_locks().await?;
        let fate = self.remove(entry, builds).await;
        let id = entry.image().id.clone();
        let (came, detail) = match fate {
            Ok(Fate::Removed(odd)) => {
                self.outcome.removed.push(Removed::of(entry));
                (Came::Removed, odd)
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

    /// One request, most often under the deploy locks. If the answer takes long,
    /// the locks are let go, for a deploy must not wait for a slow engine, nor
    /// for the files of a large layer (about the name an engine decides first);
    /// who goes on afterwards must look whether they are held. A run that was
    /// asked to end does not wait for ever either.
    async fn patiently<T>(
        &mut self,
        request: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let longest = LONGEST_HOLD.saturating_mul(2);
        let mut request = std::pin::pin!(request);
        loop {
            let left = self
                .host
                .held_for()
                .map_or(TICK, |held| longest.saturating_sub(held).min(TICK));
            if let Ok(answer) = tokio::time::timeout(left, &mut request).await {
                return answer;
            }
            if self.host.held_for().is_some_and(|held| held >= longest) {
                self.host.let_go();
            }
            if !self.host.interrupted() {
                continue;
            }
            let now = self.host.elapsed();
            let since = *self.asked_to_end.get_or_insert(now);
            if now.saturating_sub(since) >= LAST_PATIENCE {
                return Err(EngineError {
                    doing: "wait for the engine's answer".into(),
                    kind: Failure::Lost,
                    why: "the run was asked to end".into(),
                });
            }
        }
    }

    fn refused(&mut self, refusals: Vec<Refusal>) -> Ending {
        self.outcome.refusals = refusals;
        Ending::Refused
    }

    async fn remove(
        &mut self,
        entry: &Entry,
        builds: Observed<Vec<String>>,
    ) -> Result<Fate, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let both = async {
            let (swarm, seen) = futures_util::future::join(engine.swarm(), engine.look(id)).await;
            Ok((swarm?, seen))
        };
        let (swarm, seen) = self.patiently(both).await.map_err(lost)?;
        let at_work = AtWork { swarm, builds };
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
    ) -> Result<Result<Vec<Reference>, Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let names: Vec<Reference> = seen.ours.iter().chain(&seen.digests).cloned().collect();
        if names.len() > 1 {
            // The engine asks for containers before it drops an image's last
            // name, not before it drops one of several.
            match self.patiently(engine.containers()).await {
                Ok(containers) => {
                    if let Some(why) = used_by_container(entry, &containers) {
                        return Ok(Err(Fate::Skipped(why)));
                    }
                }
                Err(error) => return failed(error).map(Err),
            }
        }
        if !names.is_empty() {
            return Ok(Ok(names));
        }
        if self.host.held_for().is_none() {
            return Ok(Err(Fate::Skipped(SLOW.into())));
        }
        // On the containerd store, too, though its record of a dangling image is
        // a name there: dropping that one does not look at image mounts.
        let ours = match self.patiently(engine.name_ours(id)).await {
            Ok(ours) => ours,
            Err(error) if error.kind == Failure::NotFound => {
                return Ok(Err(Fate::Skipped("gone already".into())));
            }
            Err(error) => return failed(error).map(Err),
        };
        let again = match self.patiently(engine.look(id)).await {
            Ok(Some(again)) => again,
            Ok(None) => return Ok(Err(Fate::Skipped("gone already".into()))),
            Err(error) => return failed(error).map(Err),
        };
        if again.tags.is_empty()
            && again.digests.is_empty()
            && again.ours == BTreeSet::from([ours.clone()])
        {
            return Ok(Ok(vec![ours]));
        }
        // Somebody named it meanwhile. With that name on it, dropping ours
        // takes ours and no more.
        let left = match self.patiently(engine.drop_name(&ours)).await {
            Ok(dropped) => {
                self.collateral(entry, &dropped, &spellings(&ours).into_iter().collect())?;
                if deletes(&dropped, id) {
                    let odd = "it got a name since the plan, and lost it again".to_owned();
                    return Ok(Err(Fate::Removed(Some(odd))));
                }
                String::new()
            }
            Err(error) => format!("; our own name for it stays for now: {error}"),
        };
        Ok(Err(Fate::Skipped(format!(
            "it got a name since the plan{left}"
        ))))
    }

    async fn drop_all(&mut self, entry: &Entry, names: &[Reference]) -> Result<Fate, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let meant: BTreeSet<String> = names.iter().flat_map(spellings).collect();
        let (mut deleted, mut name_gone) = (false, false);
        for name in names {
            if self.host.held_for().is_none() {
                return Ok(Fate::Skipped(SLOW.into()));
            }
            let dropped = match self.patiently(engine.drop_name(name)).await {
                Ok(dropped) => dropped,
                Err(error) => match error.kind {
                    // The name alone, or the image with it: looked at below.
                    Failure::NotFound => {
                        name_gone = true;
                        break;
                    }
                    Failure::Conflict => {
                        return Ok(Fate::Skipped(format!(
                            "the engine would not: {}",
                            error.why
                        )));
                    }
                    Failure::Status(_)
                    | Failure::Lost
                    | Failure::Permission
                    | Failure::Nonsense
                    | Failure::Contradiction => {
                        return self.find_out(entry, &error).await;
                    }
                },
            };
            self.collateral(entry, &dropped, &meant)?;
            deleted |= deletes(&dropped, id);
        }
        match self.patiently(engine.look(id)).await {
            Ok(None) if name_gone && !deleted => Ok(Fate::Skipped("gone already".into())),
            Ok(None) => Ok(Fate::Removed(None)),
            Ok(Some(_)) if deleted => {
                self.unconfirmed(
                    entry,
                    "the engine said that it is gone, and still has it".into(),
                )?;
                Err(Ending::Surprised)
            }
            Ok(Some(_)) if name_gone => Ok(Fate::Skipped("one of its names went meanwhile".into())),
            Ok(Some(seen)) if names.iter().any(|name| has(&seen, name)) => {
                self.unconfirmed(
                    entry,
                    "the engine said that its name is gone, and still has it".into(),
                )?;
                Err(Ending::Surprised)
            }
            Ok(Some(_)) => Ok(Fate::Skipped(
                "something keeps it since: another name, or an image built on it".into(),
            )),
            Err(error) => self.find_out(entry, &error).await,
        }
    }

    /// The answer was lost on the way, or is an error that came after the deed
    /// or before it: is the image gone?
    async fn find_out(&mut self, entry: &Entry, error: &EngineError) -> Result<Fate, Ending> {
        let engine = self.engine;
        match self.patiently(engine.look(&entry.image().id)).await {
            Ok(None) => Ok(Fate::Removed(Some(format!("it is gone, but: {error}")))),
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
        if deletes(dropped, id) {
            self.outcome.removed.push(Removed::of(entry));
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
    /// ours would remove it. Should that name go just then and the image with
    /// ours, then something went that no plan named.
    async fn drop_left_names(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        for entry in self.plan.entries() {
            let image = entry.image();
            if image.tags.is_empty() && image.digests.is_empty() {
                continue;
            }
            for name in &image.ours {
                self.may_go_on()?;
                self.take_locks().await?;
                let safe = |seen: &Seen| {
                    seen.ours.contains(name) && !(seen.tags.is_empty() && seen.digests.is_empty())
                };
                let seen = self.patiently(engine.look(&image.id)).await;
                if !seen.is_ok_and(|seen| seen.as_ref().is_some_and(safe))
                    || self.host.held_for().is_none()
                {
                    continue;
                }
                let name = name.clone();
                // An error is not worth ending a run for: the next one tries
                // again.
                if let Ok(dropped) = self.patiently(engine.drop_name(&name)).await {
                    self.collateral(entry, &dropped, &spellings(&name).into_iter().collect())?;
                    if deletes(&dropped, &image.id) {
                        let id = image.id.clone();
                        self.outcome.collateral.push(Collateral {
                            what: id.to_string(),
                            with: id.clone(),
                        });
                        let why = "it lost its last name while ours was dropped".to_owned();
                        self.journal(id, Came::Collateral, Some(why))?;
                        return Err(Ending::Surprised);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the engine says that this image is gone.
fn deletes(dropped: &Dropped, id: &ImageId) -> bool {
    dropped
        .deleted
        .iter()
        .any(|text| text.parse().is_ok_and(|gone: ImageId| gone == *id))
}

/// Whether the image still has this name.
fn has(seen: &Seen, name: &Reference) -> bool {
    seen.ours.contains(name) || seen.digests.contains(name)
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
fn spellings(name: &Reference) -> [String; 2] {
    [name.to_string(), name.familiar()]
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

/// A container that appeared since the plan.
fn used_by_container(entry: &Entry, containers: &[Container]) -> Option<String> {
    let image = entry.image();
    let alone = [(image.id.clone(), image.clone())].into();
    let names = Names::of(&alone);
    let means = |text: &str| !names.resolve(text).is_empty();
    let user = containers.iter().find(|container| {
        container.image_ids.contains(&image.id)
            || means(container.image.raw())
            || container
                .image_mounts
                .iter()
                .any(|mount| means(mount.raw()))
    })?;
    Some(format!(
        "container {} uses it since the plan",
        user.name.escaped()
    ))
}

/// A service that appeared since the plan. Containers need no such look where
/// an image has one name alone: the engine itself keeps what they use.
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
