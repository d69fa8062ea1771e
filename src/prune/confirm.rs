//! What an engine's answer and the look after it say about an image whose names
//! were dropped. Whatever went and was not meant to ends the run.

use std::collections::BTreeSet;

use crate::decide::plan::Entry;
use crate::engine::{Dropped, EngineError, Failure, Inspected};
use crate::memory::journal::{Because, Record};
use crate::model::ImageId;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::prune::changed::came_again;
use crate::prune::outcome::{Collateral, Ending, Removed};
use crate::prune::remove::having_lost;
use crate::prune::{Engine, Fate, Host, KEPT, Last, Pruning, TICK};

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Looks whether the last image is gone.
    pub(super) async fn confirm_last(&mut self) -> Result<(), Ending> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        let engine = self.engine;
        let look = engine.look(&last.entry.image().id);
        let seen = self.patiently(look).await;
        self.confirm(seen).await
    }

    /// Writes down what came of the last image, by what is seen of it now.
    pub(super) async fn confirm(
        &mut self,
        seen: Result<Option<Inspected>, EngineError>,
    ) -> Result<(), Ending> {
        let Some(last) = self.last.take() else {
            return Ok(());
        };
        let entry = last.entry;
        // The containerd store may leave the id of an image that it deleted, and
        // lead it to nothing that could be read.
        let half_gone = |error: &EngineError| last.deleted && error.kind == Failure::Nonsense;
        let seen = match seen {
            Err(error) if !half_gone(&error) => {
                match self.patiently(self.engine.look(&entry.image().id)).await {
                    Err(again) if !half_gone(&again) => {
                        return Err(self.unknown(entry, format!("{error}; then: {again}")));
                    }
                    other => other,
                }
            }
            other => other,
        };
        let fate = match seen {
            Ok(None) if last.name_gone && !last.deleted => Fate::Skipped("gone already".into()),
            Ok(None) => Fate::Removed(None),
            // The containerd store calls an image gone before it is, and keeps
            // one that is tagged in that moment.
            Ok(Some(seen)) if last.deleted && kept_by_a_tag(&seen, &last.names) => {
                kept(&last.names)
            }
            Ok(Some(seen)) if last.deleted => {
                if !self.came_again(&last, &seen).await {
                    let why = "the engine said that it is gone, and still has it";
                    return Err(self.unconfirmed(entry, why.into()));
                }
                Fate::Removed(Some("it was pulled or loaded again since".into()))
            }
            Ok(Some(_)) if last.name_gone => {
                Fate::Skipped(having_lost("one of its names went meanwhile", &last.names))
            }
            Ok(Some(seen)) if last.names.iter().any(|name| has(&seen, name)) => {
                if !self.came_again(&last, &seen).await {
                    let why = "the engine said that its name is gone, and still has it";
                    return Err(self.unconfirmed(entry, why.into()));
                }
                Fate::Skipped("it was pulled again while its name was dropped".into())
            }
            Ok(Some(_)) => kept(&last.names),
            Err(error) => {
                let why = format!("it is gone, and its id is not: {error}");
                return Err(self.unconfirmed(entry, why));
            }
        };
        self.settle(entry, fate)
    }

    /// Whether an image that the engine said to be gone came again. Its event comes
    /// after it, so it is waited for a moment, and not under the locks.
    async fn came_again(&mut self, last: &Last<'_>, seen: &Inspected) -> bool {
        const TRIES: usize = 10;
        let engine = self.engine;
        for _ in 0..TRIES {
            let (now, steady) = (self.host.now(), self.host.elapsed());
            let since = self.set_back.before(last.since, now, steady);
            let Ok(happened) = self.patiently(engine.happened(since)).await else {
                return false;
            };
            if came_again(last.entry, seen, &happened, since) {
                return true;
            }
            self.host.let_go();
            tokio::time::sleep(TICK).await;
        }
        false
    }

    /// Anything in the engine's answer that is neither a name that we meant
    /// nor this image nor a layer: stop.
    pub(super) fn collateral(
        &mut self,
        entry: &Entry,
        dropped: &Dropped,
        meant: &BTreeSet<String>,
    ) -> Result<(), Ending> {
        let id = &entry.image().id;
        // The containerd store's own record of an image that lost a tag, which
        // a pull may set beside our name: nobody's name.
        let dangling = Reference::dangling_record(id);
        let names = dropped
            .untagged
            .iter()
            .filter(|text| !meant.contains(*text) && **text != dangling)
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
                what: Lost::of(&what),
                with: id.clone(),
                digests: entry.image().digests.iter().cloned().collect(),
            })
            .collect();
        if went.is_empty() {
            return Ok(());
        }
        if deletes(dropped, id) {
            self.outcome.removed.push(Removed::of(entry));
        }
        let lost = went.iter().map(|lost| lost.what.clone()).collect();
        self.outcome.collateral.extend(went);
        let record = Record::collateral(&self.outcome.run, self.host.now(), id.clone(), lost);
        self.write(record)?;
        Err(Ending::Surprised)
    }

    /// What the engine said of an image is not so: the end of the run.
    fn unconfirmed(&mut self, entry: &Entry, why: String) -> Ending {
        match self.unknown(entry, why) {
            Ending::EngineLost(_) => Ending::Surprised,
            other => other,
        }
    }
}

fn kept(dropped: &[Reference]) -> Fate {
    Fate::Stayed(having_lost(KEPT, dropped), Because::KeptMeanwhile)
}

/// Whether the image still has this name.
fn has(seen: &Inspected, name: &Reference) -> bool {
    seen.ours.contains(name) || seen.digests.contains(name)
}

/// Whether somebody's tag is on the image, and none of the names dropped.
fn kept_by_a_tag(seen: &Inspected, dropped: &[Reference]) -> bool {
    !seen.tags.is_empty() && !dropped.iter().any(|name| has(seen, name))
}

/// Whether the engine says that this image is gone.
pub(super) fn deletes(dropped: &Dropped, id: &ImageId) -> bool {
    dropped
        .deleted
        .iter()
        .any(|text| text.parse().is_ok_and(|gone: ImageId| gone == *id))
}

/// How the engine may spell a name that it dropped.
pub(super) fn spellings(name: &Reference) -> [String; 2] {
    [name.to_string(), name.familiar()]
}
