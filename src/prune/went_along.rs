//! Names that went along with a digest reference on the containerd store: what the engine's
//! answer tells of them, or its events where there was no good answer. They are in the journal
//! before they are put back, because a run that is cut off then leaves no other word of them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::decide::plan::Entry;
use crate::engine::{Did, EngineError};
use crate::model::reference::Reference;
use crate::prune::intent::intent;
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// What the image lost of this name's repository since this moment, by the engine's events.
    pub(super) async fn take_from_events(
        &mut self,
        entry: &Entry,
        name: &Reference,
        since: DateTime<Utc>,
        untied: &mut Untied,
    ) -> Result<(), EngineError> {
        let engine = self.engine;
        let (now, steady) = (self.host.now(), self.host.elapsed());
        let since = self.set_back.before(since, now, steady);
        let done = self.patiently(engine.meanwhile(since)).await?;
        let image = entry.image();
        let names = done.into_iter().filter_map(|one| match one.what {
            Did::Untag(of, name) if of == image.id => name,
            Did::Untag(..) | Did::Tag(_) | Did::Pull(_) | Did::Load(_) | Did::Delete(_) => None,
        });
        let same = |lost: &Reference| lost.repository() == name.repository();
        untied.take(image, names.filter(same));
        Ok(())
    }

    /// Writes an intent that has all these names, where more went than were meant. If that
    /// cannot be written, they are put back all the same, and the run ends.
    pub(super) async fn write_down(
        &mut self,
        entry: &Entry,
        untied: &Untied,
    ) -> Result<(), Ending> {
        if untied.beyond(entry.image()).is_none() {
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
