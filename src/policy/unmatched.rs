//! Rules that match nothing on a host: a misspelt rule keeps nothing, and nothing else shows
//! that.

use serde::Serialize;

use crate::model::Image;
use crate::policy::pattern::NamePattern;
use crate::policy::valid::Policy;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unmatched {
    /// The rule's key, such as `keep.images`.
    pub key: &'static str,
    /// As it was typed: escape it.
    pub rule: String,
}

impl Policy {
    /// Rules that match none of these images.
    pub fn unmatched<'a>(
        &self,
        images: &(impl Iterator<Item = &'a Image> + Clone),
    ) -> Vec<Unmatched> {
        let any = |covers: &dyn Fn(&Image) -> bool| images.clone().any(covers);
        let unnamed =
            |rule: &NamePattern| !any(&|image| image.names().any(|name| rule.covers(name)));
        let keep = self.keep_images.iter().filter(|rule| unnamed(rule));
        let keep = keep.map(|rule| ("keep.images", rule.text.clone()));
        let retain = self.retain.iter().flat_map(|rule| &rule.images);
        let retain = retain.filter(|rule| unnamed(rule));
        let retain = retain.map(|rule| ("retain.images", rule.text.clone()));
        let labels = self.keep_labels.iter();
        // Not all labels of an incomplete image may be known.
        let unsure = any(&|image| image.incomplete.is_some());
        let labels = labels
            .filter(|_| !unsure)
            .filter(|rule| !any(&|image| rule.covers(image)));
        let labels = labels.map(|rule| ("keep.labels", rule.text()));
        let here: std::collections::BTreeSet<_> = images.clone().flat_map(Image::names).collect();
        let cache = self.promised.images.iter().filter(|name| {
            let alone = name.without_tag();
            !here.contains(name) && alone.is_none_or(|name| !here.contains(&name))
        });
        let cache = cache.map(|name| ("cache.images", name.familiar()));
        let rules = keep.chain(labels).chain(retain).chain(cache);
        rules.map(|(key, rule)| Unmatched { key, rule }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::Untrusted;
    use crate::testing::{digest, inventory, pinned, tagged};

    #[test]
    fn a_rule_is_unmatched_where_no_image_has_such_a_name_or_label() {
        let pin = digest("r.example/app", 1002);
        let text = format!(
            "[age]\nmin_age = \"1d\"\n\
             [keep]\nimages = [\"r.example/*\", \"r.example/ap\", \"web:*\"]\n\
             labels = [\"tier=base\", \"tier=bass\", \"tire\"]\n\
             [[retain]]\nimages = [\"web:*\", \"wep:*\"]\nprevious = 2\n\
             [cache]\nimages = [\"web:1\", \"web:2\", \"r.example/app:3@{}\"]",
            pin.digest().unwrap()
        );
        let policy = Policy::parse(&text, "test").unwrap();
        let mut labelled = tagged(1, "web:1");
        labelled.labels = [("tier".to_owned(), Untrusted::new("base"))].into();
        let host = inventory([labelled, pinned(2, "r.example/app")]);
        let found = policy.unmatched(&host.images.values());
        let found: Vec<_> = found.iter().map(|it| (it.key, &*it.rule)).collect();
        assert_eq!(
            found,
            [
                ("keep.images", "r.example/ap"),
                ("keep.labels", "tier=bass"),
                ("keep.labels", "tire"),
                ("retain.images", "wep:*"),
                ("cache.images", "web:2"),
            ]
        );
    }

    #[test]
    fn the_built_in_policy_has_no_rule_that_could_be_unmatched() {
        let policy = Policy::parse(crate::policy::DEFAULT, "test").unwrap();
        assert_eq!(policy.unmatched(&std::iter::empty()), []);
    }
}
