//! Names as people type them, in a policy or on a command line, and what a text that
//! is no name was probably meant to be.

use crate::model::reference::name::{BadReference, Reference};
use crate::model::reference::syntax::is_hex;

impl Reference {
    /// Reads a name that a person typed; the error suggests another. A text that docker
    /// would take for an image's id is refused, though it could be read as a name.
    pub fn typed(text: &str) -> Result<Self, BadReference> {
        let bad = |wanted| BadReference {
            seen: text.to_owned(),
            wanted,
            meant: meant(text, |it| {
                it.parse::<Self>().is_ok() && read_as_id(it).is_none()
            }),
        };
        if let Some(why) = read_as_id(text) {
            return Err(bad(why));
        }
        text.parse().map_err(|error: BadReference| {
            bad(if text.contains('*') {
                "wanted one whole name; `*` stands for any text in keep.images alone"
            } else {
                error.wanted
            })
        })
    }
}

/// Why docker reads a text as the id of an image, if it does.
pub(crate) fn read_as_id(text: &str) -> Option<&'static str> {
    // 12 digits are what docker shows. A word such as `cafe` is a name.
    let short = (12..=64).contains(&text.len()) && is_hex(text);
    if text.starts_with("sha256:") || text.starts_with("sha512:") {
        Some("it is an id, or the beginning of one; a digest comes after a name and @")
    } else if short && text.bytes().any(|b| b.is_ascii_digit()) {
        Some(
            "it is an id, or the beginning of one; a name like that begins with docker.io/library/",
        )
    } else {
        None
    }
}

/// A name or pattern close to a text that is none: to a regular expression, an address,
/// a glob, a name in capital letters.
pub(crate) fn meant(text: &str, can_be: impl Fn(&str) -> bool) -> Option<String> {
    let address = text.trim();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let pages = ["hub.docker.com/r/", "hub.docker.com/_/"];
    let page = pages.iter().find_map(|page| address.strip_prefix(page));
    let plain = without_expressions(page.unwrap_or(address));
    let folder = plain.ends_with('/').then(|| format!("{plain}*"));
    let close = folder
        .into_iter()
        .chain([plain.trim_end_matches('/').to_owned()]);
    let mut close = close.flat_map(|it| [it.clone(), in_lower_case(&it)]);
    // Nobody means a pattern that covers everything.
    let says_something = |it: &str| it.contains(|c: char| c.is_ascii_alphanumeric());
    close.find(|it| it != text && says_something(it) && can_be(it))
}

/// `redis:7*` for `^redis:7.*$`: each part that stands for any text becomes `*`, and
/// several in a row become one.
fn without_expressions(text: &str) -> String {
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = text.strip_suffix('$').unwrap_or(text);
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(ch) = rest.next() {
        let until = |end: char| rest.as_str().split_once(end);
        let (shown, after) = match ch {
            '\\' => match rest.next() {
                Some('d' | 'w' | 's' | 'D' | 'W' | 'S') => ('*', rest.as_str()),
                Some(itself) => (itself, rest.as_str()),
                None => break,
            },
            '.' if rest.as_str().starts_with(['*', '+']) => ('*', &rest.as_str()[1..]),
            '?' | '+' => ('*', rest.as_str()),
            '[' if plain.is_empty() && is_address(rest.as_str()) => (ch, rest.as_str()),
            '[' => ('*', until(']').map_or("", |(_, after)| after)),
            '(' => ('*', until(')').map_or("", |(_, after)| after)),
            '{' => ('*', until('}').map_or("", |(_, after)| after)),
            _ => (ch, rest.as_str()),
        };
        if !(shown == '*' && plain.ends_with('*')) {
            plain.push(shown);
        }
        rest = after.chars();
    }
    plain
}

/// Whether this begins like the rest of `[::1]`.
fn is_address(rest: &str) -> bool {
    rest.split_once(']').is_some_and(|(inside, _)| {
        inside.contains(':') && inside.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
    })
}

/// The name without its tag and digest, which may have capital letters.
fn in_lower_case(text: &str) -> String {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    name.to_ascii_lowercase() + &text[name.len()..]
}
