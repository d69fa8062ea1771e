//! Whether the registry's digest of a name is the one that is here. Decides
//! from both alone: a pin that no longer resolves is broken, a tag that went
//! on is moved, and what could not be asked is unknown. It asks nobody.

use crate::cache::promise::{By, Promise, Wanted};
use crate::cache::registry::Upstream;
use crate::cache::{Check, Kind, Status};

/// `here`: the digests under which the image is known here, in the promised
/// repository.
pub fn judge(promise: &Promise, here: &[String], upstream: &Upstream) -> Check {
    let check = |status, message: String| Check::new(Kind::Current, status, message);
    let pinned = matches!(&promise.wanted, Wanted::Name(name) if name.is_digest());
    // A baseline holds whatever was here, builds of this host, too: there, a
    // registry that knows nothing of a name is no broken promise.
    let only_seen = promise.by == By::Baseline;
    match upstream {
        Upstream::Digest(_) if pinned => {
            check(Status::Ok, "the registry still has this digest".into())
        }
        Upstream::Digest(digest) if here.iter().any(|ours| ours == digest) => check(
            Status::Ok,
            format!("the registry has the same digest, {}", short(digest)),
        ),
        Upstream::Digest(digest) if here.is_empty() => check(
            Status::Unknown,
            format!(
                "it is not here to be compared; upstream it is {}",
                short(digest)
            ),
        ),
        Upstream::Digest(digest) => {
            let ours = here.first().map_or("another", |ours| short(ours));
            let message = format!("the tag went on: {} upstream, {ours} here", short(digest));
            check(Status::Moved, message)
        }
        Upstream::Gone if only_seen => check(
            Status::Unknown,
            "the registry does not have it; built here?".into(),
        ),
        Upstream::Gone if pinned => check(
            Status::Broken,
            "the registry has this digest no more: what is here cannot be pulled again".into(),
        ),
        Upstream::Gone => check(
            Status::Broken,
            "the registry has no such tag: a pull would fail".into(),
        ),
        Upstream::Denied(status) if only_seen => check(
            Status::Unknown,
            format!("the registry does not let us ask ({status}); built here?"),
        ),
        Upstream::Denied(status) => check(
            Status::Broken,
            format!("the registry does not let us ask for it ({status}): a pull would fail"),
        ),
        Upstream::Limited => check(
            Status::Unknown,
            "the registry says: too many requests (429)".into(),
        ),
        Upstream::NoManifest(what) => check(
            Status::Unknown,
            format!("the registry gives no manifest: {what}"),
        ),
        Upstream::Unknown(why) | Upstream::Silent(why) => check(
            Status::Unknown,
            format!("the registry cannot be asked: {why}"),
        ),
    }
}

/// As much of a digest as tells it from others.
pub fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(name: &str, by: By) -> Promise {
        Promise {
            wanted: Wanted::Name(name.parse().unwrap()),
            by,
            recorded: None,
        }
    }

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    #[test]
    fn a_tag_is_current_moved_or_gone() {
        let tag = promise("r.example/app:1", By::Policy);
        let judged = |upstream| judge(&tag, &[digest(1)], &upstream).status;
        assert_eq!(judged(Upstream::Digest(digest(1))), Status::Ok);
        assert_eq!(judged(Upstream::Digest(digest(2))), Status::Moved);
        assert_eq!(judged(Upstream::Gone), Status::Broken);
        assert_eq!(judged(Upstream::Denied(403)), Status::Broken);
        assert_eq!(judged(Upstream::Limited), Status::Unknown);
        assert_eq!(judged(Upstream::NoManifest("x".into())), Status::Unknown);
        assert_eq!(judged(Upstream::Silent("x".into())), Status::Unknown);
        assert_eq!(judged(Upstream::Unknown("x".into())), Status::Unknown);
    }

    #[test]
    fn a_pin_resolves_or_is_broken() {
        let pin = promise(&format!("r.example/app@{}", digest(1)), By::Argument);
        assert_eq!(
            judge(&pin, &[], &Upstream::Digest(digest(1))).status,
            Status::Ok
        );
        assert_eq!(judge(&pin, &[], &Upstream::Gone).status, Status::Broken);
    }

    #[test]
    fn what_a_baseline_merely_saw_need_not_be_in_a_registry() {
        let seen = promise("app:1", By::Baseline);
        assert_eq!(judge(&seen, &[], &Upstream::Gone).status, Status::Unknown);
        assert_eq!(
            judge(&seen, &[], &Upstream::Denied(401)).status,
            Status::Unknown
        );
    }
}
