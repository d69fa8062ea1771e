//! The text format of Prometheus, as much of it as gauges need. Decides how a
//! sample is written, and reads back what we wrote ourselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A file of metrics, family by family.
#[derive(Debug)]
pub(crate) struct Page {
    prefix: &'static str,
    text: String,
}

impl Page {
    /// Every name begins with this.
    pub(crate) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            text: String::new(),
        }
    }

    pub(crate) fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// One sample without labels.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, "", [("", value)]);
    }

    /// One sample for each value of a label, or nothing at all. An empty label
    /// is none.
    pub(crate) fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        let samples = samples.into_iter().map(|(word, value)| {
            let labels = if label.is_empty() {
                String::new()
            } else {
                labels(&[(label, word)])
            };
            (labels, value)
        });
        self.family(name, help, samples);
    }

    /// The same, for two labels.
    pub(crate) fn table<'a>(
        &mut self,
        name: &str,
        help: &str,
        of: [&str; 2],
        samples: impl IntoIterator<Item = ([&'a str; 2], f64)>,
    ) {
        let samples = samples
            .into_iter()
            .map(|(words, value)| (labels(&[(of[0], words[0]), (of[1], words[1])]), value));
        self.family(name, help, samples);
    }

    fn family(&mut self, name: &str, help: &str, samples: impl Iterator<Item = (String, f64)>) {
        let prefix = self.prefix;
        let mut samples = samples.peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {prefix}{name} {help}");
        let _ = writeln!(self.text, "# TYPE {prefix}{name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(self.text, "{prefix}{name}{labels} {value}");
        }
    }

    pub(crate) fn done(self) -> String {
        self.text
    }
}

/// All our labels are words of our own: nothing in them wants escaping.
fn labels(labels: &[(&str, &str)]) -> String {
    let each: Vec<String> = labels
        .iter()
        .map(|(name, word)| format!("{name}=\"{word}\""))
        .collect();
    format!("{{{}}}", each.join(","))
}

/// What a file held before it is written anew.
#[derive(Debug, Default)]
pub struct Before(BTreeMap<String, f64>);

impl Before {
    /// Reads it; what does not read is kept as a name without a number, so that
    /// somebody else's file is known as such.
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(str::trim);
        let samples = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            samples
                .map(|line| {
                    let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
                    (series.to_owned(), value.parse().unwrap_or(f64::NAN))
                })
                .collect(),
        )
    }

    /// A series that does not begin so.
    pub(crate) fn not_of(&self, prefix: &str) -> Option<&str> {
        let other = |series: &&String| !series.starts_with(prefix);
        self.0.keys().find(other).map(String::as_str)
    }

    /// A moment that was written before, if it can be one: not after `now`.
    pub(crate) fn moment(
        &self,
        prefix: &str,
        name: &str,
        label: Option<(&str, &str)>,
        now: f64,
    ) -> Option<f64> {
        let labels = label.map_or_else(String::new, |label| labels(&[label]));
        let at = *self.0.get(&format!("{prefix}{name}{labels}"))?;
        (0.0..=now).contains(&at).then_some(at)
    }
}
