//! Which entries of RepoTags and RepoDigests are names, and of which kind.

use std::collections::BTreeSet;

use crate::model::reference::Reference;
use crate::model::text::escape;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SortedNames {
    pub(super) tags: BTreeSet<Reference>,
    pub(super) digests: BTreeSet<Reference>,
    pub(super) ours: BTreeSet<Reference>,
    /// Those of `digests` that the containerd store may have made up from a tag.
    pub(super) made_up: BTreeSet<Reference>,
    /// Entries that are no name: on the containerd store `sha256:<hex>`, for an image
    /// whose content is not here.
    pub(super) odd: Vec<String>,
}

/// `<none>:<none>` is nothing, an entry with `@` is a digest reference in either list, the
/// rest are tags. On the containerd store RepoTags also holds digest references, and
/// RepoDigests is made up from tags: there, a digest beside a tag of the same repository
/// shows nothing.
pub(super) fn sort_names(repo_tags: &[String], repo_digests: &[String]) -> SortedNames {
    let mut sorted = SortedNames::default();
    for text in repo_tags.iter().chain(repo_digests) {
        if text.starts_with("<none>") {
            continue;
        }
        match text.parse::<Reference>() {
            Ok(name) if name.is_ours() && !name.is_digest() => sorted.ours.insert(name),
            // The containerd store makes this up from our own name.
            Ok(name) if name.is_ours() => false,
            Ok(name) if name.is_dangling_record() => false,
            Ok(name) if name.is_digest() => sorted.digests.insert(name),
            Ok(name) => sorted.tags.insert(name),
            Err(_) => {
                sorted.odd.push(escape(text));
                false
            }
        };
    }
    let listed = |name: &Reference| {
        repo_tags
            .iter()
            .any(|text| text.parse().ok().as_ref() == Some(name))
    };
    let of_a_tag = |name: &Reference| {
        let mut tags = sorted.tags.iter();
        tags.any(|tag| tag.repository() == name.repository())
    };
    let made_up = sorted.digests.iter();
    let made_up = made_up.filter(|name| of_a_tag(name) && !listed(name));
    sorted.made_up = made_up.cloned().collect();
    sorted
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
    fn a_tag_of_a_repository_called_like_the_dangling_record_is_a_tag() {
        let sorted = sort_names(&["moby-dangling:1".into()], &[]);
        assert_eq!(sorted.tags.len(), 1);
    }
}
