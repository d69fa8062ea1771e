//! Drops names of ours that a run that was cut off left on images that stay.

use crate::decide::plan::Verdict;
use crate::engine::Inspected;
use crate::model::lost::Lost;
use crate::prune::dropped::deletes;
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Only on images that have somebody's name as well: an image without one would go
    /// with ours. If the other name goes just then and the image with ours, the image is
    /// lost, for no plan named it.
    pub(super) async fn drop_leftover_names(&mut self) -> Result<(), Ending> {
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
            // An image that is to be removed loses our name in its turn, after its intent:
            // if somebody drops the other name first, the image goes with ours.
            if entry.verdict() == Verdict::Remove {
                continue;
            }
            for name in &image.ours {
                self.may_go_on()?;
                self.take_locks().await?;
                let safe = |image: &Inspected| {
                    let others = !(image.tags.is_empty() && image.digests.is_empty());
                    image.ours.contains(name) && others
                };
                let answer = self.patiently(engine.inspect(&image.id)).await;
                if !answer.is_ok_and(|image| image.as_ref().is_some_and(safe))
                    || self.too_old().is_some()
                {
                    continue;
                }
                // An error ends no run, because the next run tries again.
                if let Ok(dropped) = self.patiently(engine.drop_name(name)).await {
                    let meant = name.spellings().into_iter().collect();
                    self.expect_no_loss(entry, &dropped, &meant)?;
                    if deletes(&dropped, &image.id) {
                        let lost = vec![Lost::Image(image.id.clone())];
                        return Err(self.lost_with(entry, lost));
                    }
                }
            }
        }
        Ok(())
    }
}
