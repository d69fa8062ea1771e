//! `[[retain]]`: longer retention for some names. A rule is never shorter than the general
//! values, and of all rules that cover an image the longest counts, so one more rule can only
//! keep more.

use std::time::Duration;

use crate::policy::pattern::NamePattern;

/// For digest-pinned images; the greater value keeps them longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DigestPinned {
    /// They may go when they have been unneeded for this long.
    After(Duration),
    Keep,
}

/// One rule; `None` changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Retain {
    pub images: Vec<NamePattern>,
    pub min_age: Option<Duration>,
    pub digest_pinned: Option<DigestPinned>,
    pub previous: Option<usize>,
}

/// The value that counts, and the pattern of the rule that set it; `None`: the general one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effective<'a, T> {
    pub value: T,
    pub rule: Option<&'a str>,
}

impl<'a, T: Ord> Effective<'a, T> {
    pub fn general(value: T) -> Self {
        Self { value, rule: None }
    }

    fn at_least(&mut self, value: Option<T>, rule: &'a str) {
        if let Some(value) = value.filter(|value| *value > self.value) {
            *self = Self {
                value,
                rule: Some(rule),
            };
        }
    }
}

/// The values that count for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention<'a> {
    pub min_age: Effective<'a, Duration>,
    pub digest_pinned: Effective<'a, DigestPinned>,
    pub previous: Effective<'a, usize>,
}

impl<'a> Retention<'a> {
    /// The longest of the general values and of all rules with a pattern that matches `covers`.
    pub(super) fn longest(
        general: Self,
        rules: &'a [Retain],
        covers: impl Fn(&NamePattern) -> bool,
    ) -> Self {
        let mut longest = general;
        for rule in rules {
            if let Some(pattern) = rule.images.iter().find(|pattern| covers(pattern)) {
                let text = &pattern.text;
                longest.min_age.at_least(rule.min_age, text);
                longest.digest_pinned.at_least(rule.digest_pinned, text);
                longest.previous.at_least(rule.previous, text);
            }
        }
        longest
    }
}
