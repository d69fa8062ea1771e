//! `[[retain]]` as it is typed: a rule that would keep less than the general values is an
//! error, because it was meant to keep more.

use toml::Spanned;

use crate::policy::file::RetainFile;
use crate::policy::model::Policy;
use crate::policy::pattern::NamePattern;
use crate::policy::retain::{DigestPinned, Retain};
use crate::policy::value::{age, digest_pinned, each};
use crate::policy::wording::Unplaced;

/// The rules as they are typed, beside the general values.
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
    let longer = |text: &Spanned<String>| age("retain.min_age", text);
    let min_age = typed.min_age.as_ref().map(longer).transpose()?;
    if let (Some(age), Some(text)) = (min_age, &typed.min_age)
        && age < general.min_age
    {
        let (seen, wanted) = (
            text.get_ref(),
            humantime::format_duration(general.min_age).to_string(),
        );
        return Err(shorter(
            text,
            "min_age",
            &format!("{seen:?}"),
            "age.min_age",
            &wanted,
        ));
    }
    let pinned = |text: &Spanned<String>| digest_pinned("retain.digest_pinned", text);
    let digest_pinned = typed.digest_pinned.as_ref().map(pinned).transpose()?;
    if let (Some(pinned), Some(text)) = (digest_pinned, &typed.digest_pinned)
        && pinned < general.digest_pinned
    {
        let wanted = match general.digest_pinned {
            DigestPinned::Keep => "\"keep\"".to_owned(),
            DigestPinned::After(age) => humantime::format_duration(age).to_string(),
        };
        let seen = format!("{:?}", text.get_ref());
        return Err(shorter(
            text,
            "digest_pinned",
            &seen,
            "age.digest_pinned",
            &wanted,
        ));
    }
    let previous = typed.previous.as_ref().map(|n| *n.get_ref() as usize);
    if let (Some(previous), Some(text)) = (previous, &typed.previous)
        && previous < general.previous
    {
        let (seen, wanted) = (previous.to_string(), general.previous.to_string());
        return Err(shorter(text, "previous", &seen, "keep.previous", &wanted));
    }
    Ok(Retain {
        images,
        min_age,
        digest_pinned,
        previous,
    })
}

/// A rule that kept less than all other images have would be a rule to remove.
fn shorter<T>(at: &Spanned<T>, key: &str, seen: &str, general: &str, wanted: &str) -> Unplaced {
    let message = format!(
        "retain.{key} is {seen}, less than {general}, which is {wanted}; wanted at least that"
    );
    Unplaced::at(at, message)
}
