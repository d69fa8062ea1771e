//! Errors in a policy in words: file, line, column, what was seen, what is wanted.

use std::fmt;
use std::ops::Range;

use toml::Spanned;

use crate::model::nearest::nearest;
use crate::model::text::escape;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    name: String,
    /// Line and column, from 1; `None` where something is missing.
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
pub(super) struct Unplaced {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

impl Unplaced {
    pub(super) fn at<T>(value: &Spanned<T>, message: String) -> Self {
        Self {
            span: Some(value.span()),
            message,
        }
    }

    pub(super) fn placed(self, text: &str, name: &str) -> PolicyError {
        // toml reports the span 0..0 for a missing top-level key, which has no place.
        let span = self.span.filter(|span| *span != (0..0));
        PolicyError {
            name: name.to_owned(),
            place: span.map(|span| place(text, span.start)),
            message: self.message,
        }
    }
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

/// serde's messages about types and fields, in words for people.
pub(super) fn in_words(text: &str, span: Option<Range<usize>>, message: &str) -> String {
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
        "missing field `images`" => {
            "retain.images is missing; wanted a line images = [\"…\"] below [[retain]]".into()
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
        // A line in the middle of a list.
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
    let (key, seen) = (escape(key), escape(seen));
    format!("{key}: {seen}; wanted {}", escape(&wanted))
}

/// serde says "unknown field `x`, expected one of `a`, `b`". A person first wants to
/// read which known key is nearest to the one that was typed, if any is near.
fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(seen) = message.strip_prefix("unknown field ").and(quoted.next()) else {
        return escape(message);
    };
    // A key with backticks leaves parts of itself among them.
    let known: Vec<String> = quoted.map(escape).collect();
    let hint = match nearest(seen, &known) {
        Some(nearest) => format!("did you mean `{nearest}`? "),
        None => String::new(),
    };
    format!(
        "unknown key `{}`; {hint}known here: {}",
        escape(seen),
        known.join(", ")
    )
}
