//! Small hosts for unit tests. Nothing here is in the program.

use chrono::{DateTime, TimeDelta, Utc};

use crate::memory::ledger::Ledger;
use crate::model::conditions::{ClockReading, Disk, Usage};
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{AtWork, Bytes, Dates, EngineFacts, Image, ImageId, Inventory, Observed, Store};

/// An engine's answer to GET /info.
pub const INFO: &str =
    r#"{"ID":"E","Containers":0,"Images":0,"Driver":"overlay2","DockerRootDir":"/var/lib/docker"}"#;

/// Runs a future on one thread, as the program does.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A folder that is trusted whatever the umask of whoever runs the tests.
pub fn folder_of_ours() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .unwrap()
}

/// A ledger as its file has it.
pub fn json_of(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.write_to(&mut bytes).unwrap();
    bytes
}

/// So many seconds after a fixed moment.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub fn clock(wall: i64, boot: u64, boot_id: &str) -> ClockReading {
    ClockReading {
        wall: at(wall),
        since_boot_secs: boot,
        boot_id: boot_id.to_owned(),
        latest: None,
        set_back_from: None,
    }
}

pub fn id(n: u64) -> ImageId {
    format!("{n:08x}{:056}", 0).parse().unwrap()
}

pub fn wanted(name: &str) -> crate::cache::promise::Wanted {
    crate::cache::promise::Wanted::Name(name.parse().unwrap())
}

pub fn deploy(service: &str) -> crate::guard::Refusal {
    let (service, what) = (service.into(), "update is updating".into());
    crate::guard::Cause::Deploy { service, what }.into()
}

pub fn digest(repository: &str, n: u64) -> Reference {
    format!("{repository}@sha256:{n:064x}").parse().unwrap()
}

/// An image without any name.
pub fn image(n: u64) -> Image {
    Image {
        id: id(n),
        tags: [].into(),
        digests: [].into(),
        ours: [].into(),
        parent: None,
        dates: Dates::default(),
        last_tag_time: None,
        restorable: None,
        untied: [].into(),
        ours_until: None,
        resists: false,
        size: Observed::Known(Bytes(100)),
        shared: Observed::Known(Bytes(0)),
        stays: None,
        labels: [].into(),
        incomplete: None,
    }
}

pub fn tagged(n: u64, name: &str) -> Image {
    Image {
        tags: [name.parse().unwrap()].into(),
        ..image(n)
    }
}

pub fn pinned(n: u64, repository: &str) -> Image {
    Image {
        digests: [digest(repository, n + 1000)].into(),
        ..image(n)
    }
}

/// A disk of 100 bytes, so many of them used.
pub fn disk(used: u64) -> Disk {
    Disk {
        path: "/".into(),
        bytes: Usage {
            used,
            available: 100 - used,
        },
        inodes: None,
    }
}

/// A promised image of which nothing is known but that it is here.
pub fn line(name: &str) -> crate::cache::findings::Line {
    crate::cache::findings::Line {
        image: wanted(name),
        by: vec![crate::cache::promise::By::Policy],
        state: crate::cache::State::Ready,
        since: None,
        checks: Vec::new(),
        not_asked: Vec::new(),
        restored: None,
        repair: None,
        saved: None,
    }
}

/// What verify-cache says of a disk of which so many percent are used.
pub fn room(
    used: u64,
    largest: Option<crate::cache::checks::room::Largest>,
) -> crate::cache::checks::room::Room {
    let path = std::path::PathBuf::from("/var/lib/docker");
    let folder = crate::host::storage::Storage {
        path: path.clone(),
        medium: Observed::Known(crate::host::storage::Medium::Lasting),
        disk: Observed::Known(Disk { path, ..disk(used) }),
    };
    let limits = crate::policy::RoomLimits {
        warn_percent: 85.0,
        crit_percent: 95.0,
    };
    let engine = inventory([]).engine;
    crate::cache::checks::room::check(&[folder], &engine, limits, largest)
}

/// A host with these images and a disk that is 90 % full, at moment 0.
pub fn inventory(images: impl IntoIterator<Item = Image>) -> Inventory {
    Inventory {
        taken_at: at(0),
        engine: EngineFacts {
            id: Untrusted::new("ENGINE"),
            version: Untrusted::new("28.5.2"),
            api: "1.51".into(),
            store: Store::Graphdriver,
            driver: Untrusted::new("overlay2"),
            root_dir: "/var/lib/docker".into(),
            data_root: "/var/lib/docker".into(),
            containerd_root: None,
        },
        images: images
            .into_iter()
            .map(|image| (image.id.clone(), image))
            .collect(),
        containers: Vec::new(),
        at_work: AtWork::idle(),
        events: Vec::new(),
        disk: Observed::Known(disk(90)),
    }
}

/// Compares `shown` with a file, and writes that file anew where the variable is set.
#[track_caller]
pub fn golden(folder: &str, update: &str, name: &str, shown: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name);
    if std::env::var_os(update).is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(
        shown == wanted,
        "{name} now reads:\n{shown}\nand was:\n{wanted}"
    );
}
