//! Has the engine pull a promised image the way a deploy does, while nothing else is at
//! work. Images are not pulled that are promised by id, that were never in a registry, and
//! whose tag moved upstream without --follow.

use crate::engine::{Failure, Info, Reader};
use crate::exit::{Exit, Fault};
use crate::guard::{Refusal, Undisturbed, undisturbed};
use crate::host::clock::{monotonic, read as clock};
use crate::host::signals::AskedToEnd;
use crate::memory::ledger::Ledger;
use crate::model::Image;
use crate::model::reference::Reference;
use crate::model::secret::Credentials;
use crate::policy::Policy;
use crate::survey::watch::Watch;

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::reused::{self, Expected};
use crate::cache::promise::{Promise, Wanted};
use crate::cache::questions::{Answers, Registries};

/// The proof that nothing is at work on the images now, or all that is.
pub async fn nothing_at_work(
    reader: &Reader,
    info: &Info,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<Result<Undisturbed, Vec<Refusal>>, Fault> {
    let at_work = reader.at_work(info).await?;
    let now = clock().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))?;
    let watch = Watch::new(policy, &info.facts, AskedToEnd::default());
    Ok(undisturbed(policy, &watch.activity(&now, ledger, at_work)))
}

pub struct Redeploy<'a> {
    pub reader: &'a Reader,
    pub registries: &'a Registries,
    pub answers: &'a Answers,
    /// Pull tags that moved, too.
    pub follow: bool,
}

impl Redeploy<'_> {
    /// Pulls one promised image, or says why not.
    pub async fn pull(
        &self,
        undisturbed: &Undisturbed,
        promise: &Promise,
        image: Option<&Image>,
    ) -> Result<Check, Fault> {
        let current = self.answers.status(promise, Kind::Current);
        let refused = self.registries.refuses(&promise.wanted);
        let name = match name_to_pull(promise, image.is_some(), current, self.follow, refused) {
            Ok(name) => name,
            Err(check) => return Ok(check),
        };
        let credentials = self.registries.credentials(name);
        let auth = credentials.map(|found| found.for_engine(Registries::server(name)));
        let started = monotonic();
        let expected = if current == Some(Status::Moved) {
            Expected::NewImage
        } else {
            Expected::Nothing
        };
        let recorded = promise.recorded.as_ref();
        let recorded = recorded.and_then(|recorded| recorded.pull_milliseconds);
        let clear = |text: &str| Credentials::cleared(credentials, text);
        let puller = self.reader.puller(undisturbed);
        match puller.pull(name, auth.as_ref(), clear, |_| ()).await {
            Ok(done) => Ok(reused::check(&done, expected, started.elapsed(), recorded)),
            Err(error) => {
                if error.kind == Failure::Lost {
                    self.reader.info().await?;
                }
                Ok(Check::new(Kind::Reused, Status::Broken, error.to_string()))
            }
        }
    }
}

/// The name to pull, or why it is not pulled. `current`: what its registry said; `None`:
/// it was never in one. `refused`: the registry refuses the credentials.
fn name_to_pull(
    promise: &Promise,
    here: bool,
    current: Option<Status>,
    follow: bool,
    refused: bool,
) -> Result<&Reference, Check> {
    let not = |status, why: &str| Err(Check::new(Kind::Reused, status, why));
    let Wanted::Name(name) = &promise.wanted else {
        return not(Status::Unknown, "promised by id: a deploy pulls by name");
    };
    match current {
        None => not(
            Status::Unknown,
            "it was never pulled by this name: built, loaded or tagged here",
        ),
        Some(_) if refused => not(
            Status::Broken,
            "not pulled: its registry refuses the credentials, and may lock the account if they come again",
        ),
        Some(Status::Moved) if !follow => not(
            Status::Moved,
            "not pulled: the tag went on, and a pull would move it here, too (--follow pulls it)",
        ),
        // The registry may refuse secateur and let the engine pull.
        Some(status @ (Status::Unknown | Status::Broken)) if here => not(
            status,
            "not pulled: whether the tag went on is not known, and a pull would move it here, too",
        ),
        Some(Status::Ok | Status::Moved | Status::Unknown | Status::Broken) => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::promise::By;

    #[test]
    fn what_is_here_is_pulled_only_where_it_is_known_what_a_pull_would_do() {
        let promise = Promise {
            wanted: Wanted::Name("r.example/app:1".parse().unwrap()),
            by: vec![By::Policy],
            recorded: None,
        };
        let status = |here, current, follow| {
            name_to_pull(&promise, here, current, follow, false)
                .err()
                .map(|check| check.status)
        };
        assert_eq!(status(true, Some(Status::Ok), false), None);
        for wrong in [Status::Moved, Status::Unknown, Status::Broken] {
            assert_eq!(status(true, Some(wrong), false), Some(wrong));
        }
        assert_eq!(status(true, Some(Status::Moved), true), None);
        assert_eq!(
            status(true, Some(Status::Broken), true),
            Some(Status::Broken)
        );
        assert_eq!(status(false, Some(Status::Broken), false), None);
        assert_eq!(status(true, None, false), Some(Status::Unknown));
        // Each pull would send a wrong password once more.
        for here in [true, false] {
            let check = name_to_pull(&promise, here, Some(Status::Ok), true, true).unwrap_err();
            assert_eq!(check.status, Status::Broken);
        }
    }
}
