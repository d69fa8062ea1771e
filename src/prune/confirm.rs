//! Confirms that images whose names were dropped are gone, by the engine's answers and by
//! inspecting them. If the two contradict each other, the run ends.

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::memory::journal::SkipCause;
use crate::model::reference::Reference;
use crate::prune::changed::pulled_again;
use crate::prune::fate::{Fate, without_names};
use crate::prune::outcome::Ending;
use crate::prune::pruning::{Pruning, ToConfirm};
use crate::prune::traits::{Engine, Host};
use crate::prune::wait::TICK;

/// The reason shown when an image gained a name during its removal.
pub(super) const KEPT: &str = "something keeps it since: another name, or an image built on it";

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    pub(super) async fn confirm_dropped(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        let entries: Vec<&Entry> = self.to_confirm.iter().map(|image| image.entry).collect();
        let inspect = entries.iter().map(|entry| engine.inspect(&entry.image.id));
        let answers = self.wait_for_each(inspect).await;
        self.confirm(answers).await
    }

    /// Records what became of these images, by the answers to their inspections: all of them,
    /// even if one ends the run.
    pub(super) async fn confirm(
        &mut self,
        answers: Vec<Result<Option<Inspected>, EngineError>>,
    ) -> Result<(), Ending> {
        let mut ended = Ok(());
        for (image, answer) in std::mem::take(&mut self.to_confirm)
            .into_iter()
            .zip(answers)
        {
            ended = Ending::of_both(ended, self.confirm_one(image, answer).await);
        }
        ended
    }

    async fn confirm_one(
        &mut self,
        image: ToConfirm<'_>,
        answer: Result<Option<Inspected>, EngineError>,
    ) -> Result<(), Ending> {
        let entry = image.entry;
        if let Some(error) = &image.unclear {
            let fate = self.by_inspection(entry, error, &image.names, answer)?;
            return self.record_fate(entry, fate);
        }
        // The containerd store may keep the id of an image that it deleted. Then the id leads to
        // nothing that can be read.
        let half_gone = |error: &EngineError| image.deleted && error.kind == Failure::Nonsense;
        let answer = match answer {
            Err(error) if !half_gone(&error) => {
                let inspect = self.engine.inspect(&entry.image.id);
                match self.wait_for(inspect).await {
                    Err(again) if !half_gone(&again) => {
                        return Err(self.record_unknown(entry, format!("{error}; then: {again}")));
                    }
                    other => other,
                }
            }
            other => other,
        };
        let stays = matches!(&answer, Ok(Some(_)));
        let fate = match answer {
            Ok(None) if image.name_gone && !image.deleted => Fate::gone_already(),
            Ok(None) => Fate::Removed(None),
            // The containerd store answers that an image is gone before it is, and keeps the
            // image if somebody tags it in that moment.
            Ok(Some(seen)) if image.deleted && kept_by_a_tag(&seen, &image.names) => {
                kept(&image.names)
            }
            Ok(Some(seen)) if image.deleted => {
                if !self.was_pulled_again(&image, &seen).await {
                    self.put_back(entry, &image.untied).await?;
                    let why = "the engine said that it is gone, and still has it";
                    return Err(self.record_contradiction(entry, why.into()));
                }
                Fate::Removed(Some("it was pulled or loaded again since".into()))
            }
            Ok(Some(_)) if image.name_gone => Fate::skipped(without_names(
                "one of its names went meanwhile",
                &image.names,
            )),
            Ok(Some(seen)) if image.names.iter().any(|name| has(&seen, name)) => {
                if !self.was_pulled_again(&image, &seen).await {
                    let why = "the engine said that its name is gone, and still has it";
                    return Err(self.record_contradiction(entry, why.into()));
                }
                Fate::skipped("it was pulled again while its name was dropped")
            }
            Ok(Some(_)) => kept(&image.names),
            Err(error) => {
                let why = format!("it is gone, and its id is not: {error}");
                return Err(self.record_contradiction(entry, why));
            }
        };
        let fate = match fate {
            fate @ Fate::Skipped(..) if stays && !image.untied.is_empty() => {
                self.stay(entry, &image.untied, fate).await?
            }
            fate => fate,
        };
        self.record_fate(entry, fate)
    }

    /// Whether an image that is still there was pulled or loaded again since its names were
    /// dropped. The event may come later than the image, so the run waits for it a moment,
    /// without the locks.
    async fn was_pulled_again(&mut self, image: &ToConfirm<'_>, seen: &Inspected) -> bool {
        const TRIES: usize = 10;
        let engine = self.engine;
        for _ in 0..TRIES {
            let since = self.corrected(image.since);
            let Ok(events) = self.wait_for(engine.events(since)).await else {
                return false;
            };
            if pulled_again(image.entry, seen, &events, since) {
                return true;
            }
            self.host.let_go();
            tokio::time::sleep(TICK).await;
        }
        false
    }

    /// Records that the engine's answer about an image is not true. The run ends.
    fn record_contradiction(&mut self, entry: &Entry, why: String) -> Ending {
        match self.record_unknown(entry, why) {
            Ending::EngineLost(_) => Ending::Surprised,
            other => other,
        }
    }
}

fn kept(dropped: &[Reference]) -> Fate {
    Fate::Skipped(without_names(KEPT, dropped), Some(SkipCause::KeptMeanwhile))
}

/// A digest reference that the containerd store made up from a tag does not count.
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
