//! A text report under construction, with the width of its lines.

use std::fmt;

use crate::report::context::COLUMNS;

/// Columns that a table needs, whatever the terminal.
const NARROWEST: usize = 56;

/// A terminal has 24 lines, and the prompt takes one.
const LINES: usize = 23;

#[derive(Debug)]
pub(crate) struct Screen {
    text: String,
    columns: usize,
}

impl Screen {
    /// No wider than [`COLUMNS`].
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            text: String::new(),
            columns: columns.clamp(NARROWEST, COLUMNS),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(crate) fn blank_line(&mut self) {
        self.text.push('\n');
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The report.
    pub(crate) fn whole(self) -> String {
        self.text
    }

    /// The report. One that is longer than a terminal ends with `answer`, so that the last
    /// screen shows it.
    pub(crate) fn ending_with(mut self, answer: impl FnOnce() -> String) -> String {
        if self.text.lines().count() > LINES {
            self.blank_line();
            self.text.push_str(&answer());
        }
        self.text
    }

    /// The end of the report, for --quiet: a terminal shows that part.
    pub(crate) fn last_screen(self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let Some(left_out) = lines.len().checked_sub(LINES).filter(|more| *more > 0) else {
            return self.text;
        };
        let mut out = format!("({} more lines without --quiet)\n", left_out + 1);
        for line in &lines[left_out + 1..] {
            out.push_str(line);
            out.push('\n');
        }
        out
    }
}

impl fmt::Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        Ok(())
    }
}
