//! Which images `plan --explain` means, from the narrowest reading of its text to the
//! widest.

use std::collections::BTreeSet;

use crate::decide::plan::{Entry, Plan};
use crate::exit::{Exit, Fault};
use crate::model::names::Names;
use crate::model::nearest::nearest;
use crate::model::reference::{Reference, read_as_id};
use crate::model::text::escape;
use crate::model::{Container, ImageId};

/// The images that a text means, by the first of these readings that finds any: a name or
/// an id as docker takes them, a tag that an image had once, a container, a digest, a
/// repository, the first digits of an id.
pub(super) fn meant<'a>(
    plan: &'a Plan,
    containers: &[Container],
    text: &str,
) -> Result<Vec<&'a Entry>, Fault> {
    let here = Names::of(plan.entries().iter().map(|entry| &*entry.image));
    let with = |wanted: &dyn Fn(&Entry) -> bool| {
        let entries = plan.entries().iter().filter(|entry| wanted(entry));
        entries.map(|entry| &entry.image.id).collect::<Vec<_>>()
    };
    let name = text.parse::<Reference>().ok();
    let had = |entry: &Entry| entry.had_tags.iter().any(|tag| Some(tag) == name.as_ref());
    let readings: [&dyn Fn() -> Vec<&'a ImageId>; 6] = [
        &|| here.resolve(text),
        &|| with(&had),
        &|| of_container(plan, &here, containers, text),
        &|| with(&|entry| has_digest(entry, text)),
        &|| with(&|entry| is_of_repository(entry, text)),
        &|| with(&|entry| has_first_digits(entry, text)),
    ];
    let found = readings.iter().map(|reading| reading());
    let ids = found.into_iter().find(|ids| !ids.is_empty());
    let ids = ids.ok_or_else(|| none(plan, containers, text))?;
    Ok(ids.into_iter().filter_map(|id| plan.entry(id)).collect())
}

fn of_container<'a>(
    plan: &'a Plan,
    here: &Names<'a>,
    containers: &[Container],
    text: &str,
) -> Vec<&'a ImageId> {
    let named = containers
        .iter()
        .filter(|container| name(container) == text);
    let ids: BTreeSet<&ImageId> = named
        .flat_map(|container| {
            let known = container.image_ids.iter();
            let known = known.filter_map(|id| Some(&plan.entry(id)?.image.id));
            here.resolve(container.image.raw()).into_iter().chain(known)
        })
        .collect();
    ids.into_iter().collect()
}

/// As people write it: the engine puts a slash before it.
fn name(container: &Container) -> &str {
    let raw = container.name.raw();
    raw.strip_prefix('/').unwrap_or(raw)
}

/// By a bare digest of a name, or its beginning.
fn has_digest(entry: &Entry, text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let mut digests = entry.image.digests.iter().filter_map(Reference::digest);
    hex.len() >= 4 && digests.any(|digest| digest.starts_with(&format!("sha256:{hex}")))
}

fn is_of_repository(entry: &Entry, text: &str) -> bool {
    let Some(repository) = text.parse::<Reference>().ok().map(|name| name.repository()) else {
        return false;
    };
    // `app:2` asks for one tag, and means none of the others.
    if text
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains([':', '@']))
    {
        return false;
    }
    let image = &entry.image;
    let names = image.names();
    let mut names = names.chain(&entry.had_tags);
    names.any(|name| name.repository() == repository)
}

/// Fewer than docker takes for an id.
fn has_first_digits(entry: &Entry, text: &str) -> bool {
    !text.is_empty() && entry.image.id.hex().starts_with(text)
}

fn none(plan: &Plan, containers: &[Container], text: &str) -> Fault {
    let why = match Reference::typed(text) {
        Err(error) if read_as_id(text).is_none() => error.to_string(),
        _ => {
            let entries = plan.entries().iter();
            let tags = entries.flat_map(|entry| entry.image.tags.iter().chain(&entry.had_tags));
            let names = containers.iter().map(|it| name(it).to_owned());
            let nearest = nearest(text, tags.map(Reference::familiar).chain(names));
            let hint = nearest.map(|name| format!("; did you mean {}?", escape(&name)));
            let hint = hint.unwrap_or_default();
            format!("no image here has that name or id, and no container that name{hint}")
        }
    };
    let text = escape(text);
    Fault::new(Exit::Usage, format!("--explain {text}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Trust, decide};
    use crate::memory::ledger::Ledger;
    use crate::model::text::Untrusted;
    use crate::policy::Policy;
    use crate::testing::{at, clock, id, inventory, pinned, tagged};

    /// Image 1 is app:1, image 2 was app:1, image 3 is a digest of another repository.
    fn said(text: &str) -> Result<Vec<ImageId>, String> {
        let policy = Policy::parse(crate::policy::DEFAULT, "test").unwrap();
        let before = inventory([tagged(2, "app:old")]);
        let mut two = tagged(2, "app:2");
        two.tags.clear();
        let mut host = inventory([tagged(1, "app:1"), two, pinned(3, "r.example/web")]);
        host.containers.push(Container {
            id: Untrusted::new("c"),
            name: Untrusted::new("/night"),
            image: Untrusted::new(id(3).as_str()),
            image_ids: vec![],
            state: Untrusted::new("running"),
            image_mounts: vec![],
        });
        let surveyed = |ledger: &Ledger, host| {
            ledger.observe(host, &clock(0, 0, "a"), chrono::TimeDelta::zero())
        };
        host.taken_at = at(10);
        let ledger = surveyed(&surveyed(&Ledger::empty("e"), &before), &host);
        let plan = decide(&policy, &host, &ledger, Trust::OwnMemory);
        let entries = meant(&plan, &host.containers, text).map_err(|fault| fault.message)?;
        Ok(entries.iter().map(|it| it.image.id.clone()).collect())
    }

    #[test]
    fn an_image_is_meant_by_all_that_people_know_of_it() {
        for (text, n) in [
            ("app:1", 1),
            ("00000001", 1),
            ("app:old", 2),
            ("night", 3),
            (
                "sha256:00000000000000000000000000000000000000000000000000000000000003eb",
                3,
            ),
            ("r.example/web", 3),
        ] {
            assert_eq!(said(text), Ok(vec![id(n)]), "{text}");
        }
        assert_eq!(said("app"), Ok(vec![id(1), id(2)]));
        assert_eq!(said("000"), Ok(vec![id(1), id(2), id(3)]));
    }

    #[test]
    fn what_means_no_image_is_an_error_that_says_what_was_probably_meant() {
        for (text, hint) in [
            (
                "https://ghcr.io/acme/app:1",
                "did you mean \"ghcr.io/acme/app:1\"?",
            ),
            ("app:3", "did you mean app:1?"),
            ("nigth", "did you mean night?"),
        ] {
            let why = said(text).unwrap_err();
            assert!(why.contains(hint), "{why}");
        }
        for text in ["elsewhere:9", "0123456789ab", "sha256:0123", ""] {
            let why = said(text).unwrap_err();
            assert!(!why.contains("did you mean"), "{why}");
        }
    }
}
