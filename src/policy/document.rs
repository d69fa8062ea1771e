//! config/policy.toml as documentation: each section and key with the comment above
//! it. A key that is commented out is an example. Only tests use it.

/// A comment, line by line, without its `# `.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doc(Vec<String>);

/// One part of a comment.
#[derive(Debug, PartialEq)]
pub(crate) enum Part {
    /// Text that may be wrapped.
    Text(String),
    /// An indented line, printed as it is.
    Literal(String),
}

impl Doc {
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut open = false;
        for line in &self.0 {
            match (line.strip_prefix("  "), parts.last_mut()) {
                (Some(literal), _) => parts.push(Part::Literal(literal.to_owned())),
                (None, _) if line.is_empty() => {}
                (None, Some(Part::Text(text))) if open => {
                    text.push(' ');
                    text.push_str(line);
                }
                (None, _) => parts.push(Part::Text(line.clone())),
            }
            open = !line.is_empty();
        }
        parts
    }

    /// All of it, for a description.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<String> = self
            .parts()
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Literal(line) => format!("  {line}"),
            })
            .collect();
        lines.join("\n")
    }
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) doc: Doc,
    /// As the file sets it.
    pub(crate) value: Option<String>,
    /// As a line that is commented out sets it.
    pub(crate) example: Option<String>,
}

impl Key {
    /// Whether the value in the file is also the default. The minimum age has no
    /// default, and the lock of the file is only one of the locks that may be.
    pub(crate) fn is_default(&self, section: &Section) -> bool {
        self.value.is_some() && self.name != "min_age" && section.name != "guard.lock"
    }
}

#[derive(Debug)]
pub(crate) struct Section {
    /// `guard.lock`.
    pub(crate) name: String,
    pub(crate) doc: Doc,
    pub(crate) keys: Vec<Key>,
}

#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) intro: Doc,
    pub(crate) sections: Vec<Section>,
}

/// Panics where a section or key has no comment.
pub(crate) fn sections(text: &str) -> Document {
    let mut intro = None;
    let mut sections: Vec<Section> = Vec::new();
    let mut pending = Doc::default();
    for line in text.lines().chain([""]) {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = header(bare) {
            // Another example of the same list needs no comment.
            if sections.iter().all(|section| section.name != name) {
                assert!(!pending.0.is_empty(), "[{name}] has no comment");
                sections.push(Section {
                    name: name.to_owned(),
                    doc: std::mem::take(&mut pending),
                    keys: Vec::new(),
                });
            }
        } else if let Some((name, value)) = key(bare) {
            let section = sections.last_mut().expect("a key stands in a section");
            let (value, example) = if line.starts_with('#') {
                (None, Some(value.to_owned()))
            } else {
                (Some(value.to_owned()), None)
            };
            if let Some(known) = section.keys.iter_mut().find(|key| key.name == name) {
                known.value = known.value.take().or(value);
                known.example = known.example.take().or(example);
            } else {
                assert!(!pending.0.is_empty(), "{name} has no comment");
                section.keys.push(Key {
                    name: name.to_owned(),
                    doc: std::mem::take(&mut pending),
                    value,
                    example,
                });
            }
        } else if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.strip_prefix(' ').unwrap_or(comment);
            pending.0.push(comment.to_owned());
        } else {
            assert!(line.is_empty(), "neither key nor comment: {line}");
            if intro.is_none() {
                intro = Some(std::mem::take(&mut pending));
            }
            assert!(pending.0.is_empty(), "a comment of nothing: {pending:?}");
        }
    }
    Document {
        intro: intro.unwrap_or_default(),
        sections,
    }
}

fn header(line: &str) -> Option<&str> {
    let name = line.trim_start_matches('[').trim_end_matches(']');
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.');
    (line.starts_with('[') && line.ends_with(']') && plain(name)).then_some(name)
}

fn key(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" = ")?;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then_some((name, value))
}
