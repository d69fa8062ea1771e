//! The text format of Prometheus, as far as gauges need it, written and read back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug)]
pub(crate) struct Page {
    prefix: &'static str,
    text: String,
}

impl Page {
    /// Every name begins with `prefix`.
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

    /// One sample for each value of a label; nothing, not even HELP, without samples.
    /// An empty `label` means none.
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

    /// As [`Self::gauges`], with two labels.
    pub(crate) fn table<'a>(
        &mut self,
        name: &str,
        help: &str,
        names: [&str; 2],
        samples: impl IntoIterator<Item = ([&'a str; 2], f64)>,
    ) {
        let samples = samples
            .into_iter()
            .map(|(words, value)| (labels(&[(names[0], words[0]), (names[1], words[1])]), value));
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

/// No escaping: label values are words of ours.
fn labels(labels: &[(&str, &str)]) -> String {
    let each: Vec<String> = labels
        .iter()
        .map(|(name, word)| format!("{name}=\"{word}\""))
        .collect();
    format!("{{{}}}", each.join(","))
}

/// The file's content before this run.
#[derive(Debug, Default)]
pub struct PreviousFile(BTreeMap<String, f64>);

impl PreviousFile {
    /// A line that is no sample is kept as a name without a number, so that
    /// [`Self::not_of`] finds it.
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

    /// Any series that does not begin with `prefix`.
    pub(crate) fn not_of(&self, prefix: &str) -> Option<&str> {
        let other = |series: &&String| !series.starts_with(prefix);
        self.0.keys().find(other).map(String::as_str)
    }

    /// A moment, in seconds since 1970, that is not after `now`.
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
