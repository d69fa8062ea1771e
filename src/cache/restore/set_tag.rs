//! Sets the tag of an image that is here, under the deploy locks: a deploy that takes them
//! cannot set it at the same moment.

use std::time::Duration;

use crate::engine::{EngineError, Leads};
use crate::exit::{Exit, Fault};
use crate::guard::{Refusal, held_locks, undisturbed};
use crate::host::clock;
use crate::host::signals::AskedToEnd;
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::survey::watch::Watch;

use crate::cache::restore::guards::Guards;

/// The locks are let go after this time, whatever the engine does.
const LONGEST_HELD: Duration = Duration::from_secs(2);

pub enum Tagged {
    Done,
    /// The tag leads to another image, which stays so.
    Elsewhere,
    Refused(Vec<Refusal>),
}

pub async fn set_tag(
    guards: &Guards<'_>,
    asked: &AskedToEnd,
    id: &ImageId,
    tag: &Reference,
) -> Result<Tagged, Fault> {
    let (reader, policy, ledger) = (guards.reader, guards.policy, guards.ledger);
    let at_work = reader.at_work(guards.info).await?;
    let mut watch = Watch::new(policy, &guards.info.facts, asked.clone());
    if let Err(sights) = watch.hold() {
        let held = held_locks(policy, clock::now(), &sights, ledger.standing());
        return Ok(Tagged::Refused(held));
    }
    let now = clock::read().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let undisturbed = match undisturbed(policy, &watch.activity(&now, ledger, at_work)) {
        Ok(undisturbed) => undisturbed,
        Err(refusals) => return Ok(Tagged::Refused(refusals)),
    };
    let tagger = reader.tagger(&undisturbed);
    let mut work = std::pin::pin!(tagger.tag(id, tag));
    let set = match tokio::time::timeout(LONGEST_HELD, &mut work).await {
        Ok(set) => set,
        Err(_) => {
            watch.let_go();
            work.await
        }
    };
    drop(watch);
    set?;
    // Also where nothing was set: somebody else may have set it to the same image.
    let leads = leads_to(guards, id, tag).await?;
    Ok(if leads {
        Tagged::Done
    } else {
        Tagged::Elsewhere
    })
}

/// Whether a name leads to this image, which is here.
pub async fn leads_to(
    guards: &Guards<'_>,
    id: &ImageId,
    name: &Reference,
) -> Result<bool, EngineError> {
    let there = guards.reader.leads(name).await? == Leads::ToAnImage;
    Ok(there && guards.reader.named(name).await.as_ref() == Some(id))
}
