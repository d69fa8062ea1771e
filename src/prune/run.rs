//! A whole run: intents in batches, each image's turn, and what ends it early.

use std::time::Duration;

use crate::decide::plan::{Entry, Pressure, Verdict};
use crate::guard::Cleared;
use crate::memory::journal::{Record, RemovalResult};
use crate::policy::Policy;
use crate::prune::intent::intent;
use crate::prune::outcome::{Ending, Outcome};
use crate::prune::pruning::Pruning;
use crate::prune::set_back::SetBack;
use crate::prune::traits::{Engine, Host};
use crate::prune::turn::Ended;

/// Intents are made durable in batches of this size: an intent without a removal is
/// harmless, and each wait for the disk takes longer than a removal.
const BATCH: usize = 16;

/// How long a run goes on putting names back at its end, after which the next run does. A run
/// that was asked to end must be over within ten seconds.
const LAST_NAMES: Duration = Duration::from_secs(5);

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
        turns: 0,
        last: None,
        builds_quickly: false,
        met_a_deploy: false,
        still_candidates: None,
        events: Vec::new(),
        events_until: plan.now(),
        set_back,
        asked_to_end: None,
    };
    let mut ending = match pruning.run().await {
        Ok(()) => Ending::Done,
        Err(ending) => ending,
    };
    let until = pruning.host.elapsed() + LAST_NAMES;
    if !matches!(ending, Ending::EngineLost(_) | Ending::StateLost(_))
        && let Err(worse) = pruning
            .put_back_of_earlier_runs(|verdict| verdict == Verdict::Remove, until)
            .await
        && ending != Ending::Surprised
    {
        ending = worse;
    }
    pruning.host.let_go();
    let mut outcome = pruning.outcome;
    outcome.ending = ending;
    outcome.disk_after = host.disk();
    outcome
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    async fn run(&mut self) -> Result<(), Ending> {
        let max_run = self.policy.limits.max_run;
        let owed = self
            .put_back_of_earlier_runs(|verdict| verdict != Verdict::Remove, max_run)
            .await;
        // A full disk may be why a name is not back: only removals make room.
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
            for (index, &entry) in batch.iter().enumerate() {
                if let Err(ended) = self.turn(entry).await {
                    let Ended { ending, untouched } = ended;
                    self.not_tried(&batch[index + usize::from(!untouched)..], &ending);
                    return Err(ending);
                }
                self.turns += 1;
                self.host.progress(self.turns, total);
                let (rest, enough) = (&batch[index + 1..], self.disk_has_enough());
                if rest.is_empty() || enough {
                    self.confirm_last().await.inspect_err(|ending| {
                        self.not_tried(rest, ending);
                    })?;
                }
                // The disk is not measured again after the confirmation, so no run ends
                // with an image that is not confirmed to be gone.
                if enough && !self.outcome.removed.is_empty() {
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
            let id = entry.image().id.clone();
            Record::outcome(run, now, id, RemovalResult::Skipped, Some(why.into()))
        };
        // What an earlier run took from an image is put back first.
        let untold = |entry: &&&Entry| {
            let image = entry.image();
            image.untied.is_empty() && !self.is_told(image)
        };
        let records: Vec<Record> = entries.iter().filter(untold).map(skipped).collect();
        // If this fails, the next run finds the intents open and inspects the images.
        let _ = self.host.record(&records, false);
    }
}
