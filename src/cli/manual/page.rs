//! A man page in roff, part by part.

use roff::{Inline, Roff, bold, roman};

pub(super) struct Page {
    roff: Roff,
    /// The last part was a heading: what follows needs no .PP.
    headed: bool,
}

impl Page {
    /// Without a date: the same sources give the same page.
    pub(super) fn new(title: &str, section: &str, about: &str) -> Self {
        let mut roff = Roff::new();
        let source = concat!("secateur ", env!("CARGO_PKG_VERSION"));
        roff.control("TH", [title, section, NO_DATE, source]);
        let mut page = Self {
            roff,
            headed: false,
        };
        page.section("NAME");
        page.roff.text([roman(format!("{title} - {about}"))]);
        page
    }

    pub(super) fn section(&mut self, name: &str) {
        self.roff.control("SH", [name]);
        self.headed = true;
    }

    pub(super) fn subsection(&mut self, name: &str) {
        self.roff.control("SS", [name]);
        self.headed = true;
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.lines(spans(text));
    }

    pub(super) fn lines(&mut self, text: Vec<Inline>) {
        if !std::mem::take(&mut self.headed) {
            self.roff.control("PP", []);
        }
        self.roff.text(text);
    }

    /// A term and its description.
    pub(super) fn item(&mut self, term: Vec<Inline>, text: &str) {
        self.headed = false;
        self.roff.control("TP", []);
        self.roff.text(term);
        self.roff.text(spans(text));
    }

    /// Another paragraph of an item.
    pub(super) fn further(&mut self, text: Vec<Inline>) {
        self.roff.control("IP", []);
        self.roff.text(text);
    }

    /// Lines that are printed as they are.
    pub(super) fn literal<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.roff.control("PP", []);
        self.roff.control("RS", ["4"]);
        self.roff.control("nf", []);
        for line in lines {
            self.roff.text([roman(line)]);
        }
        self.roff.control("fi", []);
        self.roff.control("RE", []);
    }

    pub(super) fn done(self) -> String {
        self.roff.render().replacen(NO_DATE, "\"\"", 1)
    }
}

/// The roff crate drops an empty argument, and the next one would become the date.
const NO_DATE: &str = "NO-DATE";

/// Text in which `x` is bold.
pub(super) fn spans(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(number, part)| match number % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}
