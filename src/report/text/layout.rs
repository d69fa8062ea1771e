//! Wraps lines at the width of the screen. All text of a report goes through here, so that
//! nothing in it can move a cursor or reorder text, wherever it came from.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::model::text::escape_up_to;
use crate::report::text::screen::Screen;

pub(crate) const LOUD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const FINE: Style = AnsiColor::Green.on_default();
pub(crate) const HEAD: Style = Style::new().bold();

/// The longest image name has some 520 characters, and half a name is useless.
const LONGEST_WORD: usize = 600;

fn whole(word: &str) -> String {
    escape_up_to(word, LONGEST_WORD)
}

/// `lead`, then the text. Continuation lines begin in the column of the first.
pub(crate) fn wrapped(out: &mut Screen, lead: &str, text: &str) {
    let column = lead.chars().count();
    out.push_str(lead);
    flow(out, column, column, text);
}

/// `head`, styled, then the text. Continuation lines are indented by two columns.
pub(crate) fn headed(out: &mut Screen, style: Style, head: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{style}{head}{style:#}");
    flow(out, head.chars().count(), 2, text);
}

/// `lead`, then the text. Continuation lines are indented by `indent` columns.
pub(crate) fn hanging(out: &mut Screen, lead: &str, indent: usize, text: &str) {
    out.push_str(lead);
    flow(out, lead.chars().count(), indent, text);
}

/// A command to copy. It is never broken over lines, however long it is.
pub(crate) fn command(out: &mut Screen, text: &str) {
    let words: Vec<String> = text.split(' ').map(whole).collect();
    let _ = writeln!(out, "  -> {}", words.join(" "));
}

/// Cuts the beginning of a name: its end tells more.
pub(crate) fn fitted(name: &str, room: usize) -> String {
    let width = name.chars().count();
    if width <= room {
        return name.to_owned();
    }
    let tail = name.chars().skip(width - room + 1);
    std::iter::once('…').chain(tail).collect()
}

/// A blank line between what needs a person and the rest.
pub(crate) fn blank_after(out: &mut Screen) {
    if !out.is_empty() {
        out.blank_line();
    }
}

/// Fills lines with words, from `column` on.
fn flow(out: &mut Screen, mut column: usize, indent: usize, text: &str) {
    let columns = out.columns();
    let new_line = |out: &mut Screen| {
        out.blank_line();
        out.push_str(&" ".repeat(indent));
    };
    let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(number) = words.next() {
        let word = whole(number);
        let unit = words.peek().filter(|unit| is_amount(number, unit));
        let wanted = word.chars().count() + unit.map_or(0, |unit| 1 + unit.chars().count());
        if column > indent && column + 1 + wanted > columns {
            new_line(out);
            column = indent;
        } else if column > indent {
            out.push_str(" ");
            column += 1;
        }
        let mut rest = word.as_str();
        while column + rest.chars().count() > columns {
            let (head, tail) = rest.split_at(break_in(rest, columns - column));
            out.push_str(head);
            new_line(out);
            (column, rest) = (indent, tail);
        }
        out.push_str(rest);
        column += rest.chars().count();
    }
    out.blank_line();
}

/// Whether these are a number and its unit, which stay on one line.
fn is_amount(number: &str, unit: &str) -> bool {
    const UNITS: [&str; 10] = ["%", "B", "KiB", "MiB", "GiB", "TiB", "d", "h", "min", "s"];
    let number = number.trim_start_matches('(');
    let unit = unit.trim_end_matches([',', ';', ':', '.', ')']);
    UNITS.contains(&unit) && number.parse::<f64>().is_ok()
}

/// Where to break a word that is longer than a line: before its digest, else after a slash,
/// else where the line ends.
fn break_in(word: &str, room: usize) -> usize {
    let end = word
        .char_indices()
        .nth(room.max(1))
        .map_or(word.len(), |(at, _)| at);
    let head = &word[..end];
    head.rfind('@')
        .filter(|at| *at > 0)
        .or_else(|| head.rfind('/').map(|at| at + 1))
        .unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::COLUMNS;

    fn wrap(text: &str) -> String {
        let mut out = Screen::new(COLUMNS);
        wrapped(&mut out, "note    ", text);
        out.whole()
    }

    #[test]
    fn a_short_text_is_one_line_and_a_long_one_goes_on_below_its_beginning() {
        assert_eq!(wrap("short"), "note    short\n");
        let long = wrap(&"word ".repeat(20));
        assert!(long.lines().count() == 2, "{long}");
        assert!(long.lines().nth(1).unwrap().starts_with("        word"));
    }

    #[test]
    fn a_number_and_its_unit_stay_on_one_line() {
        let before = "x".repeat(COLUMNS - "note     14.0".len());
        let shown = wrap(&format!("{before} 14.0 GiB, more"));
        assert_eq!(shown, format!("note    {before}\n        14.0 GiB, more\n"));
        let shown = wrap(&format!("{before} 14.0 images"));
        assert_eq!(shown, format!("note    {before} 14.0\n        images\n"));
    }

    #[test]
    fn a_word_that_no_line_holds_is_broken_where_it_reads_well() {
        let path = format!("{}/{}", "/some/folder".repeat(5), "b".repeat(30));
        assert_eq!(
            wrap(&format!("in {path}")),
            format!(
                "note    in\n        {}/\n        {}\n",
                "/some/folder".repeat(5),
                "b".repeat(30)
            )
        );
        let name = format!("ghcr.io/acme/app@sha256:{:064}", 0);
        let digest = name.trim_start_matches("ghcr.io/acme/app");
        assert_eq!(
            wrap(&name),
            format!("note    ghcr.io/acme/app\n        {digest}\n")
        );
        assert!(
            wrap(&"x".repeat(190))
                .lines()
                .all(|line| line.len() <= COLUMNS)
        );
    }

    #[test]
    fn nothing_that_moves_a_cursor_gets_through() {
        let shown = wrap("a\u{1b}[2J\r\nb \u{202e}c");
        assert_eq!(shown, "note    a\\u{1b}[2J\\r\\nb \\u{202e}c\n");
    }

    #[test]
    fn a_name_is_cut_at_its_beginning() {
        assert_eq!(fitted("acme/app:1.4", 12), "acme/app:1.4");
        assert_eq!(fitted("acme/app:1.4", 8), "…app:1.4");
    }
}
