//! Parses the value of one key.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::model::Bytes;
use crate::policy::retain::DigestPinned;
use crate::policy::wording::Unplaced;

pub(super) fn age(key: &str, text: &Spanned<String>) -> Result<Duration, Unplaced> {
    let seen = text.get_ref();
    match humantime::parse_duration(seen) {
        Ok(age) if age.is_zero() => Err(Unplaced::at(
            text,
            format!("{key} is {seen:?}, nothing at all; wanted more than that"),
        )),
        // chrono, in which ages are counted, ends at some 292 million years; ten
        // thousand are enough for "never".
        Ok(age) if age > Duration::from_hours(24 * 366 * 10_000) => Err(Unplaced::at(
            text,
            format!("{key} is {seen:?}; wanted at most 10000 years"),
        )),
        Ok(age) => Ok(age),
        Err(_) => Err(Unplaced::at(
            text,
            format!(
                "{key}: {seen:?} is no duration; wanted numbers with units such as \"14d\" or \
                 \"36h\" (s, m minutes, h, d, w, M months, y)"
            ),
        )),
    }
}

/// An age, or "keep".
pub(super) fn digest_pinned(key: &str, text: &Spanned<String>) -> Result<DigestPinned, Unplaced> {
    if text.get_ref() == "keep" {
        return Ok(DigestPinned::Keep);
    }
    age(key, text)
        .map(DigestPinned::After)
        .map_err(|fault| Unplaced {
            message: fault.message + ", or \"keep\"",
            ..fault
        })
}

pub(super) fn age_or(
    key: &str,
    given: Option<&Spanned<String>>,
    default: Duration,
) -> Result<Duration, Unplaced> {
    given.map_or(Ok(default), |text| age(key, text))
}

pub(super) fn size(key: &str, text: &Spanned<String>) -> Result<Bytes, Unplaced> {
    let seen = text.get_ref();
    let wanted = |what| {
        let message = format!("{key}: {seen:?} {what}; wanted one such as \"10GiB\"");
        Unplaced::at(text, message)
    };
    let size = seen.parse::<bytesize::ByteSize>();
    let size = size.map_err(|_| wanted("is no size"))?;
    // A forgotten unit would make a threshold of a few bytes, which never acts.
    let has_unit = seen.trim_end().ends_with(|last: char| last.is_alphabetic());
    if (1..1 << 20).contains(&size.0) && !has_unit {
        return Err(wanted("has no unit"));
    }
    Ok(Bytes(size.0))
}

pub(super) fn percent(
    key: &str,
    value: Option<&Spanned<f64>>,
    default: f64,
) -> Result<f64, Unplaced> {
    match value {
        None => Ok(default),
        Some(x) if (0.0..=100.0).contains(x.get_ref()) => Ok(*x.get_ref()),
        Some(x) => Err(Unplaced::at(
            x,
            format!("{key} is {}; wanted 0 to 100", x.get_ref()),
        )),
    }
}

pub(super) fn absolute(key: &str, text: &Spanned<String>) -> Result<PathBuf, Unplaced> {
    let path = PathBuf::from(text.get_ref());
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Unplaced::at(
            text,
            format!(
                "{key}: {:?}; wanted a path that begins with /",
                text.get_ref()
            ),
        ))
    }
}

/// A path whose last part may hold `*`.
pub(super) fn absolute_pattern(key: &str, text: &Spanned<String>) -> Result<PathBuf, Unplaced> {
    let path = absolute(key, text)?;
    let folder = path.parent();
    if folder.is_some_and(|folder| folder.to_string_lossy().contains('*')) {
        let seen = text.get_ref();
        let message =
            format!("{key}: {seen:?} holds * before its last part; wanted it there alone");
        return Err(Unplaced::at(text, message));
    }
    Ok(path)
}

pub(super) fn each<T>(
    key: &str,
    texts: &[Spanned<String>],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Unplaced> {
    texts
        .iter()
        .map(|text| {
            parse(text.get_ref()).map_err(|message| Unplaced::at(text, format!("{key}: {message}")))
        })
        .collect()
}

/// One of the two words that a key takes, or its default.
pub(super) fn word<T: Copy>(
    key: &str,
    given: Option<&Spanned<String>>,
    words: [(&str, T); 2],
    default: T,
) -> Result<T, Unplaced> {
    let Some(text) = given else {
        return Ok(default);
    };
    let found = words.iter().find(|(word, _)| word == text.get_ref());
    found.map(|(_, value)| *value).ok_or_else(|| {
        let [(one, _), (other, _)] = words;
        let seen = text.get_ref();
        Unplaced::at(
            text,
            format!("{key}: {seen:?}; wanted {one:?} or {other:?}"),
        )
    })
}
