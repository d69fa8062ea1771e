//! Tries once to give an image the names that it lost, and finds out from the engine's events
//! which of these tags others use by now.

use crate::engine::{EngineError, Failure, ImageAction, ImageEvent, Inspected, Leads};
use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Observed};
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

pub(super) enum Given {
    All,
    /// Somebody removed the image just then. Its names led to nothing and were dropped.
    LeadsToNothing,
}

pub(super) enum GiveError {
    /// Nobody knows what became of the names.
    Lost(EngineError),
    /// The engine refused, or the names cannot be given: with the reason.
    Refused(String),
}

impl From<EngineError> for GiveError {
    fn from(error: EngineError) -> Self {
        match error.kind {
            Failure::Lost => Self::Lost(error),
            Failure::NotFound
            | Failure::Conflict
            | Failure::Status(_)
            | Failure::Permission
            | Failure::Nonsense
            | Failure::Contradiction => Self::Refused(error.to_string()),
        }
    }
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// The names that the image still lacks. A tag that somebody gave to another image since
    /// then is not among them, even if it leads nowhere now.
    pub(super) async fn missing(
        &mut self,
        image: &Image,
        untied: &Untied,
        seen: &Inspected,
    ) -> Result<Untied, EngineError> {
        let engine = self.engine;
        let mut missing = untied.missing(seen);
        if missing.tags.is_empty() {
            return Ok(missing);
        }
        // If the engine does not answer, a tag that leads nowhere is put back.
        let done = self.done_since_the_plan().await.unwrap_or_default();
        for tag in std::mem::take(&mut missing.tags) {
            match self.wait_for(engine.leads(&tag)).await? {
                // Somebody set it, even if nothing can be read there.
                Leads::ToAnImage | Leads::ToNothing => {}
                Leads::Nowhere if last_had_by_another(image, &tag, &done) => {}
                Leads::Nowhere => {
                    missing.tags.insert(tag);
                }
            }
        }
        Ok(missing)
    }

    /// Gives the missing names. A tag that somebody gave to another image just before goes back
    /// to that image, and is removed from `missing`.
    pub(super) async fn give(
        &mut self,
        image: &Image,
        seen: &Inspected,
        missing: &mut Untied,
    ) -> Result<Given, GiveError> {
        let engine = self.engine;
        if seen.ours.is_empty() {
            // Our name holds the image: names of an image that is gone would lead to nothing.
            self.wait_for(engine.name_ours(&image.id)).await?;
        }
        for tag in &missing.tags {
            self.wait_for(engine.put_back_tag(&image.id, tag)).await?;
        }
        self.return_moved_tags(image, missing).await?;
        let names: Vec<Reference> = missing.digests.iter().cloned().collect();
        let Some(name) = names.first() else {
            return Ok(Given::All);
        };
        let descriptor = match &seen.descriptor {
            Observed::Known(descriptor) => descriptor,
            Observed::Unknown(why) => return Err(GiveError::Refused(why.clone())),
        };
        self.wait_for(engine.put_back_digests(&names, descriptor))
            .await?;
        if self.wait_for(engine.leads(name)).await? != Leads::ToNothing {
            return Ok(Given::All);
        }
        // Without the locks somebody may be pulling by one of these names.
        if self.host.held_for().is_none() {
            let why = "somebody removed the image just then, and its names lead to nothing";
            return Err(GiveError::Refused(why.to_owned()));
        }
        // Ours leads to nothing as well. It goes last: while it is there, the next run tries again.
        let ours = Reference::ours(&image.id);
        for name in names.iter().chain([&ours]) {
            match self.wait_for(engine.drop_name(name)).await {
                Err(error) if error.kind != Failure::NotFound => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Given::LeadsToNothing)
    }

    /// Putting a tag back takes it from an image that somebody gave it to just before. That
    /// image gets it again.
    async fn return_moved_tags(
        &mut self,
        image: &Image,
        missing: &mut Untied,
    ) -> Result<(), GiveError> {
        if missing.tags.is_empty() {
            return Ok(());
        }
        let engine = self.engine;
        // A tag that was moved in silence would be a lost name, so this ends the run.
        let done = self.done_since_the_plan().await.map_err(|error| {
            let tags: Vec<String> = missing.tags.iter().map(Reference::familiar).collect();
            let why = format!(
                "{}; whether another image had {} just before is not known",
                error.why,
                tags.join(", ")
            );
            GiveError::Lost(EngineError { why, ..error })
        })?;
        for tag in missing.tags.clone() {
            if let Some(other) = moved_from(image, &tag, &done) {
                self.wait_for(engine.put_back_tag(&other, &tag)).await?;
                missing.tags.remove(&tag);
            }
        }
        Ok(())
    }

    async fn done_since_the_plan(&mut self) -> Result<Vec<ImageEvent>, EngineError> {
        let (engine, since) = (self.engine, self.corrected(self.plan.now()));
        self.wait_for(engine.meanwhile(since)).await
    }
}

/// Which images this tag was given to (`true`) or taken from, in this order.
fn changes_of_tag<'a>(
    tag: &'a Reference,
    done: &'a [ImageEvent],
) -> impl DoubleEndedIterator<Item = (&'a ImageId, bool)> {
    done.iter().filter_map(move |one| match &one.what {
        ImageAction::Tag(claim) if claim.name == *tag => Some((&claim.image, true)),
        ImageAction::Untag(image, Some(name)) if name == tag => Some((image, false)),
        ImageAction::Tag(_)
        | ImageAction::Untag(..)
        | ImageAction::Pull(_)
        | ImageAction::Load(_)
        | ImageAction::Delete(_) => None,
    })
}

/// Whether another image had this tag after this one, by the engine's events.
fn last_had_by_another(image: &Image, tag: &Reference, done: &[ImageEvent]) -> bool {
    let last = changes_of_tag(tag, done).next_back();
    last.is_some_and(|(had, _)| *had != image.id)
}

/// The image that had this tag just before it was last given to this one.
fn moved_from(image: &Image, tag: &Reference, done: &[ImageEvent]) -> Option<ImageId> {
    let mut last = changes_of_tag(tag, done).rev();
    let (given, before) = (last.next()?, last.next()?);
    let moved = given == (&image.id, true) && before.1 && *before.0 != image.id;
    moved.then(|| before.0.clone())
}
