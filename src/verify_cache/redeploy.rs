//! Has the engine pull a promised image the way a deploy does. Decides which
//! images are not pulled (promised by id, never in a registry, moved upstream
//! without --follow); what a pull shows is judged by [`super::reused`]. Only
//! while nothing else is at work.

use std::sync::Arc;

use crate::engine::{End, Failure, Info, Reader};
use crate::exit::{Exit, Fault};
use crate::guards::{Refusal, Undisturbed, undisturbed};
use crate::host::clock::{monotonic, read as clock};
use crate::ledger::Ledger;
use crate::model::Image;
use crate::policy::Policy;
use crate::survey;
use crate::watch::Watch;

use super::ask::{Answers, Registries};
use super::promise::{Promise, Wanted};
use super::reused::{self, Before};
use super::{Check, Kind, Status};

/// Everything that is at work on the images now, or the proof that nothing is.
pub async fn look_around(
    reader: &Reader,
    info: &Info,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<Result<Undisturbed, Vec<Refusal>>, Fault> {
    let at_work = reader
        .at_work(info)
        .await
        .map_err(|error| survey::engine_fault(&error))?;
    let now = clock().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let watch = Watch::new(policy, &info.facts, Arc::default());
    Ok(undisturbed(policy, &watch.look(&now, ledger, at_work)))
}

/// One deploy's pull.
pub struct Redeploy<'a> {
    /// The engine.
    pub reader: &'a Reader,
    /// Where credentials are from.
    pub registries: &'a Registries,
    /// What the registries said.
    pub answers: &'a Answers,
    /// A tag that went on is pulled, too.
    pub follow: bool,
}

impl Redeploy<'_> {
    /// Pulls one promise, or says why not.
    pub async fn one(
        &self,
        undisturbed: &Undisturbed,
        promise: &Promise,
        image: Option<&Image>,
    ) -> Result<Check, Fault> {
        let not = |why: &str| Ok(Check::new(Kind::Reused, Status::Unknown, why));
        let Wanted::Name(name) = &promise.wanted else {
            return not("promised by id: a deploy pulls by name");
        };
        if self.answers.is_local(promise) {
            return not("it was never pulled: built or loaded here");
        }
        let moved = self.answers.status(promise, Kind::Current) == Some(Status::Moved);
        if moved && !self.follow {
            let why = "not pulled: the tag went on, and a pull would move it here, too (--follow pulls it)";
            return Ok(Check::new(Kind::Reused, Status::Moved, why));
        }
        if image.is_some()
            && !moved
            && self.answers.status(promise, Kind::Current) == Some(Status::Unknown)
        {
            return not(
                "not pulled: whether the tag went on is not known, and a pull would move it here, too",
            );
        }
        let credentials = self.registries.credentials(name);
        let auth = credentials.map(|found| found.for_engine(Registries::server(name)));
        let started = monotonic();
        let before = if moved { Before::Moved } else { Before::Same };
        let first = promise
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.pull_milliseconds);
        match self
            .reader
            .puller(undisturbed)
            .pull(name, auth.as_ref())
            .await
        {
            Ok(mut seen) => {
                if let (End::Error(why), Some(secret)) = (&seen.end, credentials) {
                    seen.end = End::Error(secret.redact(why));
                }
                Ok(reused::judge(&seen, before, started.elapsed(), first))
            }
            Err(error) => {
                if error.kind == Failure::Lost {
                    self.reader
                        .info()
                        .await
                        .map_err(|error| survey::engine_fault(&error))?;
                }
                let why = error.to_string();
                let why = credentials.map_or(why.clone(), |secret| secret.redact(&why));
                Ok(Check::new(Kind::Reused, Status::Broken, why))
            }
        }
    }
}
