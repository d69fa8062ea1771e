//! Whether a registry accepts the credentials of the deploying user. No credentials, refused
//! credentials, a missing helper and an unreachable registry have different answers.

use std::collections::BTreeMap;

use crate::cache::check::{Check, Kind, Status};
use crate::cache::credentials::Lookup;
use crate::cache::registry::{Admission, Upstream};
use crate::model::Store;

/// The admission of each repository, by its path, from the answers for its images. Empty if the
/// registry alone decides. `logged_in`: there are credentials for the registry.
pub fn repositories<'a>(
    registry: &Admission,
    answers: impl Iterator<Item = (&'a str, &'a Upstream)>,
    store: Store,
    logged_in: bool,
) -> BTreeMap<&'a str, Admission> {
    if !is_per_repository(registry) {
        return BTreeMap::new();
    }
    let redirect = match registry {
        Admission::Redirected { host, asks: true } if logged_in => Some(host),
        _ => None,
    };
    // A graphdriver engine sends its credentials to the host that /v2/ redirects to, a containerd
    // store only to the registry's own host [T].
    let sent_on = redirect.filter(|_| store == Store::Graphdriver);
    let never_sent = matches!(registry, Admission::Open | Admission::NotARegistry(_));
    // The last one of a path is kept: a denial counts most, no answer least.
    let mut ranked: Vec<(u8, &str, Admission)> = answers
        .map(|(path, upstream)| match upstream {
            Upstream::Digest(_) | Upstream::Gone | Upstream::Denied(_) if sent_on.is_some() => {
                let host = sent_on.cloned().unwrap_or_default();
                (3, path, Admission::NotTried(host))
            }
            Upstream::Denied(_) if never_sent && store == Store::Graphdriver => {
                (3, path, Admission::NeverSent)
            }
            Upstream::Denied(_) => match redirect {
                Some(host) => (3, path, Admission::NotForwarded(host.clone())),
                None => (3, path, Admission::Required),
            },
            Upstream::Digest(_) => {
                let odd = matches!(registry, Admission::NotARegistry(_));
                let admission = if odd {
                    Admission::Open
                } else {
                    registry.clone()
                };
                (2, path, admission)
            }
            Upstream::Gone => (1, path, Admission::Hidden),
            Upstream::NoManifest(what) => (0, path, Admission::NotARegistry(what.clone())),
            Upstream::Limited => (
                0,
                path,
                Admission::Unreachable("too many requests (429)".into()),
            ),
            Upstream::Unknown(why) | Upstream::TimedOut(why) => {
                (0, path, Admission::Unreachable(why.clone()))
            }
        })
        .collect();
    ranked.sort_by_key(|(rank, ..)| *rank);
    let admissions = ranked
        .into_iter()
        .map(|(_, path, admission)| (path, admission));
    admissions.collect()
}

/// Whether access is decided for each repository, so that each must be asked.
pub fn is_per_repository(registry: &Admission) -> bool {
    match registry {
        Admission::Open
        | Admission::Anonymous
        | Admission::Redirected { .. }
        | Admission::NotARegistry(_) => true,
        Admission::Accepted
        | Admission::NotTried(_)
        | Admission::NotForwarded(_)
        | Admission::Hidden
        | Admission::Refused(_)
        | Admission::Required
        | Admission::NeverSent
        | Admission::NotAsked(_)
        | Admission::Unreachable(_) => false,
    }
}

/// Why docker's lookup failed. Docker then continues without credentials.
fn fault(found: &Lookup) -> Option<String> {
    match found {
        Lookup::HelperMissing(program, places) => Some(format!(
            "the credential helper {program} is missing: it is not in {places}; install it there, or take it out of config.json"
        )),
        Lookup::HelperFailed(why) => Some(format!("the credential helper failed: {why}")),
        Lookup::Unreadable(why) => Some(format!("docker's configuration cannot be used: {why}")),
        Lookup::Found(..) | Lookup::None(_) | Lookup::NotTried(_) => None,
    }
}

/// The source of the credentials, in words.
fn source(found: &Lookup) -> String {
    match found {
        Lookup::Found(_, from) => format!("the credentials of {from}"),
        Lookup::None(why) => format!("no credentials found ({why})"),
        Lookup::HelperMissing(..)
        | Lookup::HelperFailed(_)
        | Lookup::Unreadable(_)
        | Lookup::NotTried(_) => String::new(),
    }
}

/// The check of one registry, or of one of its repositories.
pub fn check(registry: &str, found: &Lookup, admission: &Admission) -> Check {
    let answer = |status, message: String| Check::new(Kind::Authenticated, status, message);
    if let Lookup::NotTried(why) = found {
        return answer(
            Status::Unknown,
            format!("{registry}: credentials were not tried: {why}"),
        );
    }
    if let Some(why) = fault(found) {
        return match admission {
            Admission::Open | Admission::Anonymous | Admission::Redirected { .. } => answer(
                Status::Ok,
                format!("{registry}: {why}; it answers for this repository without credentials"),
            ),
            Admission::Hidden => answer(
                Status::Unknown,
                format!(
                    "{registry}: {why}; without credentials it has nothing of that name (404), or hides it"
                ),
            ),
            _ => answer(Status::Broken, format!("{registry}: {why}")),
        };
    }
    let from = source(found);
    match admission {
        Admission::Open => answer(
            Status::Ok,
            format!("{registry} lets everybody in, and answers for this repository"),
        ),
        Admission::Accepted => answer(Status::Ok, format!("{registry} takes {from}")),
        Admission::Anonymous => answer(
            Status::Ok,
            format!("{registry}: {from}; it serves public images to everybody"),
        ),
        Admission::Redirected { host, .. } => answer(
            Status::Ok,
            format!(
                "{registry} sends on to {host}, which answers for this repository; no credentials were tried"
            ),
        ),
        Admission::NotTried(host) => answer(
            Status::Unknown,
            format!(
                "{registry} sends on to {host}, which asks for credentials of its own: this engine gives it {from}, but secateur gives them to {registry} alone, so they were not tried"
            ),
        ),
        Admission::NotForwarded(host) => answer(
            Status::Broken,
            format!(
                "{registry} sends on to {host}, which wants credentials: this engine gives {from} to {registry} alone"
            ),
        ),
        Admission::NotAsked(why) => {
            answer(Status::Unknown, format!("{registry} was not asked: {why}"))
        }
        Admission::Hidden => answer(
            Status::Unknown,
            format!(
                "{registry} was asked without credentials, and has nothing of that name (404), or hides it from whom it does not know; {}",
                match found {
                    Lookup::Found(..) => format!("it did not ask for {from}"),
                    _ => from,
                }
            ),
        ),
        Admission::Refused(status) => answer(
            Status::Broken,
            format!("{registry} refuses {from} ({status}): log in again as the user that deploys"),
        ),
        Admission::Required if matches!(found, Lookup::Found(..)) => answer(
            Status::Broken,
            format!(
                "{registry} refuses {from} for this repository: log in as a user that may read it"
            ),
        ),
        Admission::NeverSent => answer(
            Status::Broken,
            format!(
                "{registry} wants credentials for this repository, but its /v2/ asks for none, so this engine sends no credentials (one with the containerd store would)"
            ),
        ),
        Admission::Required => answer(
            Status::Broken,
            format!(
                "{registry}: {from}, and it wants some: log in as the user that deploys, or name that user's docker folder with --user-config"
            ),
        ),
        Admission::Unreachable(why) => answer(
            Status::Unknown,
            format!("{registry} cannot be reached: {why}"),
        ),
        Admission::NotARegistry(what) => answer(
            Status::Unknown,
            format!("{registry} does not answer as a registry: {what}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::{Credentials, Secret};

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
                check("r", &none, &Admission::Required),
                Status::Broken,
                "no credentials found",
            ),
            (
                check("r", &found(), &Admission::Refused(401)),
                Status::Broken,
                "refuses",
            ),
            (
                check(
                    "r",
                    &Lookup::HelperMissing("docker-credential-x".into(), "/bin".into()),
                    &Admission::Required,
                ),
                Status::Broken,
                "is missing",
            ),
            (
                check(
                    "r",
                    &Lookup::HelperFailed("x failed".into()),
                    &Admission::Required,
                ),
                Status::Broken,
                "helper failed",
            ),
            (
                check("r", &found(), &Admission::Unreachable("refused".into())),
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
        for admission in [Admission::Open, Admission::Accepted, Admission::Anonymous] {
            assert_eq!(check("r", &found(), &admission).status, Status::Ok);
        }
    }

    #[test]
    fn a_404_to_whom_gives_no_credentials_authenticates_nobody() {
        let digest = Upstream::Digest("sha256:1".into());
        let [gone, both] = [vec![("a", &Upstream::Gone)], {
            vec![("a", &digest), ("a", &Upstream::Gone)]
        }];
        for registry in [Admission::Open, Admission::Anonymous] {
            let of = |said: &Vec<(&'static str, &Upstream)>| {
                let said = said.iter().copied();
                repositories(&registry, said, Store::Containerd, false)["a"].clone()
            };
            assert_eq!(of(&gone), Admission::Hidden);
            // Another image of the repository shows that it is open to everybody.
            assert_eq!(of(&both), registry);
        }
        let none = Lookup::None("config.json has none".into());
        let missing = Lookup::HelperMissing("docker-credential-x".into(), "/bin".into());
        for found in [found(), none, missing] {
            let check = check("r", &found, &Admission::Hidden);
            assert_eq!(check.status, Status::Unknown, "{}", check.message);
            assert!(check.message.contains("(404)"), "{}", check.message);
        }
    }

    #[test]
    fn without_a_helper_docker_goes_on_without_credentials() {
        let missing = Lookup::HelperMissing("docker-credential-x".into(), "/bin".into());
        let unreadable = Lookup::Unreadable("it does not read".into());
        for found in [missing, unreadable] {
            let open = check("r", &found, &Admission::Anonymous);
            assert_eq!(open.status, Status::Ok, "{}", open.message);
            assert!(
                open.message.contains("without credentials"),
                "{}",
                open.message
            );
            for admission in [Admission::Required, Admission::Unreachable("x".into())] {
                assert_eq!(check("r", &found, &admission).status, Status::Broken);
            }
        }
    }

    #[test]
    fn what_docker_may_find_and_we_did_not_look_for_is_neither_a_fault_nor_a_pass() {
        let found = Lookup::NotTried("refusing to trust \"/x\"".into());
        // Docker may send a password that the registry refuses, even for a public image.
        for admission in [
            Admission::Required,
            Admission::NeverSent,
            Admission::Anonymous,
        ] {
            assert_eq!(check("r", &found, &admission).status, Status::Unknown);
        }
    }
}
