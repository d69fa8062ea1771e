//! A whole run: writes intents in batches, gives each image its turn, and may end early.

use std::time::Duration;

use crate::decide::plan::{Entry, Pressure, Verdict};
use crate::guard::Cleared;
use crate::memory::journal::{Record, RemovalResult};
use crate::model::Bytes;
use crate::policy::Policy;
use crate::prune::intent::intent;
use crate::prune::outcome::{Ending, Outcome};
use crate::prune::pace::{MOST, Pace};
use crate::prune::pruning::Pruning;
use crate::prune::set_back::SetBack;
use crate::prune::traits::{Engine, Host};
use crate::prune::turn::Ended;

/// Intents are made durable in batches of this size: an intent without a removal is
/// harmless, and each wait for the disk takes longer than a removal.
const BATCH: usize = MOST;

/// How long a run may put names back after its time is over. The next run does the rest. A run
/// that was asked to end must be over within ten seconds.
const PUT_BACK_WITHIN: Duration = Duration::from_secs(5);

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
        turns: 0,
        pace: Pace::new(),
        to_confirm: Vec::new(),
        lists_builds_quickly: false,
        met_a_deploy: false,
        still_candidates: None,
        events: Vec::new(),
        events_until: plan.now(),
        set_back,
        asked_to_end: None,
    };
    let ran = pruning.run().await;
    let until = pruning.host.elapsed() + PUT_BACK_WITHIN;
    let names = match ran {
        Err(Ending::EngineLost(_) | Ending::StateLost(_)) => Ok(()),
        Ok(()) | Err(_) => {
            let which = |verdict| verdict == Verdict::Remove;
            pruning.put_back_of_earlier_runs(which, until).await
        }
    };
    let ending = match (ran, names) {
        (Ok(()), Ok(())) => Ending::Done,
        // Why the run ended matters more than that the next one has names to put back.
        (Err(ending), Ok(()) | Err(Ending::OutOfTime)) => ending,
        (Err(ending @ Ending::Surprised), Err(_)) | (Ok(()) | Err(_), Err(ending)) => ending,
    };
    pruning.host.let_go();
    let mut outcome = pruning.outcome;
    outcome.ending = ending;
    outcome.disk_after = host.disk();
    outcome
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    async fn run(&mut self) -> Result<(), Ending> {
        // Some time even if the survey used up `max_run`: the next run's survey may do so, too.
        let until = self.host.elapsed().saturating_add(PUT_BACK_WITHIN);
        let until = self.policy.limits.max_run.max(until);
        let owed = self
            .put_back_of_earlier_runs(|verdict| verdict != Verdict::Remove, until)
            .await;
        // A name may be missing because the disk is full. Only removals make room, so go on.
        if !matches!(owed, Ok(()) | Err(Ending::Surprised)) {
            return owed;
        }
        self.carry_out().await.and(owed)
    }

    async fn carry_out(&mut self) -> Result<(), Ending> {
        self.drop_leftover_names().await?;
        let plan = self.plan;
        let removals: Vec<&Entry> = plan.removals().collect();
        let total = removals.len();
        for batch in removals.chunks(BATCH) {
            self.may_go_on()?;
            // A deploy must not wait for our disk.
            self.host.let_go();
            self.host.progress(self.turns, total);
            self.record_intents(batch)?;
            let mut left = batch;
            while !left.is_empty() {
                let wants = self.disk_wants();
                let (now, rest) = left.split_at(self.pace.next(left, wants));
                if let Err(ended) = self.turn(now).await {
                    let Ended { ending, untouched } = ended;
                    self.not_tried(if untouched { left } else { rest }, &ending);
                    return Err(ending);
                }
                left = rest;
                self.turns += now.len();
                self.host.progress(self.turns, total);
                let enough = self.disk_has_enough();
                if rest.is_empty() || enough {
                    self.confirm_dropped().await.inspect_err(|ending| {
                        self.not_tried(rest, ending);
                    })?;
                }
                // `enough` was measured before the confirmation: measured again here, it could
                // end the run with images that are not confirmed to be gone.
                if enough {
                    self.not_tried(rest, &Ending::Done);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// No image is removed without an intent that survives a crash of the host.
    fn record_intents(&mut self, batch: &[&Entry]) -> Result<(), Ending> {
        let (now, key) = (self.host.now(), self.plan.engine().key());
        let intents: Vec<Record> = batch
            .iter()
            .map(|entry| intent(&self.outcome.run, now, &key, entry))
            .collect();
        self.host.record(&intents, true).map_err(Ending::StateLost)
    }

    /// Measured, not summed: shared layers make every sum of sizes wrong.
    fn disk_has_enough(&mut self) -> bool {
        let Pressure::Asked { until, .. } = self.plan.pressure() else {
            return false;
        };
        self.host
            .disk()
            .known()
            .is_some_and(|disk| until.is_reached(disk))
    }

    /// How much is missing until the disk has enough: zero if it cannot be measured, so that
    /// images go one by one, and the maximum if the disk sets no limit.
    fn disk_wants(&mut self) -> Bytes {
        match self.plan.pressure() {
            Pressure::Asked { until, .. } if !until.is_never_reached() => {
                let disk = self.host.disk();
                let missing = disk.known().and_then(|disk| until.missing(disk));
                missing.unwrap_or(Bytes(0))
            }
            Pressure::Asked { .. } | Pressure::Room { .. } | Pressure::Unknown(_) => {
                Bytes(u64::MAX)
            }
        }
    }

    /// Closes the intents of images that had no turn.
    fn not_tried(&mut self, entries: &[&Entry], ending: &Ending) {
        let why = match ending {
            Ending::Done => "the disk has enough",
            Ending::Refused | Ending::PlanRefused(_) => "the run was refused before its turn",
            Ending::OutOfTime => "limits.max_run was over before its turn",
            Ending::Interrupted => "the run was asked to end before its turn",
            Ending::EngineLost(_) | Ending::Surprised => "the run stopped before its turn",
            Ending::StateLost(_) => return,
        };
        let (run, now) = (&self.outcome.run, self.host.now());
        let skipped = |entry: &&Entry| {
            let id = entry.image.id.clone();
            Record::outcome(run, now, id, RemovalResult::Skipped, Some(why.into()))
        };
        // An intent stays open while an image lacks names that an earlier run took.
        let to_close = |entry: &&&Entry| {
            let image = &entry.image;
            image.untied.is_empty() && !self.is_recorded(image)
        };
        let records: Vec<Record> = entries.iter().filter(to_close).map(skipped).collect();
        // If this fails, the next run finds the intents open and inspects the images.
        let _ = self.host.record(&records, false);
    }
}
