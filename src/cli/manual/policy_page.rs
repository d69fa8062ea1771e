//! secateur-policy(5): the comments of config/policy.toml, with each value's
//! form from the schema.

use roff::{bold, italic, roman};
use serde_json::Value;

use crate::cli::manual::page::{Page, spans};
use crate::policy::document::{Document, Key, Part, Section, sections};

pub(super) fn page() -> String {
    let Document { intro, sections } = sections(crate::policy::DEFAULT);
    let schema = crate::policy::schema::schema();
    let mut page = Page::new("secateur-policy", "5", "retention policy of secateur");
    page.section("SYNOPSIS");
    page.paragraph("/etc/secateur/policy.toml");
    page.section("DESCRIPTION");
    for part in intro.parts() {
        said(&mut page, part);
    }
    page.paragraph(
        "The file is TOML. `age.min_age` must be given; every other key has a default. \
         An unknown key or a value out of range is an error that names line, column and \
         the nearest known key, and ends every command with exit code 78. A file that \
         anyone but root or you can write to is refused (77).",
    );
    for section in &sections {
        let list = ["guard.lock", "retain"].contains(&section.name.as_str());
        page.section(&if list {
            format!("[[{}]]", section.name)
        } else {
            format!("[{}]", section.name)
        });
        for part in section.doc.parts() {
            said(&mut page, part);
        }
        for key in &section.keys {
            item(&mut page, section, key, &schema);
        }
    }
    page.section("VALUES");
    page.item(
        vec![bold("duration")],
        "A number and a unit, or several: \"14d\", \"1h 30m\". Units: s seconds, m minutes, \
         h hours, d days, w weeks, M months, y years. 1m is a minute, 1M a month.",
    );
    page.item(
        vec![bold("size")],
        "A number and a unit: \"10GiB\", \"500MB\". With i, powers of 1024; without, of 1000.",
    );
    page.item(
        vec![bold("image")],
        "A name as docker writes it: what has no registry is docker.io's, what has no tag \
         is latest. In `keep.images`, * stands for any text, and a pattern for whole \
         repositories (\"ghcr.io/acme/*\", \"postgres:*\") covers their digests, too.",
    );
    page.section("EXAMPLES");
    page.paragraph(
        "Try a policy out without touching anything; a saved host needs no engine at all:",
    );
    page.literal([
        "secateur plan --policy /root/new.toml",
        "secateur plan --save-inventory /root/host.json",
        "secateur plan --inventory /root/host.json --policy /root/new.toml",
    ]);
    page.paragraph("Have an editor check the file, by this as its first line:");
    page.literal(["#:schema /usr/share/secateur/policy.schema.json"]);
    page.section("SEE ALSO");
    page.paragraph("`secateur`(1)");
    page.done()
}

fn said(page: &mut Page, part: Part) {
    match part {
        Part::Text(text) => page.paragraph(&text),
        Part::Literal(line) => page.literal([line.as_str()]),
    }
}

fn item(page: &mut Page, section: &Section, key: &Key, schema: &Value) {
    let form = form(section, key, schema);
    let mut parts = key.doc.parts().into_iter();
    let Some(Part::Text(first)) = parts.next() else {
        panic!("{} begins with no text", key.name);
    };
    let term = vec![bold(key.name.as_str()), roman(" = "), italic(form)];
    page.item(term, &first);
    for part in parts {
        page.further(match part {
            Part::Text(text) => spans(&text),
            Part::Literal(line) => vec![roman(line)],
        });
    }
    if let Some(example) = &key.example {
        page.further(vec![roman("Example: "), bold(example.as_str())]);
    }
    if let Some(value) = &key.value {
        let word = if key.is_default(section) {
            "Default"
        } else {
            "In the built-in policy"
        };
        page.further(vec![roman(format!("{word}: ")), bold(value.as_str())]);
    }
}

/// The form of a key's value, from its schema.
fn form(section: &Section, key: &Key, schema: &Value) -> &'static str {
    let of = |at: &Value, name: &str| -> Value {
        let at = if at["type"] == "array" {
            &at["items"]
        } else {
            at
        };
        at["properties"][name].clone()
    };
    let at = section
        .name
        .split('.')
        .fold(schema.clone(), |at, part| of(&at, part));
    let at = of(&at, &key.name);
    match (key.name.as_str(), at["type"].as_str()) {
        ("digest_pinned", _) => "\"keep\" or a duration",
        ("pulls", _) => "\"require\" or \"best-effort\"",
        ("kind", _) => "\"flock\" or \"exists\"",
        ("compress", _) => "\"none\" or \"gzip\"",
        ("min_free" | "max_size", _) => "size",
        ("max_share", _) => "size or share",
        ("path" | "data_root" | "dir", _) => "path",
        ("lists", _) => "list of paths",
        ("images" | "never", Some("array")) => "list of images",
        ("labels" | "busy_labels", Some("array")) => "list of labels",
        (_, Some("integer")) => "whole number",
        (name, Some("number")) if name.ends_with("percent") || name == "max_cpu_pressure" => {
            "0 to 100"
        }
        (_, Some("number")) => "above 0, at most 1",
        (_, Some("string")) => "duration",
        (name, kind) => panic!("no words for {name}: {kind:?}"),
    }
}
