//! Reports the signs that a pull, load, save or build leaves in the engine's
//! own folders while it is under way, and whether each is live or left behind.
//!
//! It only looks: it opens no file of the engine, follows no link inside its
//! folders' entries, removes nothing that was left behind. And no sign does not
//! mean that nothing is under way: between two layers, and while a pull
//! resolves names, there is no file. Nor are there any below the data root
//! where the engine was started with `DOCKER_TMPDIR`, but for extraction.

mod judge;
mod open_files;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};

use self::open_files::FileId;
use crate::activity::{ClockReading, PullSign, PullSigns, Unreadable};
use crate::host::{process, quoted};

/// More entries than this, in one folder or below one sign, are not looked at.
const ENTRY_LIMIT: usize = 10_000;

/// Where an engine keeps its files, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// GET /info `DockerRootDir`, or what the policy says instead.
    pub data_root: PathBuf,
    /// The graphdriver's name, such as `overlay2`; `None` for the containerd
    /// store.
    pub driver: Option<String>,
    /// containerd's root: `<data-root>/containerd/daemon`, or the system's
    /// `/var/lib/containerd`. Required for the containerd store.
    pub containerd_root: Option<PathBuf>,
}

/// Looks for signs, in order of their paths. `now` must be fresh, not the one
/// that the run began with: what changed after it seems to lie in the future.
///
/// Without a sign this costs a few directory listings; only with one are the
/// open files of all processes looked through.
///
/// Never fails: what cannot be read is in [`PullSigns::unreadable`]. A folder
/// that does not exist is "no sign" only inside a root that surely is an
/// engine's, for in a container the same path may be another, empty folder.
#[must_use]
pub fn look(roots: &Roots, now: &ClockReading) -> PullSigns {
    let mut unreadable = Vec::new();
    let mut traces = Vec::new();
    for place in places(roots, &mut unreadable) {
        match place.traces() {
            Ok(found) => traces.extend(found),
            Err(problem) => unreadable.push(problem),
        }
    }
    unreadable.sort_by(|a, b| a.path.cmp(&b.path));
    PullSigns {
        signs: judge_all(traces, now),
        unreadable,
    }
}

/// Who works on a sign: whose open files tell whether it is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    /// A file that this process has open for as long as it runs. To find it
    /// open somewhere proves that the process's open files can be seen.
    ///
    /// Seen open on fresh engines of 20.10.24, 26.1.5 and 28.5.2, both stores:
    /// `volumes/metadata.db` in dockerd, `meta.db` in containerd. A backup that
    /// reads that file while the engine itself is hidden from us would pass for
    /// a proof; then [`judge`] still wants a minute of quiet.
    anchor: PathBuf,
}

/// A folder, and which of its entries are signs.
#[derive(Debug)]
struct Place {
    /// What the folder lies in; known to be there.
    root: PathBuf,
    folder: PathBuf,
    /// Names that begin so; any name where this is empty.
    prefixes: &'static [&'static str],
    owner: Owner,
}

/// One sign, and what is needed to judge it.
#[derive(Debug)]
struct Trace {
    path: PathBuf,
    /// The sign itself and everything below it.
    files: Vec<(FileId, OsString)>,
    /// The newest change of any of them.
    changed: DateTime<Utc>,
    owner: Owner,
}

/// Where signs may be. A root that is not what it should be yields no place,
/// and goes to `unreadable`.
///
/// Podman would add `/var/tmp` with `container_images_storage*` here.
fn places(roots: &Roots, unreadable: &mut Vec<Unreadable>) -> Vec<Place> {
    let mut places = Vec::new();
    match check_data_root(roots) {
        Ok(()) => places.extend(places_of_dockerd(roots)),
        Err(problem) => unreadable.push(problem),
    }
    match check_containerd_root(roots) {
        Err(problem) => unreadable.push(problem),
        Ok(None) => {}
        Ok(Some(root)) => places.push(Place {
            root: root.to_owned(),
            folder: root.join("io.containerd.content.v1.content/ingest"),
            prefixes: &[],
            owner: Owner {
                anchor: root.join("io.containerd.metadata.v1.bolt/meta.db"),
            },
        }),
    }
    places
}

fn places_of_dockerd(roots: &Roots) -> Vec<Place> {
    let root = &roots.data_root;
    let place = |folder, prefixes| Place {
        root: root.clone(),
        folder,
        prefixes,
        owner: Owner {
            anchor: root.join("volumes/metadata.db"),
        },
    };
    let mut places = vec![
        // Downloaded layers; images loaded and saved.
        place(
            root.join("tmp"),
            &["GetImageBlob", "docker-import-", "docker-export-"],
        ),
        // Layers that BuildKit pulls for a build.
        place(root.join("buildkit/content/ingest"), &[]),
    ];
    if let Some(driver) = &roots.driver {
        // Layers that are being extracted.
        let layers = root.join("image").join(driver).join("layerdb");
        places.push(place(layers.join("tmp"), &["write-set-"]));
    }
    places
}

fn check_data_root(roots: &Roots) -> Result<(), Unreadable> {
    let root = &roots.data_root;
    let Some(driver) = &roots.driver else {
        // Made at the engine's start, whichever its store.
        return require_one_of(root, &["containers".into()]);
    };
    let mut parts = Path::new(driver).components();
    let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
        let why = format!("found the driver name {driver:?}, wanted a plain name");
        return Err(Unreadable {
            path: root.clone(),
            why,
        });
    };
    require_one_of(root, &[Path::new("image").join(driver)])
}

fn check_containerd_root(roots: &Roots) -> Result<Option<&Path>, Unreadable> {
    match (&roots.containerd_root, &roots.driver) {
        (None, Some(_)) => Ok(None),
        (None, None) => Err(Unreadable {
            path: roots.data_root.clone(),
            why: "the images are in containerd's store, and its folder is not known".to_owned(),
        }),
        (Some(root), _) => {
            // The database from containerd's start on, the content from the
            // first pull on (26.1.5, 28.5.2).
            require_one_of(
                root,
                &[
                    "io.containerd.metadata.v1.bolt".into(),
                    "io.containerd.content.v1.content".into(),
                ],
            )?;
            Ok(Some(root))
        }
    }
}

fn require_one_of(root: &Path, folders: &[PathBuf]) -> Result<(), Unreadable> {
    for folder in folders {
        let path = root.join(folder);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    let wanted: Vec<_> = folders.iter().map(|folder| quoted(folder)).collect();
    Err(Unreadable {
        path: root.to_owned(),
        why: format!(
            "it does not look like the engine's folder: found no {} in it; if the engine sees \
             other file systems than we do, name its data root as seen from here in \
             engine.data_root",
            wanted.join(" nor ")
        ),
    })
}

impl Place {
    fn traces(&self) -> Result<Vec<Trace>, Unreadable> {
        let listing = match fs::read_dir(&self.folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.dangling_link() {
                    None => Ok(Vec::new()),
                    Some(link) => Err(unreadable(link, &error)),
                };
            }
            Err(error) => return Err(unreadable(&self.folder, &error)),
        };
        let mut traces = Vec::new();
        for (number, entry) in listing.enumerate() {
            let entry = entry.map_err(|error| unreadable(&self.folder, &error))?;
            if number == ENTRY_LIMIT {
                return Err(too_many(&self.folder));
            }
            if self.is_sign(&entry.file_name()) {
                traces.extend(trace(&entry.path(), &self.owner)?);
            }
        }
        Ok(traces)
    }

    fn is_sign(&self, name: &OsStr) -> bool {
        let name = name.as_encoded_bytes();
        self.prefixes.is_empty()
            || self
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_bytes()))
    }

    /// A folder that is linked to where only the engine can follow is not a
    /// missing folder.
    fn dangling_link(&self) -> Option<&Path> {
        self.folder
            .ancestors()
            .take_while(|folder| *folder != self.root)
            .find(|folder| folder.is_symlink() && !folder.exists())
    }
}

/// Collects a sign and everything below it; `None` if it went meanwhile, as
/// files of a running pull do at any moment.
fn trace(path: &Path, owner: &Owner) -> Result<Option<Trace>, Unreadable> {
    let mut files = Vec::new();
    let mut changed = None;
    let mut ahead = vec![path.to_owned()];
    while let Some(at) = ahead.pop() {
        let meta = match fs::symlink_metadata(&at) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&at, &error)),
        };
        changed = changed.max(Some(last_change(&meta)));
        files.push((
            FileId::of(&meta),
            at.file_name().unwrap_or_default().to_owned(),
        ));
        if !meta.is_dir() {
            continue;
        }
        let listing = match fs::read_dir(&at) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&at, &error)),
        };
        for entry in listing {
            let entry = entry.map_err(|error| unreadable(&at, &error))?;
            ahead.push(entry.path());
            if files.len() + ahead.len() > ENTRY_LIMIT {
                return Err(too_many(path));
            }
        }
    }
    Ok(changed.map(|changed| Trace {
        path: path.to_owned(),
        files,
        changed,
        owner: owner.clone(),
    }))
}

/// ctime, not mtime: every write moves both, but `docker load` unpacks archives
/// here and gives their files the dates of the archive, 1970 or 2999.
fn last_change(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.ctime(), meta.ctime_nsec())
}

/// A date that chrono cannot hold is as good as the far future: it proves no
/// quiet.
fn moment(seconds: i64, nanoseconds: i64) -> DateTime<Utc> {
    u32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn judge_all(mut traces: Vec<Trace>, now: &ClockReading) -> Vec<PullSign> {
    if traces.is_empty() {
        return Vec::new();
    }
    traces.sort_by(|a, b| a.path.cmp(&b.path));
    // A missing anchor is no proof, and that is all that follows.
    let anchor_of = |trace: &Trace| {
        fs::metadata(&trace.owner.anchor)
            .ok()
            .map(|meta| FileId::of(&meta))
    };
    let anchors: Vec<Option<FileId>> = traces.iter().map(anchor_of).collect();
    let names: BTreeSet<OsString> = traces
        .iter()
        .flat_map(|trace| {
            let files = trace.files.iter().map(|(_, name)| name.as_os_str());
            files.chain(trace.owner.anchor.file_name())
        })
        .map(OsStr::to_owned)
        .collect();
    let open = open_files::who_has_open(&names);
    traces
        .into_iter()
        .zip(anchors)
        .map(|(trace, anchor)| {
            let user = trace.files.iter().find_map(|(id, _)| open.get(id));
            let state = judge::judge(
                user.copied().map(process::describe),
                anchor.is_some_and(|id| open.contains_key(&id)),
                now.wall - trace.changed,
            );
            PullSign {
                path: trace.path,
                state,
            }
        })
        .collect()
}

fn unreadable(path: &Path, error: &io::Error) -> Unreadable {
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => ": run as root, or give CAP_DAC_READ_SEARCH",
        _ => "",
    };
    Unreadable {
        path: path.to_owned(),
        why: format!("{error}{help}"),
    }
}

fn too_many(path: &Path) -> Unreadable {
    Unreadable {
        path: path.to_owned(),
        why: format!("found more than {ENTRY_LIMIT} entries in it, the most that are looked at"),
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests;
