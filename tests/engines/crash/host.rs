//! One small host, made the same again before each run: images to remove of
//! both kinds that get and lose names, images to keep, a name that a run left,
//! an intent that a run left open, and a ledger under which all of it is old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry};
use crate::support::Secateur;

/// All ages of a millisecond: images are loaded anew just before a run.
const POLICY: &str = r#"
[age]
min_age = "1ms"
digest_pinned = "1ms"
[disk]
start_above_percent = 0
stop_below_percent = 0
[limits]
max_fraction = 1.0
"#;

/// How the names begin that only the program gives.
pub const OURS: &str = "secateur.invalid/";

/// Everything that the program keeps, by name.
pub type State = BTreeMap<String, Vec<u8>>;

pub struct Host {
    pub engine: Engine,
    pub secateur: Secateur,
    /// Nameless images, by id, and how to load each again.
    nameless: BTreeMap<String, Archive>,
    /// The image with a digest reference alone, that reference, and the
    /// credentials for it.
    pinned: (String, String, String),
    /// A tagged image, to which a run that was cut off left its own name.
    named_twice: (String, String),
    /// Untagged, and a container is made of it.
    used: String,
    before: State,
    names_before: BTreeMap<String, BTreeSet<String>>,
}

impl Host {
    pub fn new(registry: &Registry, kind: Kind) -> Host {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), POLICY);
        let archives = [Archive::new(), Archive::new()];
        let nameless = archives.map(|archive| (engine.load(&archive), archive));
        let digest = registry.put("pinned:v1", &Archive::new());
        let reference = format!("{}@{digest}", registry.name("pinned"));
        let auth = registry.auth_header();
        engine.pull(&reference, Some(&auth));
        let pinned = (engine.id(&reference), reference, auth);
        let tagged = engine.small("kept:v1");
        let left = format!("{OURS}remove:{}", &tagged["sha256:".len()..][..12]);
        let used = engine.load(&Archive::new());
        engine.create_container(&used, &["true"], &json!({}));

        let mut host = Host {
            engine,
            secateur,
            nameless: nameless.into(),
            pinned,
            named_twice: (tagged, left),
            used,
            before: State::new(),
            names_before: BTreeMap::new(),
        };
        let lock = host.deploy_lock();
        fs::write(&lock, "").expect("the deploy lock");
        host.goes_by(POLICY);
        host.secateur.look();
        host.before = host.state();
        host.before
            .insert("journal.jsonl".into(), host.open_intent());
        host.again();
        host.names_before = host.names();
        host
    }

    fn goes_by(&self, policy: &str) {
        let lock = self.deploy_lock();
        self.secateur.policy(&format!(
            "{policy}[[guard.lock]]\npath = \"{}\"\nkind = \"flock\"\n\
             [[guard.lock]]\npath = \"{}\"\nkind = \"exists\"\n",
            lock.display(),
            lock.with_extension("exists").display()
        ));
    }

    /// One run that is to keep the image that was pulled by digest.
    pub fn prune_but_pinned(&self) -> Value {
        self.goes_by(&POLICY.replace("digest_pinned = \"1ms\"", "digest_pinned = \"keep\""));
        let outcome = self.secateur.prune(0);
        self.goes_by(POLICY);
        outcome
    }

    /// The image that was pulled by digest, and its name.
    pub fn pinned(&self) -> (&str, &str) {
        (&self.pinned.0, &self.pinned.1)
    }

    /// From now on each run finds a ledger that does not read, and a journal so
    /// long that it is set aside, with an intent open at its beginning.
    pub fn with_files_to_set_aside(&mut self) {
        let open = self.open_intent();
        let closed = self.closed_intent();
        let mut journal = open;
        while journal.len() <= 4 << 20 {
            journal.extend_from_slice(&closed);
        }
        self.before.insert("journal.jsonl".into(), journal);
        self.before
            .insert(self.ledger(), b"{\"format\":2,".to_vec());
    }

    /// The name of the engine's ledger.
    pub fn ledger(&self) -> String {
        let mut names = self.before.keys();
        let ledger = names.find(|name| name.starts_with("ledger-"));
        ledger.expect("a ledger").clone()
    }

    /// Held by us while images go.
    pub fn deploy_lock(&self) -> PathBuf {
        self.secateur.dir().join("deploy.lock")
    }

    /// What a run that was cut off wrote before it named the tagged image.
    fn open_intent(&self) -> Vec<u8> {
        // The name is given anew before each run of the sweep, and on the containerd store a name
        // that no intent accounts for may be another run's.
        let sweep = chrono::Utc::now() + chrono::TimeDelta::days(1);
        let intent = json!({
            "schema": "secateur/journal/2",
            "at": sweep.to_rfc3339(),
            "run": "20260102T030405000Z-1",
            "id": self.named_twice.0,
            "event": "intent",
            "names": [],
            "class": "untagged",
            "unneeded_since": null,
            "evidence": null,
            "reclaimable_bytes_at_least": 1,
        });
        format!("{intent}\n").into_bytes()
    }

    /// The same of an earlier run and another image, and what came of it.
    fn closed_intent(&self) -> Vec<u8> {
        let intent = String::from_utf8(self.open_intent()).expect("UTF-8");
        let another = format!("sha256:{}", "7".repeat(64));
        let intent = intent
            .replace("20260102T030405000Z-1", "20260102T030405000Z-0")
            .replace(&self.named_twice.0, &another);
        let outcome = json!({
            "schema": "secateur/journal/2",
            "at": "2026-01-02T03:04:05Z",
            "run": "20260102T030405000Z-0",
            "id": another,
            "event": "outcome",
            "result": "skipped",
            // Few and long: it is the length that counts.
            "detail": "x".repeat(10_000),
        });
        format!("{intent}{outcome}\n").into_bytes()
    }

    /// What each run is to remove.
    pub fn planned(&self) -> BTreeSet<String> {
        let mut ids: BTreeSet<String> = self.nameless.keys().cloned().collect();
        ids.insert(self.pinned.0.clone());
        ids
    }

    /// What must stay, and the names that it must keep.
    pub fn kept(&self) -> BTreeMap<String, BTreeSet<String>> {
        let name = BTreeSet::from(["kept:v1".to_owned()]);
        let used = (self.used.clone(), BTreeSet::new());
        BTreeMap::from([(self.named_twice.0.clone(), name), used])
    }

    pub fn before(&self) -> &State {
        &self.before
    }

    /// Makes it all as it was.
    pub fn again(&self) {
        let folder = self.secateur.state();
        for name in self.state().into_keys() {
            if !self.before.contains_key(&name) {
                fs::remove_file(folder.join(name)).expect("a file that was left");
            }
        }
        for (name, bytes) in &self.before {
            let path = folder.join(name);
            fs::write(&path, bytes).expect("a file of the state");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its mode");
        }
        let (tagged, left) = &self.named_twice;
        for (id, names) in self.names() {
            for name in names {
                let ours = name.starts_with(OURS);
                if ours && name != *left {
                    let to_go = self.nameless.contains_key(&id) || id == self.pinned.0;
                    assert!(to_go, "{name} on {id}");
                    self.engine.remove(&name).ok("our name");
                }
            }
        }
        let here = self.names();
        for (id, archive) in &self.nameless {
            if !here.contains_key(id) {
                assert_eq!(self.engine.load(archive), *id);
            }
        }
        let (id, reference, auth) = &self.pinned;
        if !here.contains_key(id) {
            self.engine.pull(reference, Some(auth));
        }
        if !here[tagged].contains(left) {
            self.engine.tag(tagged, left);
        }
    }

    /// Whether the last run left everything as it was, to the byte (but for the
    /// number of its process in the run lock): then the next run is one like
    /// any other, and needs not be tried.
    pub fn is_untouched(&self) -> bool {
        let mut now = self.state();
        let lock = self.before["run.lock"].clone();
        now.insert("run.lock".into(), lock);
        now == self.before && self.names() == self.names_before
    }

    /// Every image, with its names: tags and digest references.
    pub fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().cloned().unwrap_or_default();
            list.iter()
                .map(|text| text.as_str().expect("a name").to_owned())
                .collect()
        };
        let images = self.engine.images();
        // The containerd store makes the others up from these.
        let made_up = self.engine.kind().containerd();
        let names = |image: &Value| {
            let id = image["Id"].as_str().expect("an id").to_owned();
            let digests = if made_up {
                Vec::new()
            } else {
                texts(&image["RepoDigests"])
            };
            let names = [texts(&image["RepoTags"]), digests];
            (id, names.concat().into_iter().collect())
        };
        images.iter().map(names).collect()
    }

    /// The state folder.
    pub fn state(&self) -> State {
        let folder = self.secateur.state();
        let Ok(listing) = fs::read_dir(&folder) else {
            return State::new();
        };
        listing
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                let bytes = fs::read(folder.join(&name)).expect("a file of the state");
                (name.into_string().expect("UTF-8"), bytes)
            })
            .collect()
    }
}
