//! Sets the tag of an image that is here, under the deploy locks, so that no deploy sets it at
//! the same time.

use std::time::Duration;

use crate::engine::{EngineError, Failure, Leads};
use crate::exit::Fault;
use crate::guard::{Refusal, held_locks, undisturbed};
use crate::host::clock;
use crate::host::signals::EndRequest;
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::survey::watch::{Wait, Watch};

use crate::cache::restore::guards::Guards;

/// The locks are released after this time, whatever the engine does.
const LONGEST_HELD: Duration = Duration::from_secs(2);

pub enum Tagged {
    Done,
    /// The tag leads to another image, and is not moved.
    Elsewhere,
    Refused(Vec<Refusal>),
    /// Why the engine does not set it, fit to print.
    Failed(String),
}

pub async fn set_tag(
    guards: &Guards<'_>,
    asked: &EndRequest,
    id: &ImageId,
    tag: &Reference,
) -> Result<Tagged, Fault> {
    let (reader, policy, ledger) = (guards.reader, guards.policy, guards.ledger);
    let mut watch = Watch::new(policy, &guards.info.facts, asked.clone());
    let mut wait = Wait::default();
    let at_work = loop {
        // Asked again each time: a deploy that held a lock may have started something.
        let at_work = reader.at_work(guards.info).await?;
        let Err(readings) = watch.hold() else {
            break at_work;
        };
        let held = held_locks(policy, clock::now(), &readings, ledger.causes_since());
        if asked.is() || !wait.goes_on(&held).await {
            return Ok(Tagged::Refused(held));
        }
    };
    let now = clock::read()?;
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
    match set {
        Err(error) if error.kind != Failure::Lost => return Ok(Tagged::Failed(error.to_string())),
        set => set?,
    };
    // Checked even if nothing was set: somebody else may have set it to the same image.
    let leads = leads_to(guards, id, tag).await?;
    Ok(if leads {
        Tagged::Done
    } else {
        Tagged::Elsewhere
    })
}

/// Whether a name leads to this image.
pub async fn leads_to(
    guards: &Guards<'_>,
    id: &ImageId,
    name: &Reference,
) -> Result<bool, EngineError> {
    let there = guards.reader.leads(name).await? == Leads::ToAnImage;
    Ok(there && guards.reader.named(name).await.as_ref() == Some(id))
}
