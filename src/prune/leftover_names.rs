//! Drops names of ours that cut-off runs left on images that stay.

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::plan::{Entry, Verdict};
use crate::engine::Inspected;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{Observed, Store};
use crate::prune::dropped::deletes;
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};

/// No other run still uses a name of ours that is older than this.
const IN_USE_FOR: TimeDelta = TimeDelta::minutes(10);

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Only on images that have somebody's name as well: an image without one would go with
    /// ours. If the other name goes just then, the image goes with ours. That is a loss, because
    /// no plan removes that image.
    pub(super) async fn drop_leftover_names(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        let containerd = self.plan.engine().store == Store::Containerd;
        // secateur never removes images of such an engine: our names are from another engine.
        if self.plan.engine().no_removals().is_some() {
            return Ok(());
        }
        for entry in self.plan.entries() {
            let image = &entry.image;
            if image.tags.is_empty() && image.digests.is_empty() {
                continue;
            }
            // An image that is to be removed loses our name in its turn, after its intent:
            // if somebody drops the other name first, the image goes with ours.
            if entry.verdict == Verdict::Remove {
                continue;
            }
            for name in &image.ours {
                self.may_go_on()?;
                self.take_locks().await?;
                let (now, until) = (self.host.now(), image.ours_until);
                let safe = |image: &Inspected| {
                    let others = !(image.tags.is_empty() && image.digests.is_empty());
                    image.ours.contains(name)
                        && others
                        && (!containerd || is_unused(image, until, now))
                };
                let answer = self.wait_for(engine.inspect(&image.id)).await;
                if !answer.is_ok_and(|image| image.as_ref().is_some_and(safe))
                    || self.too_old().is_some()
                {
                    continue;
                }
                self.drop_name_of_ours(entry, name).await?;
            }
        }
        Ok(())
    }

    /// Drops a name that secateur gave, and records an image that went with it. An error of the
    /// engine does not end the run, because the next run tries again.
    pub(super) async fn drop_name_of_ours(
        &mut self,
        entry: &Entry,
        name: &Reference,
    ) -> Result<(), Ending> {
        let (engine, image) = (self.engine, &entry.image);
        let Ok(dropped) = self.wait_for(engine.drop_name(name)).await else {
            return Ok(());
        };
        let meant = name.spellings().into_iter().collect();
        self.expect_no_loss(entry, &dropped, &meant)?;
        if deletes(&dropped, &image.id) {
            let lost = vec![Lost::Image(image.id.clone())];
            return Err(self.record_lost(entry, lost));
        }
        Ok(())
    }
}

/// Whether no run uses our name. A run with another state folder may be under way, and on the
/// containerd store its name holds the image. `until`: names given up to then are from our own
/// earlier runs. The store dates each change of an image's names.
fn is_unused(image: &Inspected, until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    match image.last_tag_time {
        Observed::Known(Some(given)) => {
            until.is_some_and(|until| given <= until) || now - given > IN_USE_FOR
        }
        Observed::Known(None) | Observed::Unknown(_) => until.is_some(),
    }
}
