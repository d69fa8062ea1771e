//! Exports one image from the engine and checks whether it is whole.

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::whole::compare::compare;
use crate::cache::checks::whole::failed::{describe_damage, explain, meaning, not_found};
use crate::cache::checks::whole::read::{Unread, read};
use crate::cache::checks::whole::store::beside;
use crate::cache::checks::whole::verdict::Verdict;
use crate::engine::{EngineError, Failure, Info, Reader};
use crate::host::clock::monotonic;
use crate::model::{Image, Store};

/// `progress` is called with the bytes so far. An error means that the engine itself is gone.
pub async fn check(
    engine: &Reader,
    info: &Info,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Check, EngineError> {
    let started = monotonic();
    let facts = &info.facts;
    let (status, message) = match read(engine, image, progress).await {
        Ok(Ok(export)) => match compare(
            &export,
            &image.id,
            facts.store,
            &beside(engine, facts, image),
        ) {
            Verdict::Whole { layers, bytes } => {
                let s = if layers == 1 { "" } else { "s" };
                let seconds = started.elapsed().as_secs_f64();
                (
                    Status::Ok,
                    format!("{layers} layer{s} read and hashed, {bytes} in {seconds:.1} s"),
                )
            }
            Verdict::Broken(problems) => (Status::Broken, problems.join("; ")),
            Verdict::Unclear(why) => (Status::Unknown, why),
        },
        Ok(Err(Unread::Invalid(why))) => (Status::Unknown, why),
        Ok(Err(Unread::CutShort(export, why))) => match facts.store {
            Store::Containerd => (Status::Broken, describe_damage(facts, image, &export, why)),
            Store::Graphdriver | Store::Podman => {
                explain(engine, facts, image, Status::Broken, why).await?
            }
        },
        Err(error) if error.kind == Failure::NotFound => {
            not_found(engine, info, image, &error).await?
        }
        Err(error) => {
            let error = engine.still_there(error).await?;
            explain(engine, facts, image, meaning(&error), error.to_string()).await?
        }
    };
    Ok(Check::new(Kind::Whole, status, message).took(started.elapsed()))
}
