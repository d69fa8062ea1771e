//! `[[retain]]` as it is typed. A rule that would keep less than the general values is an
//! error: it was meant to keep more.

use std::fmt::Debug;

use toml::Spanned;

use crate::policy::file::RetainFile;
use crate::policy::pattern::NamePattern;
use crate::policy::retain::{DigestPinned, Retain};
use crate::policy::valid::Policy;
use crate::policy::value::{self, age, each};
use crate::policy::wording::Unplaced;

pub(super) fn read(typed: &[RetainFile], general: &Policy) -> Result<Vec<Retain>, Unplaced> {
    typed.iter().map(|rule| one(rule, general)).collect()
}

fn one(typed: &RetainFile, general: &Policy) -> Result<Retain, Unplaced> {
    let images = each("retain.images", typed.images.get_ref(), NamePattern::parse)?;
    if images.is_empty() {
        let message = "retain.images is empty; wanted the names that the rule is for, such as \
            [\"ghcr.io/acme/*\"]";
        return Err(Unplaced::at(&typed.images, message.into()));
    }
    let given = [
        typed.min_age.is_some(),
        typed.digest_pinned.is_some(),
        typed.previous.is_some(),
    ];
    if !given.contains(&true) {
        let message = "this [[retain]] keeps nothing for longer; wanted min_age, previous or \
            digest_pinned beside its images";
        return Err(Unplaced::at(&typed.images, message.into()));
    }
    let min_age = typed.min_age.as_ref();
    let digest_pinned = typed.digest_pinned.as_ref();
    let previous = typed.previous.as_ref();
    Ok(Retain {
        images,
        min_age: at_least(
            ["min_age", "age.min_age"],
            min_age,
            general.min_age,
            |text| age("retain.min_age", text),
            |age| humantime::format_duration(age).to_string(),
        )?,
        digest_pinned: at_least(
            ["digest_pinned", "age.digest_pinned"],
            digest_pinned,
            general.digest_pinned,
            |text| value::digest_pinned("retain.digest_pinned", text),
            |pinned| match pinned {
                DigestPinned::Keep => "\"keep\"".to_owned(),
                DigestPinned::After(age) => humantime::format_duration(age).to_string(),
            },
        )?,
        previous: at_least(
            ["previous", "keep.previous"],
            previous,
            general.previous,
            |count| Ok(*count.get_ref() as usize),
            |count| count.to_string(),
        )?,
    })
}

/// The value of a key, if it is given. Less than the general one is an error.
fn at_least<T: PartialOrd, U: Debug>(
    [key, general_key]: [&str; 2],
    typed: Option<&Spanned<U>>,
    general: T,
    parse: impl Fn(&Spanned<U>) -> Result<T, Unplaced>,
    words: impl Fn(T) -> String,
) -> Result<Option<T>, Unplaced> {
    let Some(text) = typed else { return Ok(None) };
    let value = parse(text)?;
    if value >= general {
        return Ok(Some(value));
    }
    let (seen, wanted) = (text.get_ref(), words(general));
    let message = format!(
        "retain.{key} is {seen:?}, less than {general_key}, which is {wanted}; wanted at least that"
    );
    Err(Unplaced::at(text, message))
}
