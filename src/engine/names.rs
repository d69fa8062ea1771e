//! Sorts the entries of RepoTags and RepoDigests by kind.

use std::collections::BTreeSet;

use crate::model::reference::Reference;
use crate::model::text::escape;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SortedNames {
    pub(super) tags: BTreeSet<Reference>,
    pub(super) digests: BTreeSet<Reference>,
    pub(super) ours: BTreeSet<Reference>,
    /// Those of `digests` that the containerd store may have derived from a tag.
    pub(super) made_up: BTreeSet<Reference>,
    /// Entries that are no name: on the containerd store `sha256:<hex>`, for an image without
    /// content.
    pub(super) odd: Vec<String>,
}

/// `<none>:<none>` is nothing, an entry with `@` is a digest reference in either list, and the
/// others are tags. On the containerd store RepoTags also holds digest references, and the
/// engine derives RepoDigests from all of these: there, a digest beside a tag of the same
/// repository shows nothing.
pub(super) fn sort_names(repo_tags: &[String], repo_digests: &[String]) -> SortedNames {
    let mut sorted = SortedNames::default();
    let read = |text: &String| match text.parse::<Reference>() {
        _ if text.starts_with("<none>") => None,
        // The containerd store derives a digest reference from our own name.
        Ok(name) if name.is_ours() && name.is_digest() => None,
        Ok(name) if name.is_dangling_record() => None,
        Ok(name) => Some(Ok(name)),
        Err(_) => Some(Err(escape(text))),
    };
    for name in repo_tags.iter().filter_map(read) {
        match name {
            Ok(name) if name.is_ours() => sorted.ours.insert(name),
            Ok(name) if name.is_digest() => sorted.digests.insert(name),
            Ok(name) => sorted.tags.insert(name),
            Err(odd) => {
                sorted.odd.push(odd);
                continue;
            }
        };
    }
    let named = sorted.digests.clone();
    for name in repo_digests.iter().filter_map(read) {
        match name {
            // `app@sha256:…` of `app:1@sha256:…`, as Swarm pulls it, is that name again.
            Ok(name) if is_among(&named, &name) => {}
            Ok(name) if name.is_ours() => drop(sorted.ours.insert(name)),
            Ok(name) if name.is_digest() => {
                let mut tags = sorted.tags.iter();
                if tags.any(|tag| tag.repository() == name.repository()) {
                    sorted.made_up.insert(name.clone());
                }
                sorted.digests.insert(name);
            }
            Ok(name) => drop(sorted.tags.insert(name)),
            Err(odd) => sorted.odd.push(odd),
        }
    }
    sorted
}

/// Whether a digest reference is one of these, with or without a tag.
fn is_among(digests: &BTreeSet<Reference>, name: &Reference) -> bool {
    let bare = name.without_tag();
    bare.is_some() && digests.iter().any(|other| other.without_tag() == bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> String {
        format!("{name}@sha256:{}", "a".repeat(64))
    }

    #[test]
    fn each_entry_counts_for_what_it_is_wherever_it_stands() {
        let sorted = sort_names(
            &["<none>:<none>".into(), "app:1".into(), digest("pin")],
            &["<none>@<none>".into()],
        );
        assert_eq!(sorted.tags.len(), 1);
        assert_eq!(
            sorted
                .digests
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [digest("docker.io/library/pin")]
        );
        assert!(sorted.odd.is_empty());
    }

    #[test]
    fn our_own_names_and_the_dangling_record_are_no_names() {
        let sorted = sort_names(
            &["secateur.invalid/remove:0123456789ab".into()],
            &[digest("secateur.invalid/remove"), digest("moby-dangling")],
        );
        assert!(sorted.tags.is_empty() && sorted.digests.is_empty() && sorted.odd.is_empty());
        assert_eq!(sorted.ours.len(), 1);
    }

    #[test]
    fn on_the_containerd_store_a_digest_counts_once_and_beside_a_tag_it_may_be_made_up() {
        let swarms = digest("app:1");
        let sorted = sort_names(std::slice::from_ref(&swarms), &[digest("app")]);
        let names: Vec<String> = sorted.digests.iter().map(Reference::familiar).collect();
        assert_eq!(names, [swarms]);
        assert!(sorted.made_up.is_empty());
        let sorted = sort_names(&["app:1".into()], &[digest("app"), digest("db")]);
        let made_up: Vec<String> = sorted.made_up.iter().map(Reference::familiar).collect();
        assert_eq!((sorted.digests.len(), made_up), (2, vec![digest("app")]));
        let sorted = sort_names(&["app:1".into(), digest("app")], &[digest("app")]);
        assert!(sorted.made_up.is_empty(), "it has that name as well");
    }

    #[test]
    fn a_tag_of_a_repository_called_like_the_dangling_record_is_a_tag() {
        let sorted = sort_names(&["moby-dangling:1".into()], &[]);
        assert_eq!(sorted.tags.len(), 1);
    }
}
