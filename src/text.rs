//! Text from outside: labels, container names, an engine's error messages.
//! Decides how such text may be shown: escaped, on one line, never raw. What
//! it never does is alter the text that is compared or sent.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Text that somebody else chose. It has no `Display`, so that printing it
/// raw, with its escape sequences, does not compile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    /// Takes text as it came.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The bytes as they came: to compare and to match, never to print.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Fit for a terminal and for one line of a log, at most 200 characters.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }
}

/// How much of one foreign text a report shows.
const SHOWN: usize = 200;

/// Escapes everything that could move a cursor, hide or reorder text, or end
/// a line: control characters, and the format characters of Unicode (bidi
/// overrides and isolates, zero-width characters, tags, line separators).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(SHOWN));
    for (shown, ch) in text.chars().enumerate() {
        if shown == SHOWN {
            out.push('…');
            break;
        }
        match ch {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if ch.is_control() || is_invisible(ch) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(ch));
            }
            _ => out.push(ch),
        }
    }
    out
}

/// Percent-encodes a value of a query or a form: nothing in it can end it or
/// begin another.
pub fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Whether a character moves, hides or reorders what a terminal shows.
pub fn is_invisible(ch: char) -> bool {
    matches!(u32::from(ch),
        0xAD | 0x61C | 0x180E
        | 0x200B..=0x200F
        | 0x2028..=0x202E
        | 0x2060..=0x206F
        | 0xFEFF
        | 0xFFF9..=0xFFFB
        | 0xE0000..=0xE007F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_or_bidi_character_survives() {
        let nasty = "a\u{1b}]52;c;x\u{7}\r\nb\u{202e}c\u{0}\u{9b}31m\u{2028}";
        let shown = escape(nasty);
        assert!(
            shown.chars().all(|c| !c.is_control() && !is_invisible(c)),
            "{shown:?}"
        );
        assert!(
            shown.contains("\\u{1b}") && shown.contains("\\r\\n") && shown.contains("\\u{202e}")
        );
    }

    #[test]
    fn an_encoded_value_holds_nothing_that_ends_it() {
        assert_eq!(encode("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
        assert_eq!(encode("a&b=c#?"), "a%26b%3Dc%23%3F");
    }

    #[test]
    fn plain_text_is_left_alone() {
        assert_eq!(escape("Größe 12, ok"), "Größe 12, ok");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(escape(&"x".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
