//! The policy as it is typed, and its way to a valid one. Decides what each
//! key may hold; every error names file, line, column, what was seen and what
//! is wanted. It never fills in `age.min_age`.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::model::Bytes;
use crate::model::conditions::LockKind;
use crate::model::reference::Reference;
use crate::policy::{
    DeployLock, DigestPinned, DiskLimits, Guard, LabelRule, Limits, NamePattern, Policy, Pulls,
};

// Keys and sections stand in the schema, their words in config/policy.toml.
#[cfg(test)]
use crate::policy::schema as form;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    age: Age,
    #[serde(default)]
    keep: Keep,
    #[serde(default)]
    disk: Disk,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    guard: GuardFile,
    #[serde(default)]
    engine: Engine,
    #[serde(default)]
    cache: Cache,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Age {
    #[cfg_attr(test, schemars(with = "form::Age"))]
    min_age: Spanned<String>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::AgeOrKeep"))]
    digest_pinned: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct Keep {
    #[cfg_attr(test, schemars(with = "Vec<form::ImagePattern>"))]
    images: Vec<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "Vec<form::Label>"))]
    labels: Vec<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Count"))]
    previous: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct Disk {
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    start_above_percent: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    stop_below_percent: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Size"))]
    min_free: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the keys are called so")]
struct LimitsFile {
    #[cfg_attr(test, schemars(with = "form::AtLeastOne"))]
    max_images: Option<Spanned<u32>>,
    #[cfg_attr(test, schemars(with = "form::Fraction"))]
    max_fraction: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    max_run: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    max_answer: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct GuardFile {
    #[cfg_attr(test, schemars(with = "form::Pulls"))]
    pulls: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    alert_after: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "Vec<Lock>"))]
    lock: Option<Vec<Lock>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Lock {
    #[cfg_attr(test, schemars(with = "form::LockPath"))]
    path: Spanned<String>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::LockKind"))]
    kind: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct Engine {
    #[cfg_attr(test, schemars(with = "form::AbsolutePath"))]
    data_root: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct Cache {
    #[cfg_attr(test, schemars(with = "Vec<form::ImageName>"))]
    images: Vec<Spanned<String>>,
}

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    name: String,
    /// From 1; `None` where the fault is that something is missing.
    place: Option<(usize, usize)>,
    message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}", self.name)?;
        if let Some((line, column)) = self.place {
            write!(f, ", line {line}, column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for PolicyError {}

/// An error before it knows its place in the text.
struct Fault {
    span: Option<Range<usize>>,
    message: String,
}

pub(super) fn parse(text: &str, name: &str) -> Result<Policy, PolicyError> {
    let typed = toml::from_str::<PolicyFile>(text).map_err(|error| Fault {
        span: error.span(),
        message: in_words(text, error.span(), error.message()),
    });
    typed.and_then(validate).map_err(|fault| PolicyError {
        name: name.to_owned(),
        place: fault
            .span
            // Of what is missing from the whole, only nothing at its beginning
            // is told; what is missing elsewhere has a place.
            .filter(|span| *span != (0..0))
            .map(|span| place(text, span.start)),
        message: fault.message,
    })
}

/// Line and column, from 1, in characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// What serde says of types and fields, in words for people.
fn in_words(text: &str, span: Option<Range<usize>>, message: &str) -> String {
    let message = message.trim_end().replace('\n', " ");
    let wrong_type = ["invalid type: ", "invalid value: "];
    let wrong = wrong_type.iter().find_map(|it| message.strip_prefix(it));
    if let Some((seen, wanted)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        let line = span.map_or("", |span| line_at(text, span.start));
        return wrong_value(line, seen, wanted);
    }
    match message.as_str() {
        "missing field `age`" | "missing field `min_age`" => {
            "age.min_age is missing; wanted how long an image must have been unneeded, such as min_age = \"14d\" below [age]".into()
        }
        "missing field `path`" => {
            "guard.lock.path is missing; wanted a line path = \"…\" below [[guard.lock]]".into()
        }
        _ => with_nearest_key(&message),
    }
}

/// The line that this byte is in, without blanks around it.
fn line_at(text: &str, offset: usize) -> &str {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(text.len(), |rest| offset + rest);
    text[start..end].trim()
}

fn wrong_value(line: &str, seen: &str, wanted: &str) -> String {
    let header = line.starts_with('[');
    let key = match line.split_once('=') {
        Some((key, _)) => key.trim(),
        None if header => line,
        // One line of a list that has several.
        None => "in this list",
    };
    let seen = match seen {
        "map" => "a table",
        "sequence" => "a list",
        // string "85%", integer `14`, boolean `true`, floating point `1.5`
        _ => seen
            .split_once(['"', '`'])
            .map_or(seen, |(kind, _)| &seen[kind.len()..]),
    };
    let seen = seen.trim_matches('`');
    let wanted = match wanted {
        "f64" => "a number".to_owned(),
        "u32" => "a whole number, 0 or more".to_owned(),
        "a string" => "text in quotes".to_owned(),
        "a sequence" if header => format!("[{key}], once for each"),
        "a sequence" => "a list, such as [\"one\", \"another\"]".to_owned(),
        table if table.starts_with("struct ") => format!("a table, [{key}]"),
        other => other.to_owned(),
    };
    let (key, seen) = (
        crate::model::text::escape(key),
        crate::model::text::escape(seen),
    );
    format!(
        "{key}: {seen}; wanted {}",
        crate::model::text::escape(&wanted)
    )
}

/// serde says "unknown field `x`, expected one of `a`, `b`"; what a person
/// wants to read first is which known key is nearest to the one that they
/// typed, if any is near.
fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(seen) = message.strip_prefix("unknown field ").and(quoted.next()) else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    let near = |key: &&str| strsim::normalized_damerau_levenshtein(seen, key);
    let nearest = known.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
    let hint = match nearest.filter(|key| near(key) >= 0.5) {
        Some(nearest) => format!("did you mean `{nearest}`? "),
        None => String::new(),
    };
    format!(
        "unknown key `{}`; {hint}known here: {}",
        crate::model::text::escape(seen),
        known.join(", ")
    )
}

fn validate(file: PolicyFile) -> Result<Policy, Fault> {
    let min_age = age("age.min_age", &file.age.min_age)?;
    let digest_pinned = match &file.age.digest_pinned {
        None => DigestPinned::Keep,
        Some(text) if text.get_ref() == "keep" => DigestPinned::Keep,
        Some(text) => DigestPinned::After(age("age.digest_pinned", text).map_err(|f| Fault {
            message: f.message + ", or \"keep\"",
            ..f
        })?),
    };
    // Whether an image is digest-pinned or superseded only our memory knows: one
    // that was lost must not make anything go sooner.
    if let (DigestPinned::After(pinned), Some(text)) = (digest_pinned, &file.age.digest_pinned)
        && pinned < min_age
    {
        let message = format!(
            "age.digest_pinned is {:?}, less than age.min_age, which is {:?}; wanted at least that, or \"keep\"",
            text.get_ref(),
            file.age.min_age.get_ref()
        );
        return Err(fault(text, message));
    }
    Ok(Policy {
        min_age,
        digest_pinned,
        keep_images: each("keep.images", &file.keep.images, NamePattern::parse)?,
        keep_labels: each("keep.labels", &file.keep.labels, LabelRule::parse)?,
        previous: file.keep.previous.map_or(1, |n| n.into_inner() as usize),
        disk: disk(&file.disk)?,
        limits: limits(&file.limits)?,
        guard: guard(&file.guard)?,
        data_root: file
            .engine
            .data_root
            .map(|text| absolute("engine.data_root", &text))
            .transpose()?,
        cache_images: each("cache.images", &file.cache.images, |text| {
            Reference::typed(text).map_err(|error| error.to_string())
        })?,
    })
}

fn disk(file: &Disk) -> Result<DiskLimits, Fault> {
    let start = percent(
        "disk.start_above_percent",
        file.start_above_percent.as_ref(),
        85.0,
    )?;
    let stop = percent(
        "disk.stop_below_percent",
        file.stop_below_percent.as_ref(),
        75.0,
    )?;
    if stop > start {
        let given = file.stop_below_percent.as_ref();
        let message = if given.is_some() {
            format!(
                "disk.stop_below_percent is {stop}, above disk.start_above_percent, which is {start}; wanted at most that"
            )
        } else {
            format!(
                "disk.stop_below_percent is not given, and its default, {stop}, is above disk.start_above_percent, which is {start}: give it, at most {start}"
            )
        };
        let span = given.or(file.start_above_percent.as_ref());
        let span = span.map(Spanned::span);
        return Err(Fault { span, message });
    }
    let min_free = match &file.min_free {
        None => None,
        Some(text) => Some(
            text.get_ref()
                .parse::<bytesize::ByteSize>()
                .map(|size| Bytes(size.0))
                .map_err(|_| {
                    fault(
                        text,
                        format!(
                            "disk.min_free: {:?} is no size; wanted one such as \"10GiB\"",
                            text.get_ref()
                        ),
                    )
                })?,
        ),
    };
    Ok(DiskLimits {
        start_above_percent: start,
        stop_below_percent: stop,
        min_free,
    })
}

fn limits(file: &LimitsFile) -> Result<Limits, Fault> {
    let max_images = match &file.max_images {
        Some(n) if *n.get_ref() == 0 => {
            return Err(fault(
                n,
                "limits.max_images is 0; wanted at least 1 (`secateur plan` removes nothing)"
                    .into(),
            ));
        }
        Some(n) => *n.get_ref() as usize,
        None => 50,
    };
    let max_fraction = match &file.max_fraction {
        Some(x) if *x.get_ref() > 0.0 && *x.get_ref() <= 1.0 => *x.get_ref(),
        Some(x) => {
            let message = format!(
                "limits.max_fraction is {}; wanted above 0, at most 1",
                x.get_ref()
            );
            return Err(fault(x, message));
        }
        None => 0.5,
    };
    let max_run = file
        .max_run
        .as_ref()
        .map_or(Ok(Duration::from_mins(5)), |text| {
            age("limits.max_run", text)
        })?;
    Ok(Limits {
        max_images,
        max_fraction,
        max_run,
        max_answer: max_answer(file.max_answer.as_ref(), max_run)?,
    })
}

/// Where nobody names it: an engine under load answers a list in seconds.
const MAX_ANSWER: Duration = Duration::from_secs(30);

/// Below this no engine could be asked at all.
const LEAST_ANSWER: Duration = Duration::from_secs(1);

/// How long the engine may take for one answer. A run must have time for it.
fn max_answer(given: Option<&Spanned<String>>, max_run: Duration) -> Result<Duration, Fault> {
    let Some(text) = given else {
        return Ok(MAX_ANSWER.min(max_run));
    };
    let (key, seen) = ("limits.max_answer", text.get_ref());
    let time = age(key, text)?;
    if time < LEAST_ANSWER {
        let message = format!("{key} is {seen:?}; wanted at least \"1s\"");
        return Err(fault(text, message));
    }
    if time > max_run {
        let run = humantime::format_duration(max_run);
        let message = format!(
            "{key} is {seen:?}, more than limits.max_run, which is {run}; wanted at most that"
        );
        return Err(fault(text, message));
    }
    Ok(time)
}

/// What systemd/tmpfiles.d makes, and docs/deploy-lock.md tells deploys to take.
const SHARED_LOCK: &str = "/run/secateur/deploy.lock";

fn guard(file: &GuardFile) -> Result<Guard, Fault> {
    let pulls = match file
        .pulls
        .as_ref()
        .map(|text| (text, text.get_ref().as_str()))
    {
        None | Some((_, "require")) => Pulls::Require,
        Some((_, "best-effort")) => Pulls::BestEffort,
        Some((text, seen)) => {
            return Err(fault(
                text,
                format!("guard.pulls: {seen:?}; wanted \"require\" or \"best-effort\""),
            ));
        }
    };
    let alert_after = file
        .alert_after
        .as_ref()
        .map_or(Ok(Duration::from_hours(6)), |text| {
            age("guard.alert_after", text)
        })?;
    let locks = match &file.lock {
        Some(locks) => locks.iter().map(lock).collect::<Result<_, _>>()?,
        // A policy that says nothing of locks must not go without the one that
        // deploys here are told to share. `lock = []` goes without.
        None => vec![DeployLock {
            path: SHARED_LOCK.into(),
            kind: LockKind::Flock,
        }],
    };
    Ok(Guard {
        pulls,
        alert_after,
        locks,
    })
}

fn lock(file: &Lock) -> Result<DeployLock, Fault> {
    let path = absolute("guard.lock.path", &file.path)?;
    if path
        .parent()
        .is_some_and(|parent| parent.to_string_lossy().contains('*'))
    {
        let message = format!(
            "guard.lock.path: {:?} holds * before its last part; wanted it there alone",
            file.path.get_ref()
        );
        return Err(fault(&file.path, message));
    }
    let kind = match file
        .kind
        .as_ref()
        .map(|text| (text, text.get_ref().as_str()))
    {
        // The kind that refuses more, where none is given.
        None | Some((_, "exists")) => LockKind::Exists,
        Some((_, "flock")) => LockKind::Flock,
        Some((text, seen)) => {
            return Err(fault(
                text,
                format!("guard.lock.kind: {seen:?}; wanted \"flock\" or \"exists\""),
            ));
        }
    };
    Ok(DeployLock { path, kind })
}

fn age(key: &str, text: &Spanned<String>) -> Result<Duration, Fault> {
    let seen = text.get_ref();
    match humantime::parse_duration(seen) {
        // chrono, which the ages are reckoned in, ends at some 292 million
        // years; ten thousand are enough to say "never".
        Ok(age) if age.is_zero() => Err(fault(
            text,
            format!("{key} is {seen:?}, nothing at all; wanted more than that"),
        )),
        Ok(age) if age > Duration::from_hours(24 * 366 * 10_000) => Err(fault(
            text,
            format!("{key} is {seen:?}; wanted at most 10000 years"),
        )),
        Ok(age) => Ok(age),
        Err(error) => Err(fault(
            text,
            format!(
                "{key}: {seen:?} is no duration ({error}); wanted one such as \"14d\" or \"36h\""
            ),
        )),
    }
}

fn percent(key: &str, value: Option<&Spanned<f64>>, default: f64) -> Result<f64, Fault> {
    match value {
        None => Ok(default),
        Some(x) if (0.0..=100.0).contains(x.get_ref()) => Ok(*x.get_ref()),
        Some(x) => Err(fault(
            x,
            format!("{key} is {}; wanted 0 to 100", x.get_ref()),
        )),
    }
}

fn absolute(key: &str, text: &Spanned<String>) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(text.get_ref());
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(fault(
            text,
            format!(
                "{key}: {:?}; wanted a path that begins with /",
                text.get_ref()
            ),
        ))
    }
}

fn each<T>(
    key: &str,
    texts: &[Spanned<String>],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Fault> {
    texts
        .iter()
        .map(|text| {
            parse(text.get_ref()).map_err(|message| fault(text, format!("{key}: {message}")))
        })
        .collect()
}

fn fault<T>(at: &Spanned<T>, message: String) -> Fault {
    Fault {
        span: Some(at.span()),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, "p.toml").map_or_else(|e| e.to_string(), |_| "accepted".into())
    }

    fn with_age(rest: &str) -> String {
        error(&format!("[age]\nmin_age = \"14d\"\n{rest}"))
    }

    #[test]
    fn the_shipped_policy_says_just_the_defaults() {
        let shipped = parse(crate::policy::DEFAULT, "default").unwrap();
        let bare = parse("[age]\nmin_age = \"14d\"", "bare").unwrap();
        assert_eq!(shipped, bare);
        let text = "[age]\nmin_age = \"14d\"\n[guard]\nlock = []";
        assert_eq!(parse(text, "none").unwrap().guard.locks, []);
    }

    #[test]
    fn the_minimum_age_has_no_default() {
        assert!(
            error("").contains("age.min_age is missing"),
            "{}",
            error("")
        );
        assert!(error("[age]").contains("age.min_age is missing"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_known() {
        assert_eq!(
            with_age("[disk]\n  start_abov_percent = 3"),
            "policy p.toml, line 4, column 3: unknown key `start_abov_percent`; did you mean `start_above_percent`? \
             known here: start_above_percent, stop_below_percent, min_free"
        );
        assert!(with_age("[dsk]\n").contains("did you mean `disk`"));
        assert!(error("[aeg]\n").contains("did you mean `age`"));
        let far = error("min_age = \"1d\"\n");
        assert!(!far.contains("did you mean") && far.contains("known here: age, "));
    }

    #[test]
    fn each_wrong_value_says_what_was_seen_and_what_is_wanted() {
        for (text, wanted) in [
            ("[disk]\nstart_above_percent = 75", "accepted"),
            (
                "[disk]\nstart_above_percent = 60",
                "policy p.toml, line 4, column 23: disk.stop_below_percent is not given, and its default, 75, \
                 is above disk.start_above_percent, which is 60: give it, at most 60",
            ),
            ("[disk]\nstart_above_percent = 0", "at most 0"),
            (
                "[disk]\nstart_above_percent = 70\nstop_below_percent = 71",
                "line 5, column 22: disk.stop_below_percent is 71, above",
            ),
            (
                "[disk]\nstart_above_percent = 101",
                "line 4, column 23: disk.start_above_percent is 101; wanted 0 to 100",
            ),
            ("[disk]\nstart_above_percent = nan", "wanted 0 to 100"),
            (
                "[disk]\nmin_free = \"10 bananas\"",
                "\"10 bananas\" is no size",
            ),
            ("[limits]\nmax_images = 0", "limits.max_images is 0"),
            (
                "[limits]\nmax_images = -1",
                "line 4, column 14: max_images: -1; wanted a whole number, 0 or more",
            ),
            (
                "[disk]\nstart_above_percent = \"85%\"",
                "start_above_percent: \"85%\"; wanted a number",
            ),
            (
                "[guard.lock]\npath = \"/run/x\"",
                "[guard.lock]: a table; wanted [[guard.lock]], once for each",
            ),
            (
                "[[guard.lock]]\nkind = \"flock\"",
                "guard.lock.path is missing",
            ),
            (
                "[keep]\nimages = \"ok\"",
                "images: \"ok\"; wanted a list, such as [",
            ),
            ("[keep]\nimages = [3]", "images: 3; wanted text in quotes"),
            (
                "[keep]\nimages = [\n  3\n]",
                "in this list: 3; wanted text in quotes",
            ),
            (
                "[limits]\nmax_images = \"`1`, expected 2\"",
                "max_images: \"`1`, expected 2\"; wanted a whole number",
            ),
            ("[limits]\nmax_fraction = 0.0", "above 0, at most 1"),
            ("[limits]\nmax_run = \"0s\"", "nothing at all"),
            ("[limits]\nmax_answer = \"0s\"", "nothing at all"),
            ("[limits]\nmax_answer = \"10ms\"", "wanted at least"),
            (
                "[limits]\nmax_answer = \"6m\"",
                "more than limits.max_run, which is 5m",
            ),
            (
                "[guard]\npulls = \"maybe\"",
                "wanted \"require\" or \"best-effort\"",
            ),
            (
                "[[guard.lock]]\npath = \"run/x\"\nkind = \"flock\"",
                "begins with /",
            ),
            (
                "[[guard.lock]]\npath = \"/run/*/x\"",
                "before its last part",
            ),
            (
                "[[guard.lock]]\npath = \"/run/x\"\nkind = \"lockf\"",
                "wanted \"flock\" or \"exists\"",
            ),
            (
                "[keep]\nimages = [\"ok\", \"NOT ok\"]",
                "line 4, column 17: keep.images: `NOT ok` is no image name",
            ),
            ("[keep]\nlabels = [\"=x\"]", "the key is missing"),
            (
                "[keep]\nprevious = 1.5",
                "line 4, column 12: previous: 1.5; wanted a whole number",
            ),
        ] {
            let seen = with_age(text);
            assert!(seen.contains(wanted), "{text:?}: {seen}");
        }
    }

    #[test]
    fn a_rule_that_no_name_can_match_is_an_error_that_says_what_was_probably_meant() {
        for (rule, meant) in [
            ("redis:.*", "\"redis:*\""),
            ("^redis:7.*$", "\"redis:7*\""),
            ("redis:[0-9]+", "\"redis:*\""),
            ("redis:7-[a-z]*", "\"redis:7-*\""),
            ("ghcr\\\\.io/acme/.*", "\"ghcr.io/acme/*\""),
            ("ghcr.io/(app|web):*", "\"ghcr.io/*:*\""),
            ("https://ghcr.io/acme/*", "\"ghcr.io/acme/*\""),
            ("docker://ghcr.io/acme/app:1", "\"ghcr.io/acme/app:1\""),
            ("https://hub.docker.com/_/redis", "\"redis\""),
            ("https://hub.docker.com/r/acme/app", "\"acme/app\""),
            ("ghcr.io/Acme/*", "\"ghcr.io/acme/*\""),
            ("ghcr.io/acme/App:Rc1", "\"ghcr.io/acme/app:Rc1\""),
            ("Redis:*", "\"redis:*\""),
            ("ghcr.io/acme/", "\"ghcr.io/acme/*\""),
            ("redis:7.?", "\"redis:7.*\""),
            (" redis:7", "\"redis:7\""),
            ("sha256:abc", "keep.labels"),
            ("sha256:abc*", "keep.labels"),
            ("0123456789ab", "keep.labels"),
            ("app@sha256:abc", "64 hex digits"),
            ("app@sha256:ab*", "accepted"),
            ("redis.*", "accepted"),
            ("Acme/app:*", "accepted"),
            ("[::1]:5000/*", "accepted"),
            ("localhost:5000*", "accepted"),
            ("**/app__x:*", "accepted"),
            ("cafe", "accepted"),
            ("docker.io/library/0123456789ab:*", "accepted"),
        ] {
            let seen = with_age(&format!("[keep]\nimages = [\"{rule}\"]"));
            assert!(seen.contains(meant), "{rule}: {seen}");
            let placed = "policy p.toml, line 4, column 11: keep.images: ";
            assert!(seen == "accepted" || seen.starts_with(placed), "{seen}");
        }
        for name in ["redis:*", "sha256:abc", "0123456789ab"] {
            let seen = with_age(&format!("[cache]\nimages = [\"{name}\"]"));
            assert!(seen.contains("cache.images: "), "{name}: {seen}");
        }
    }

    #[test]
    fn a_value_where_a_table_belongs_is_named() {
        let seen = error("age = \"1d\"");
        assert!(
            seen.contains("age: \"1d\"; wanted a table, [age]"),
            "{seen}"
        );
    }

    #[test]
    fn what_is_missing_in_a_line_has_its_place_there() {
        for (text, place) in [
            ("[age\nmin_age = \"1d\"", "line 1, column 5: "),
            ("[age]\nmin_age", "line 2, column 8: "),
            ("[age]\nmin_age =", "line 2, column 10: "),
        ] {
            let seen = error(text);
            assert!(seen.contains(place), "{text:?}: {seen}");
        }
        assert!(!error("").contains("line"), "{}", error(""));
    }

    #[test]
    fn ages_are_checked() {
        let with = |age: &str| error(&format!("[age]\nmin_age = {age}"));
        assert!(
            with("\"14 dyas\"")
                .contains("line 2, column 11: age.min_age: \"14 dyas\" is no duration")
        );
        assert!(with("\"0d\"").contains("nothing at all"));
        assert!(with("\"-1d\"").contains("is no duration"));
        assert!(with("\"99999999999999999y\"").contains("age.min_age"));
        assert!(with("14").contains("line 2, column 11"));
        assert!(error("[age]\nmin_age = \"1d\"\ndigest_pinned = \"kep\"").contains("or \"keep\""));
        let sooner = error("[age]\nmin_age = \"14d\"\ndigest_pinned = \"90h\"");
        assert!(
            sooner
                .contains("line 3, column 17: age.digest_pinned is \"90h\", less than age.min_age"),
            "{sooner}"
        );
    }

    #[test]
    fn a_lock_without_a_kind_is_of_the_kind_that_refuses_more() {
        let policy = parse(
            "[age]\nmin_age = \"1d\"\n[[guard.lock]]\npath = \"/x\"",
            "p",
        )
        .unwrap();
        assert_eq!(policy.guard.locks[0].kind, LockKind::Exists);
    }
}
