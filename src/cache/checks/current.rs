//! Whether the registry still has the digest that is here. A digest that the registry no longer
//! has is broken, a tag that leads elsewhere is moved, and a registry that cannot be asked is
//! unknown.

use crate::cache::check::{Check, Kind, Status};
use crate::cache::promise::{Promise, Wanted};
use crate::cache::registry::Upstream;

/// `here`: the digests of the image in the promised repository.
pub fn check(promise: &Promise, here: &[String], upstream: &Upstream) -> Check {
    let answer = |status, message: String| Check::new(Kind::Current, status, message);
    let pinned = matches!(&promise.wanted, Wanted::Name(name) if name.is_digest());
    // An image that was built here breaks no promise if the registry lacks it.
    let only_seen = promise.only_seen();
    match upstream {
        Upstream::Digest(_) if pinned => {
            answer(Status::Ok, "the registry still has this digest".into())
        }
        Upstream::Digest(digest) if here.iter().any(|ours| ours == digest) => answer(
            Status::Ok,
            format!("the registry has the same digest, {}", short(digest)),
        ),
        Upstream::Digest(digest) if here.is_empty() => answer(
            Status::Unknown,
            format!(
                "it is not here to be compared; upstream it is {}",
                short(digest)
            ),
        ),
        Upstream::Digest(digest) => {
            let ours = here.first().map_or("another", |ours| short(ours));
            let message = format!("the tag went on: {} upstream, {ours} here", short(digest));
            answer(Status::Moved, message)
        }
        Upstream::Gone if only_seen => answer(
            Status::Unknown,
            "the registry does not have it; built here?".into(),
        ),
        Upstream::Gone if pinned => answer(
            Status::Broken,
            "the registry has this digest no more: what is here cannot be pulled again".into(),
        ),
        Upstream::Gone => answer(
            Status::Broken,
            "the registry has no such tag: a pull would fail".into(),
        ),
        Upstream::Denied(status) if only_seen => answer(
            Status::Unknown,
            format!("the registry does not let us ask ({status}); built here?"),
        ),
        Upstream::Denied(status) => answer(
            Status::Broken,
            format!("the registry does not let us ask for it ({status}): a pull would fail"),
        ),
        Upstream::Limited => answer(
            Status::Unknown,
            "the registry says: too many requests (429)".into(),
        ),
        Upstream::NoManifest(what) => answer(
            Status::Unknown,
            format!("the registry gives no manifest: {what}"),
        ),
        Upstream::Unknown(why) | Upstream::TimedOut(why) => answer(
            Status::Unknown,
            format!("the registry cannot be asked: {why}"),
        ),
    }
}

/// The first 12 hex digits of a digest: enough to recognize it.
pub fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::promise::By;

    fn promise(name: &str, by: By) -> Promise {
        Promise::new(Wanted::Name(name.parse().unwrap()), by)
    }

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    #[test]
    fn a_tag_is_current_moved_or_gone() {
        let tag = promise("r.example/app:1", By::Policy);
        let status = |upstream| check(&tag, &[digest(1)], &upstream).status;
        assert_eq!(status(Upstream::Digest(digest(1))), Status::Ok);
        assert_eq!(status(Upstream::Digest(digest(2))), Status::Moved);
        assert_eq!(status(Upstream::Gone), Status::Broken);
        assert_eq!(status(Upstream::Denied(403)), Status::Broken);
        assert_eq!(status(Upstream::Limited), Status::Unknown);
        assert_eq!(status(Upstream::NoManifest("x".into())), Status::Unknown);
        assert_eq!(status(Upstream::TimedOut("x".into())), Status::Unknown);
        assert_eq!(status(Upstream::Unknown("x".into())), Status::Unknown);
    }

    #[test]
    fn a_pin_resolves_or_is_broken() {
        let pin = promise(&format!("r.example/app@{}", digest(1)), By::Argument);
        assert_eq!(
            check(&pin, &[], &Upstream::Digest(digest(1))).status,
            Status::Ok
        );
        assert_eq!(check(&pin, &[], &Upstream::Gone).status, Status::Broken);
    }

    #[test]
    fn what_was_merely_seen_here_need_not_be_in_a_registry() {
        let (days, last) = (1, crate::testing::at(0).date_naive());
        for by in [By::Baseline, By::Recent { days, last }] {
            let mut seen = promise("app:1", by);
            let status = |seen: &Promise, upstream| check(seen, &[], &upstream).status;
            assert_eq!(status(&seen, Upstream::Gone), Status::Unknown);
            assert_eq!(status(&seen, Upstream::Denied(401)), Status::Unknown);
            seen.by.push(By::Policy);
            assert_eq!(status(&seen, Upstream::Gone), Status::Broken);
        }
    }
}
