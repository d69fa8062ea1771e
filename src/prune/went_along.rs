//! Names that the containerd store dropped together with a digest reference. The engine's answer
//! lists them, or its events if the answer was an error. They are journalled before they are put
//! back: if the run is cut off then, the next run knows them from nothing else.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::decide::plan::Entry;
use crate::engine::{EngineError, ImageAction};
use crate::model::reference::Reference;
use crate::prune::intent::intent;
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Adds what the image lost of this name's repository since this moment, by the engine's
    /// events.
    pub(super) async fn add_from_events(
        &mut self,
        entry: &Entry,
        name: &Reference,
        since: DateTime<Utc>,
        untied: &mut Untied,
    ) -> Result<(), EngineError> {
        let engine = self.engine;
        let since = self.corrected(since);
        let done = self.wait_for(engine.meanwhile(since)).await?;
        let image = &entry.image;
        let names = done.into_iter().filter_map(|one| match one.what {
            ImageAction::Untag(of, name) if of == image.id => name,
            ImageAction::Untag(..)
            | ImageAction::Tag(_)
            | ImageAction::Pull(_)
            | ImageAction::Load(_)
            | ImageAction::Delete(_) => None,
        });
        let same = |lost: &Reference| lost.repository() == name.repository();
        untied.add(image, names.filter(same));
        Ok(())
    }

    /// Writes an intent with all these names, if more names went than were meant. If it cannot be
    /// written, the names are put back and the run ends.
    pub(super) async fn extend_intent(
        &mut self,
        entry: &Entry,
        untied: &Untied,
    ) -> Result<(), Ending> {
        if untied.unplanned(&entry.image).is_none() {
            return Ok(());
        }
        let (now, key) = (self.host.now(), self.plan.engine().key());
        let intent = intent(&self.outcome.run, now, &key, entry);
        let names: BTreeSet<Reference> = untied.names().into_iter().collect();
        let Some(intent) = intent.with_names(&names) else {
            return Ok(());
        };
        if let Err(why) = self.host.record(&[intent], true) {
            self.put_back(entry, untied).await?;
            return Err(Ending::StateLost(why));
        }
        Ok(())
    }
}
