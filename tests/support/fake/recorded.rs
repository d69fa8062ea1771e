//! What live engines answered, word for word but for what tells of the machine.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Stands for the data root.
pub const ROOT: &str = "/var/lib/docker";

/// The answers of one engine.
pub const PARTS: [&str; 9] = [
    "version",
    "info",
    "images",
    "inspects",
    "containers",
    "services",
    "tasks",
    "build_cache",
    "events",
];

/// One recording, and which.
pub struct Recorded(pub Value, pub String);

impl Recorded {
    pub fn path(kind: &str) -> PathBuf {
        let name = kind.replace(' ', "-");
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/support/fake/recorded/{name}.json"))
    }

    pub fn read(kind: &str) -> Recorded {
        let path = Recorded::path(kind);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Recorded(serde_json::from_str(&text).expect("JSON"), kind.to_owned())
    }

    /// A part, with the data root where the fake has it.
    pub fn part(&self, part: &str, root: &Path) -> Value {
        let text = self.0[part].to_string();
        let root = root.to_string_lossy();
        serde_json::from_str(&text.replace(ROOT, &root)).expect("JSON")
    }
}
