//! Names of ours that a run that was cut off left on images that stay.

use crate::decide::plan::Verdict;
use crate::engine::Inspected;
use crate::memory::journal::Record;
use crate::model::lost::Lost;
use crate::prune::confirm::{deletes, spellings};
use crate::prune::outcome::{Collateral, Ending};
use crate::prune::{Engine, Host, Pruning};

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Names of ours on images that stay, left by a run that was cut off. Only
    /// where somebody's name is on the image as well; on one without, dropping
    /// ours would remove it. Should that name go just then and the image with
    /// ours, then something went that no plan named.
    pub(super) async fn drop_left_names(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        // It was another engine when the name was given.
        if self.plan.engine().no_removals().is_some() {
            return Ok(());
        }
        for entry in self.plan.entries() {
            let image = entry.image();
            if image.tags.is_empty() && image.digests.is_empty() {
                continue;
            }
            // What is to go loses it in its turn, after its intent: should
            // somebody drop the other name first, ours takes the image along.
            if entry.verdict() == Verdict::Remove {
                continue;
            }
            for name in &image.ours {
                self.may_go_on()?;
                self.take_locks().await?;
                let safe = |seen: &Inspected| {
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
                        let lost = Lost::Image(id.clone());
                        let (run, now) = (&self.outcome.run, self.host.now());
                        let record = Record::collateral(run, now, id.clone(), vec![lost.clone()]);
                        self.outcome.collateral.push(Collateral {
                            what: lost,
                            with: id,
                            digests: image.digests.iter().cloned().collect(),
                        });
                        self.write(record)?;
                        return Err(Ending::Surprised);
                    }
                }
            }
        }
        Ok(())
    }
}
