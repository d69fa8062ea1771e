//! Confirms that an image whose names were dropped is gone, by the engine's answers and
//! by inspecting it. An image that is there in spite of them ends the run.

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::memory::journal::Because;
use crate::model::reference::Reference;
use crate::prune::changed::pulled_again;
use crate::prune::fate::{Fate, without_names};
use crate::prune::outcome::Ending;
use crate::prune::pruning::{Last, Pruning};
use crate::prune::traits::{Engine, Host};
use crate::prune::wait::TICK;

/// The reason shown when an image gained a name during its removal.
pub(super) const KEPT: &str = "something keeps it since: another name, or an image built on it";

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    pub(super) async fn confirm_last(&mut self) -> Result<(), Ending> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        let engine = self.engine;
        let inspect = engine.inspect(&last.entry.image().id);
        let answer = self.patiently(inspect).await;
        self.confirm(answer).await
    }

    /// Records what became of the last image, by this answer to its inspection.
    pub(super) async fn confirm(
        &mut self,
        answer: Result<Option<Inspected>, EngineError>,
    ) -> Result<(), Ending> {
        let Some(last) = self.last.take() else {
            return Ok(());
        };
        let entry = last.entry;
        // The containerd store may keep the id of an image that it deleted, and lead it to
        // nothing that could be read.
        let half_gone = |error: &EngineError| last.deleted && error.kind == Failure::Nonsense;
        let answer = match answer {
            Err(error) if !half_gone(&error) => {
                let inspect = self.engine.inspect(&entry.image().id);
                match self.patiently(inspect).await {
                    Err(again) if !half_gone(&again) => {
                        return Err(self.unknown(entry, format!("{error}; then: {again}")));
                    }
                    other => other,
                }
            }
            other => other,
        };
        let stays = matches!(&answer, Ok(Some(_)));
        let fate = match answer {
            Ok(None) if last.name_gone && !last.deleted => Fate::gone_already(),
            Ok(None) => Fate::Removed(None),
            // The containerd store says that an image is gone before it is, and keeps one
            // that is tagged in that moment.
            Ok(Some(image)) if last.deleted && kept_by_a_tag(&image, &last.names) => {
                kept(&last.names)
            }
            Ok(Some(image)) if last.deleted => {
                if !self.was_pulled_again(&last, &image).await {
                    self.put_back(entry, &last.untied).await?;
                    let why = "the engine said that it is gone, and still has it";
                    return Err(self.contradicted(entry, why.into()));
                }
                Fate::Removed(Some("it was pulled or loaded again since".into()))
            }
            Ok(Some(_)) if last.name_gone => Fate::skipped(without_names(
                "one of its names went meanwhile",
                &last.names,
            )),
            Ok(Some(image)) if last.names.iter().any(|name| has(&image, name)) => {
                if !self.was_pulled_again(&last, &image).await {
                    let why = "the engine said that its name is gone, and still has it";
                    return Err(self.contradicted(entry, why.into()));
                }
                Fate::skipped("it was pulled again while its name was dropped")
            }
            Ok(Some(_)) => kept(&last.names),
            Err(error) => {
                let why = format!("it is gone, and its id is not: {error}");
                return Err(self.contradicted(entry, why));
            }
        };
        let fate = match fate {
            fate @ Fate::Skipped(..) if stays && !last.untied.is_empty() => {
                self.stay(entry, &last.untied, fate).await?
            }
            fate => fate,
        };
        self.record_fate(entry, fate)
    }

    /// Whether an image that is there was pulled or loaded again since its names were
    /// dropped. The event may come after the image, so it is awaited for a moment, without
    /// the locks.
    async fn was_pulled_again(&mut self, last: &Last<'_>, image: &Inspected) -> bool {
        const TRIES: usize = 10;
        let engine = self.engine;
        for _ in 0..TRIES {
            let (now, steady) = (self.host.now(), self.host.elapsed());
            let since = self.set_back.before(last.since, now, steady);
            let Ok(events) = self.patiently(engine.events(since)).await else {
                return false;
            };
            if pulled_again(last.entry, image, &events, since) {
                return true;
            }
            self.host.let_go();
            tokio::time::sleep(TICK).await;
        }
        false
    }

    /// What the engine said of an image is not true: the run ends.
    fn contradicted(&mut self, entry: &Entry, why: String) -> Ending {
        match self.unknown(entry, why) {
            Ending::EngineLost(_) => Ending::Surprised,
            other => other,
        }
    }
}

fn kept(dropped: &[Reference]) -> Fate {
    Fate::Skipped(without_names(KEPT, dropped), Some(Because::KeptMeanwhile))
}

/// One that the containerd store made up from a tag is none.
fn has(image: &Inspected, name: &Reference) -> bool {
    let digest = image.digests.contains(name) && !image.made_up.contains(name);
    image.ours.contains(name) || digest
}

/// Whether the image has somebody's tag and none of the dropped names.
fn kept_by_a_tag(image: &Inspected, dropped: &[Reference]) -> bool {
    !image.tags.is_empty() && !dropped.iter().any(|name| has(image, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, id};

    #[test]
    fn an_image_has_no_digest_reference_that_its_store_made_up_from_a_tag() {
        let name = digest("app", 1);
        let mut image = Inspected {
            tags: ["app:1".parse().unwrap()].into(),
            digests: [name.clone()].into(),
            made_up: [].into(),
            ours: [].into(),
            last_tag_time: crate::model::Observed::Known(None),
            descriptor: crate::model::Observed::Unknown(id(1).to_string()),
        };
        assert!(has(&image, &name));
        image.made_up.insert(name.clone());
        assert!(!has(&image, &name));
        assert!(kept_by_a_tag(&image, &[name]));
    }
}
