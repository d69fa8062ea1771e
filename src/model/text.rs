//! Text from outside, such as labels, container names and an engine's messages, and how
//! it is shown: escaped, on one line. Text that is compared or sent stays as it is.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// Text that somebody else chose. It has no `Display`: to print it raw, with its escape
/// sequences, does not compile.
///
/// ```
/// let label = secateur::model::text::Untrusted::new("\u{1b}[2J");
/// println!("{}", label.escaped());
/// ```
///
/// ```compile_fail
/// let label = secateur::model::text::Untrusted::new("\u{1b}[2J");
/// println!("{}", label);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// To compare and to match, never to print.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Fit for a terminal or one line of a log; at most 200 characters.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }
}

/// How many characters of one foreign text a report shows.
const SHOWN: usize = 200;

/// Escapes everything that could move a cursor, hide or reorder text, or end a line: control
/// characters and [invisible](is_invisible) ones. Cut at 200 characters.
pub fn escape(text: &str) -> String {
    escape_up_to(text, SHOWN)
}

/// As [`escape`], for a path; [`quoted`] shows all of one.
pub fn escape_path(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// As [`escape`], cut at `most` characters.
pub fn escape_up_to(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (shown, ch) in text.chars().enumerate() {
        if shown == most {
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

/// JSON with `\u` escapes for the characters that [`escape`] escapes, so that foreign text stays
/// whole and moves no cursor. It is escaped as it is written: of many images, the same text twice
/// is many megabytes.
#[derive(Default)]
pub struct EscapedJson(String);

impl EscapedJson {
    /// On one line.
    pub fn line(document: &impl Serialize) -> String {
        let mut json = Self::default();
        let written = serde_json::to_writer(&mut json, document);
        json.ended(&written)
    }

    pub fn pretty(document: &impl Serialize) -> String {
        let mut json = Self::default();
        let written = serde_json::to_writer_pretty(&mut json, document);
        json.ended(&written)
    }

    fn ended(mut self, written: &serde_json::Result<()>) -> String {
        if written.is_err() {
            self.0.clear();
        }
        self.0.push('\n');
        self.0
    }
}

impl io::Write for EscapedJson {
    /// `serde_json` writes texts and parts of them, never half a character.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let json = str::from_utf8(bytes).map_err(io::Error::other)?;
        for ch in json.chars() {
            // Outside of texts the only such characters of JSON are line ends.
            if ch == '\n' || !(ch.is_control() || is_invisible(ch)) {
                self.0.push(ch);
                continue;
            }
            for unit in ch.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(self.0, "\\u{unit:04x}");
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is wrong with JSON that somebody wrote or an engine sent, fit to print. Not for
/// files with secrets: the value that does not fit is quoted.
pub fn json_error(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let at = format!("line {}, column {}", error.line(), error.column());
    let words = match error.classify() {
        Category::Eof => format!("it ends too early, at {at}"),
        Category::Syntax | Category::Io => format!("it is no JSON from {at} on"),
        Category::Data => {
            let words = error.to_string();
            let words = words
                .rsplit_once(" at line ")
                .map_or(&*words, |(why, _)| why);
            let missing = words.strip_prefix("missing field ");
            let wrong = words
                .split_once(": ")
                .filter(|(what, _)| what.starts_with("invalid "));
            let wrong = wrong.and_then(|(_, rest)| rest.rsplit_once(", expected "));
            match (missing, wrong) {
                (Some(field), _) => format!("{field} is missing, at {at}"),
                (_, Some((seen, wanted))) => format!("{at}: it is {seen}, wanted {wanted}"),
                (None, None) => format!("{at}: {words}"),
            }
        }
    };
    escape(&words)
}

/// A word of a command to be typed, which is that word in bash whatever it holds; shown without
/// control or bidi characters.
pub fn for_shell(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| !text.chars().any(|ch| ch.is_control() || is_invisible(ch)));
    let Some(text) = text else {
        return format!("$'{}'", bytes.escape_ascii());
    };
    let plain = |ch: char| ch.is_ascii_alphanumeric() || "-_./:@=,+".contains(ch);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A path for a message: in full, in quotes, with control and bidi characters escaped, because a
/// file's name may hold anything.
#[expect(
    clippy::unnecessary_debug_formatting,
    reason = "Display would print a terminal's escape sequences raw"
)]
pub fn quoted(path: &Path) -> String {
    format!("{path:?}")
}

/// Percent-encodes a value of a query or a form, so that nothing in it can end it.
pub fn encode(value: &str) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(value, ESCAPED).to_string()
}

/// Whether a character hides or reorders what a terminal shows: bidi overrides and
/// isolates, zero-width characters, tags, line separators, and all that Unicode gives no
/// shape. These are the ones that the standard library escapes for `{:?}`.
pub fn is_invisible(ch: char) -> bool {
    !matches!(ch, '"' | '\'' | '\\') && ch.escape_debug().len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_json_is_said_with_its_place_and_what_was_wanted() {
        #[derive(Debug, Deserialize)]
        struct Small {
            #[serde(rename = "n")]
            _n: u32,
        }
        for (json, words) in [
            ("{\"n\":1", "it ends too early, at line 1, column 6"),
            ("{\n no}", "it is no JSON from line 2, column 2 on"),
            ("{}", "`n` is missing, at line 1, column 2"),
            (
                r#"{"n":"\u001b at line 1"}"#,
                r#"line 1, column 23: it is string "\u{1b} at line 1", wanted u32"#,
            ),
            (
                "{\"n\":-1}",
                "line 1, column 7: it is integer `-1`, wanted u32",
            ),
        ] {
            let error = serde_json::from_str::<Small>(json).unwrap_err();
            let said = json_error(&error);
            assert!(said.starts_with(words), "{said}");
        }
    }

    #[test]
    fn a_shell_reads_a_word_as_it_is_and_a_terminal_nothing_else() {
        for word in [
            &b"/srv/state/ledger-1.json"[..],
            b"/srv/my state",
            b"a'b$(id)`id`\"\\!~*",
            b"",
            b"-n",
            "gr\u{fc}n".as_bytes(),
            b"a\x1b[2J\n\t'\\\x07end\xff",
            "x\u{202e}y'z".as_bytes(),
        ] {
            let typed = for_shell(OsStr::from_bytes(word));
            assert_eq!(escape(&typed), typed, "shown as it is");
            let line = format!("printf %s {typed}");
            let mut bash = std::process::Command::new("bash");
            let said = bash.args(["-c", &line]).output().unwrap().stdout;
            assert_eq!(said, word, "{typed}");
        }
    }

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
    fn json_reads_as_before_and_has_no_control_or_bidi_character() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}\r\n\t\"\\ä\u{202e}\u{e0001}\u{2028}";
        let escaped = EscapedJson::pretty(&[text]);
        assert!(
            !escaped.chars().any(|c| c != '\n' && is_dangerous(c)),
            "{escaped:?}"
        );
        assert!(escaped.contains("\\u202e") && escaped.contains("\\udb40\\udc01"));
        let back: Vec<String> = serde_json::from_str(&escaped).unwrap();
        assert_eq!(back, [text]);
    }

    /// Characters that must never be shown, written independently of the rule: controls, and
    /// the format characters that reorder, hide or separate lines.
    fn is_dangerous(ch: char) -> bool {
        matches!(u32::from(ch),
            0..=0x1F | 0x7F..=0x9F | 0xAD | 0x61C | 0x180E
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F
            | 0xFEFF | 0xFFF9..=0xFFFB | 0xE0000..=0xE007F)
    }

    #[test]
    fn no_dangerous_character_of_all_there_are_survives() {
        let mut dangerous = 0;
        for ch in '\0'..=char::MAX {
            let shown = escape(&ch.to_string());
            assert!(!shown.chars().any(is_dangerous), "U+{:04X}", u32::from(ch));
            dangerous += u32::from(is_dangerous(ch));
        }
        assert!(dangerous > 200);
        for ch in "aZ09 äßéñ中あ한ж€–…!\"'\\$`~".chars() {
            assert_eq!(escape(&ch.to_string()), ch.to_string());
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn whatever_the_bytes_nothing_dangerous_is_shown_and_showing_it_twice_changes_nothing(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let text = String::from_utf8_lossy(&bytes);
            for shown in [escape(&text), Untrusted::new(&*text).escaped()] {
                proptest::prop_assert!(!shown.chars().any(is_dangerous), "{shown:?}");
                // What is shown can be shown again, wrapped or in an error.
                let long = shown.chars().count() > SHOWN;
                proptest::prop_assert!(long || escape(&shown).starts_with(&shown));
            }
        }
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

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_of_a_document_reaches_a_terminal_raw_or_is_lost(
            text in proptest::collection::vec(proptest::char::any(), 0..100),
        ) {
            let text: String = text.into_iter().collect();
            let document = std::collections::BTreeMap::from([(text.clone(), text)]);
            let shown = EscapedJson::pretty(&document);
            let raw = |ch: char| ch != '\n' && (ch.is_control() || is_invisible(ch));
            proptest::prop_assert!(!shown.chars().any(raw), "{shown:?}");
            let read: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&shown).unwrap();
            proptest::prop_assert_eq!(read, document);
        }
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_written_raw_and_nothing_is_lost() {
        let nasty = "a\u{9b}31m\u{202e}\u{7f}\u{e0001}\u{1b}]0;x\u{7}";
        let text = EscapedJson::pretty(&nasty);
        let shown = text.trim_end_matches('\n');
        assert!(
            shown
                .chars()
                .all(|ch| !ch.is_control() && !is_invisible(ch)),
            "{shown:?}"
        );
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty);
    }
}
