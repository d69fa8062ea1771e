//! Whether the deploying user gets in at a registry. Decides from what was
//! found (credentials, none, a helper that fails) and from what the registry
//! said, so that four faults read as four: none found, refused, helper
//! missing, registry unreachable. It looks nothing up itself.

use std::collections::BTreeMap;

use super::helper::Lookup;
use super::registry::{Entry, Upstream};
use super::{Check, Kind, Status};
use crate::model::Store;

/// What the answers for its images say of each repository, by its path, where the
/// registry leaves it to each.
pub fn repositories<'a>(
    registry: Option<&Entry>,
    answers: impl Iterator<Item = (&'a str, &'a Upstream)>,
    store: Store,
) -> BTreeMap<&'a str, Entry> {
    let Some(registry @ (Entry::Open | Entry::Anonymous)) = registry else {
        return BTreeMap::new();
    };
    // The last stands: a denial says most, no answer least.
    let mut ranked: Vec<(u8, &str, Entry)> = answers
        .map(|(path, upstream)| match upstream {
            Upstream::Denied(_) if *registry == Entry::Open && store == Store::Graphdriver => {
                (2, path, Entry::NeverSent)
            }
            Upstream::Denied(_) => (2, path, Entry::Wanted),
            Upstream::Digest(_) | Upstream::Gone => (1, path, registry.clone()),
            Upstream::Limited => (
                0,
                path,
                Entry::Unreachable("too many requests (429)".into()),
            ),
            Upstream::Unknown(why) => (0, path, Entry::Unreachable(why.clone())),
        })
        .collect();
    ranked.sort_by_key(|(rank, ..)| *rank);
    let entries = ranked.into_iter().map(|(_, path, entry)| (path, entry));
    entries.collect()
}

/// The answer for one registry, or for a repository of it. `entry` is `None` where
/// there was nothing to ask it with.
pub fn judge(registry: &str, found: &Lookup, entry: Option<&Entry>) -> Check {
    let check = |status, message: String| Check::new(Kind::Authenticated, status, message);
    match found {
        Lookup::HelperMissing(program) => {
            let why = format!(
                "{registry}: the credential helper {program} is missing: install it, or take it out of config.json"
            );
            return check(Status::Broken, why);
        }
        Lookup::HelperFailed(why) => {
            let why = format!("{registry}: the credential helper failed: {why}");
            return check(Status::Broken, why);
        }
        Lookup::Unreadable(why) => {
            let why = format!("{registry}: docker's configuration cannot be used: {why}");
            return check(Status::Broken, why);
        }
        Lookup::Found(..) | Lookup::None(_) => {}
    }
    let from = match found {
        Lookup::Found(_, from) => format!("the credentials of {from}"),
        Lookup::None(why) => format!("no credentials found ({why})"),
        Lookup::HelperMissing(_) | Lookup::HelperFailed(_) | Lookup::Unreadable(_) => String::new(),
    };
    match entry {
        None => check(Status::Unknown, format!("{registry}: it was not asked")),
        Some(Entry::Open) => check(
            Status::Ok,
            format!("{registry} lets everybody in, and answers for this repository"),
        ),
        Some(Entry::Taken) => check(Status::Ok, format!("{registry} takes {from}")),
        Some(Entry::Anonymous) => check(
            Status::Ok,
            format!("{registry}: {from}; it serves public images to everybody"),
        ),
        Some(Entry::Refused(status)) => check(
            Status::Broken,
            format!("{registry} refuses {from} ({status}): log in again as the user that deploys"),
        ),
        Some(Entry::Wanted) if matches!(found, Lookup::Found(..)) => check(
            Status::Broken,
            format!(
                "{registry} refuses {from} for this repository: log in as a user that may read it"
            ),
        ),
        Some(Entry::NeverSent) => check(
            Status::Broken,
            format!(
                "{registry} wants credentials for this repository, but its /v2/ asks for none, so this engine sends no credentials (one with the containerd store would)"
            ),
        ),
        Some(Entry::Wanted) => check(
            Status::Broken,
            format!(
                "{registry}: {from}, and it wants some: log in as the user that deploys, or name that user's docker folder with --user-config"
            ),
        ),
        Some(Entry::Unreachable(why)) => check(
            Status::Unknown,
            format!("{registry} cannot be reached: {why}"),
        ),
        Some(Entry::Odd(what)) => check(
            Status::Unknown,
            format!("{registry} does not answer as a registry: {what}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credentials, Secret};

    fn found() -> Lookup {
        let login = Credentials::Login {
            user: "me".into(),
            password: Secret::new("hunter2"),
        };
        Lookup::Found(login, "config.json".into())
    }

    #[test]
    fn four_faults_read_as_four() {
        let none = Lookup::None("config.json has none".into());
        let cases = [
            (
                judge("r", &none, Some(&Entry::Wanted)),
                Status::Broken,
                "no credentials found",
            ),
            (
                judge("r", &found(), Some(&Entry::Refused(401))),
                Status::Broken,
                "refuses",
            ),
            (
                judge(
                    "r",
                    &Lookup::HelperMissing("docker-credential-x".into()),
                    None,
                ),
                Status::Broken,
                "is missing",
            ),
            (
                judge("r", &Lookup::HelperFailed("x failed".into()), None),
                Status::Broken,
                "helper failed",
            ),
            (
                judge("r", &found(), Some(&Entry::Unreachable("refused".into()))),
                Status::Unknown,
                "cannot be reached",
            ),
        ];
        for (check, status, words) in &cases {
            assert_eq!(check.status, *status, "{}", check.message);
            assert!(check.message.contains(words), "{}", check.message);
            let others = cases
                .iter()
                .filter(|(other, ..)| other.message.contains(words));
            assert_eq!(others.count(), 1, "{words} says only one of them");
            assert!(!check.message.contains("hunter2"));
        }
    }

    #[test]
    fn a_registry_that_takes_them_or_wants_none_is_fine() {
        for entry in [Entry::Open, Entry::Taken, Entry::Anonymous] {
            assert_eq!(judge("r", &found(), Some(&entry)).status, Status::Ok);
        }
    }
}
