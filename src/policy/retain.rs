//! Longer retention for some names: what `[[retain]]` means. A rule is never shorter than
//! the general values, and of all rules that cover an image the longest counts, so one
//! more rule can only keep more.

use std::time::Duration;

use crate::policy::pattern::NamePattern;

/// What holds for digest-pinned images; what keeps them longer is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DigestPinned {
    /// They may go when they have been unneeded for this long.
    After(Duration),
    Keep,
}

/// One rule. What it does not give, it does not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Retain {
    pub images: Vec<NamePattern>,
    pub min_age: Option<Duration>,
    pub digest_pinned: Option<DigestPinned>,
    pub previous: Option<usize>,
}

/// A value, and the pattern of the rule that gave it; `None`: it is the general one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term<'a, T> {
    pub value: T,
    pub rule: Option<&'a str>,
}

impl<'a, T: Ord> Term<'a, T> {
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

/// What holds for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention<'a> {
    pub min_age: Term<'a, Duration>,
    pub digest_pinned: Term<'a, DigestPinned>,
    pub previous: Term<'a, usize>,
}

impl<'a> Retention<'a> {
    /// These general values, or what the rules say that hold for an image which `covers`
    /// knows.
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
