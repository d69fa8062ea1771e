//! Lets the engine pull a promised image as a deploy does, while nothing else works on the
//! images. It does not pull images that are promised by id, were never in a registry, or whose
//! tag moved upstream without --follow.

use crate::engine::{Amount, Info, Reader};
use crate::exit::Fault;
use crate::guard::{Activity, Refusal, Undisturbed, undisturbed};
use crate::host::clock::{monotonic, read as clock};
use crate::host::signals::EndRequest;
use crate::memory::ledger::Ledger;
use crate::model::Image;
use crate::model::reference::Reference;
use crate::policy::Policy;
use crate::survey::watch::Watch;

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::reused::{self, Expected};
use crate::cache::promise::{Promise, Wanted};
use crate::cache::pull::pull;
use crate::cache::questions::{Answers, Registries};

/// Proof that nothing works on the images now, or all activity that was found. Waits for a deploy
/// that holds its lock only for a moment.
pub async fn nothing_at_work(
    reader: &Reader,
    info: &Info,
    policy: &Policy,
    ledger: &Ledger,
) -> Result<Result<Undisturbed, Vec<Refusal>>, Fault> {
    let watch = Watch::new(policy, &info.facts, EndRequest::default());
    let at_work = reader.at_work(info).await?;
    let mut activity = watch.activity(&clock()?, ledger, at_work);
    if watch
        .wait_for_locks(std::slice::from_mut(&mut activity))
        .await
    {
        // That deploy may have started something meanwhile.
        let at_work = reader.at_work(info).await?;
        activity = Activity {
            locks: activity.locks,
            ..watch.activity(&clock()?, ledger, at_work)
        };
    }
    Ok(undisturbed(policy, &activity))
}

pub struct Redeploy<'a> {
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub policy: &'a Policy,
    pub ledger: &'a Ledger,
    pub registries: &'a Registries,
    pub answers: &'a Answers,
    /// Pull even tags that moved.
    pub follow: bool,
}

impl Redeploy<'_> {
    /// Pulls one promised image, or reports why not. Checks the host anew each time, because a
    /// deploy may have started. `on_amount` is called with the progress.
    pub async fn pull(
        &self,
        promise: &Promise,
        image: Option<&Image>,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<Check, Fault> {
        let asked = nothing_at_work(self.reader, self.info, self.policy, self.ledger);
        let undisturbed = match asked.await? {
            Ok(undisturbed) => undisturbed,
            Err(refusals) => {
                let why = refusals.first().map(Refusal::message).unwrap_or_default();
                let why = format!("not pulled: {why}");
                return Ok(Check::new(Kind::Reused, Status::Unknown, why));
            }
        };
        let current = self.answers.status(promise, Kind::Current);
        let refused = self.registries.refuses(&promise.wanted);
        let name = match name_to_pull(promise, image.is_some(), current, self.follow, refused) {
            Ok(name) => name,
            Err(check) => return Ok(check),
        };
        let started = monotonic();
        let expected = if current == Some(Status::Moved) {
            Expected::NewImage
        } else {
            Expected::Nothing
        };
        let recorded = promise.recorded.as_ref();
        let recorded = recorded.and_then(|recorded| recorded.pull_milliseconds);
        let tell = |now| {
            on_amount(now);
            Ok::<_, Fault>(())
        };
        let host = (self.reader, self.registries);
        Ok(match pull(host, &undisturbed, name, tell).await? {
            Ok(pulled) => reused::check(&pulled, expected, started.elapsed(), recorded),
            Err(why) => Check::new(Kind::Reused, Status::Broken, why),
        })
    }
}

/// The name to pull, or the check that says why not. `current`: the registry's answer; `None` if
/// the image was never in one. `refused`: the registry refuses the credentials.
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
        // A registry that refuses secateur may still let the engine pull.
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
        // Each pull would send the wrong password again.
        for here in [true, false] {
            let check = name_to_pull(&promise, here, Some(Status::Ok), true, true).unwrap_err();
            assert_eq!(check.status, Status::Broken);
        }
    }
}
