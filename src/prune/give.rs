//! Gives an image one set of names that it lost, and finds out what others did meanwhile.

use crate::engine::{Did, EngineError, Failure, Inspected, Leads, Meanwhile};
use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Observed};
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

/// What came of giving names.
pub(super) enum Given {
    All,
    /// Somebody removed the image just then.
    ToNothing,
}

/// Why a name is not back.
pub(super) enum NotBack {
    /// The engine is lost.
    Lost(EngineError),
    /// It says no, or the name is not there all the same.
    Refused(String),
}

impl From<EngineError> for NotBack {
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
    /// What the image still lacks. A tag that somebody gave to another image since is that
    /// one's, also where it leads nowhere by now.
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
        let done = self.done_since_the_plan().await;
        for tag in std::mem::take(&mut missing.tags) {
            match self.patiently(engine.leads(&tag)).await? {
                // What leads to nothing that can be read is somebody's all the same.
                Leads::ToAnImage | Leads::ToNothing => {}
                Leads::Nowhere if last_had_by_another(image, &tag, &done) => {}
                Leads::Nowhere => {
                    missing.tags.insert(tag);
                }
            }
        }
        Ok(missing)
    }

    /// Gives what is missing. A tag that somebody set meanwhile is theirs, and is not missing
    /// any more.
    pub(super) async fn give(
        &mut self,
        image: &Image,
        seen: &Inspected,
        missing: &mut Untied,
    ) -> Result<Given, NotBack> {
        let engine = self.engine;
        if seen.ours.is_empty() {
            // It holds the image: names of an image that is gone would lead to nothing.
            self.patiently(engine.name_ours(&image.id)).await?;
        }
        for tag in &missing.tags {
            self.patiently(engine.put_back_tag(&image.id, tag)).await?;
        }
        self.return_what_was_moved(image, missing).await?;
        let names: Vec<Reference> = missing.digests.iter().cloned().collect();
        let Some(name) = names.first() else {
            return Ok(Given::All);
        };
        let descriptor = match &seen.descriptor {
            Observed::Known(descriptor) => descriptor,
            Observed::Unknown(why) => return Err(NotBack::Refused(why.clone())),
        };
        self.patiently(engine.put_back_digests(&names, descriptor))
            .await?;
        if self.patiently(engine.leads(name)).await? != Leads::ToNothing {
            return Ok(Given::All);
        }
        // Without the locks somebody may be pulling by one of these names.
        if self.host.held_for().is_none() {
            let why = "somebody removed the image just then, and its names lead to nothing";
            return Err(NotBack::Refused(why.to_owned()));
        }
        for name in &names {
            match self.patiently(engine.drop_name(name)).await {
                Err(error) if error.kind != Failure::NotFound => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Given::ToNothing)
    }

    /// The engine moves a tag from whatever has it. What had one in the moment before it was
    /// put back has it again.
    async fn return_what_was_moved(
        &mut self,
        image: &Image,
        missing: &mut Untied,
    ) -> Result<(), EngineError> {
        if missing.tags.is_empty() {
            return Ok(());
        }
        let engine = self.engine;
        let done = self.done_since_the_plan().await;
        for tag in missing.tags.clone() {
            if let Some(other) = moved_from(image, &tag, &done) {
                self.patiently(engine.put_back_tag(&other, &tag)).await?;
                missing.tags.remove(&tag);
            }
        }
        Ok(())
    }

    /// Nothing where the engine does not tell: a name that leads nowhere is put back then.
    async fn done_since_the_plan(&mut self) -> Vec<Meanwhile> {
        let (engine, now) = (self.engine, self.host.now());
        let steady = self.host.elapsed();
        let since = self.set_back.before(self.plan.now(), now, steady);
        let done = self.patiently(engine.meanwhile(since)).await;
        done.unwrap_or_default()
    }
}

/// Which images this tag was given to (`true`) or taken from, in this order.
fn about<'a>(
    tag: &'a Reference,
    done: &'a [Meanwhile],
) -> impl DoubleEndedIterator<Item = (&'a ImageId, bool)> {
    done.iter().filter_map(move |one| match &one.what {
        Did::Tag(claim) if claim.name == *tag => Some((&claim.image, true)),
        Did::Untag(image, Some(name)) if name == tag => Some((image, false)),
        Did::Tag(_) | Did::Untag(..) | Did::Pull(_) | Did::Load(_) | Did::Delete(_) => None,
    })
}

/// Whether another image had this tag after this one, as far as is told.
fn last_had_by_another(image: &Image, tag: &Reference, done: &[Meanwhile]) -> bool {
    let last = about(tag, done).next_back();
    last.is_some_and(|(had, _)| *had != image.id)
}

/// The image that had this tag when it was given to this one last.
fn moved_from(image: &Image, tag: &Reference, done: &[Meanwhile]) -> Option<ImageId> {
    let mut last = about(tag, done).rev();
    let (given, before) = (last.next()?, last.next()?);
    let moved = given == (&image.id, true) && before.1 && *before.0 != image.id;
    moved.then(|| before.0.clone())
}
