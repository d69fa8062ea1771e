//! The folders of an engine that may hold signs. Checks that they are that engine's.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use nix::libc;

use crate::model::conditions::{Cure, Unreadable};
use crate::model::text::{escape, quoted};

/// The folders of an engine, as this program sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Engines from 23 on keep it in a file of their data root.
    pub engine_id: String,
    /// GET /info `DockerRootDir`, or the policy's `engine.data_root`.
    pub data_root: PathBuf,
    /// The graphdriver's name, such as `overlay2`; `None` for the containerd
    /// store.
    pub driver: Option<String>,
    /// containerd's root: `<data-root>/containerd/daemon`, or the system's
    /// `/var/lib/containerd`. Required for the containerd store.
    pub containerd_root: Option<PathBuf>,
}

/// When a sign is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// While it is open or grows. A quiet one is stale.
    Changing,
    /// As `Changing`, in a folder where only BuildKit works.
    ChangingByBuildKit,
    /// While it exists: a build does not touch its context while one of its commands runs. A
    /// stale one looks the same, and goes at the engine's next start.
    Existing,
}

/// A folder, and which of its entries are signs.
#[derive(Debug)]
pub(super) struct Place {
    /// The engine's folder around this one. It exists.
    root: PathBuf,
    pub(super) folder: PathBuf,
    /// Signs begin with one of these; if there are none, any name is a sign.
    prefixes: &'static [(&'static str, Liveness)],
    /// Whether an engine makes it at each start. If it is missing, the engine uses another.
    pub(super) always_there: bool,
    /// A file that the process behind these signs has open as long as it runs. Whoever sees it
    /// open can see the open files of that process.
    ///
    /// Seen open on fresh engines of 20.10.24, 26.1.5 and 28.5.2, both stores:
    /// `volumes/metadata.db` in dockerd, `meta.db` in containerd. A backup that reads this file
    /// while the engine is hidden from us would pass for a proof; then `state` still wants a
    /// minute of quiet.
    pub(super) anchor: PathBuf,
}

/// All places. A root that is not the engine's has none, and goes to `unreadable`.
pub(super) fn of(roots: &Roots, unreadable: &mut Vec<Unreadable>) -> Vec<Place> {
    let mut places = Vec::new();
    match check_data_root(roots).and_then(|()| check_id(roots)) {
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
            always_there: false,
            anchor: root.join("io.containerd.metadata.v1.bolt/meta.db"),
        }),
    }
    places
}

/// Whether the data root surely is this engine's.
pub(in crate::host) fn is_this_engines(roots: &Roots) -> bool {
    check_data_root(roots)
        .and_then(|()| check_id(roots))
        .is_ok()
}

fn places_of_dockerd(roots: &Roots) -> Vec<Place> {
    let root = &roots.data_root;
    let place = |folder, prefixes| Place {
        root: root.clone(),
        folder,
        prefixes,
        always_there: false,
        anchor: root.join("volumes/metadata.db"),
    };
    let mut places = vec![
        Place {
            // On the containerd store only build contexts are here.
            always_there: roots.driver.is_some(),
            ..place(
                root.join("tmp"),
                &[
                    ("GetImageBlob", Liveness::Changing),
                    ("docker-import-", Liveness::Changing),
                    ("docker-export-", Liveness::Changing),
                    // docker-builder for an archive, docker-build-git for a repository.
                    ("docker-build", Liveness::Existing),
                ],
            )
        },
        // Layers that BuildKit pulls for a build.
        place(
            root.join("buildkit/content/ingest"),
            &[("", Liveness::ChangingByBuildKit)],
        ),
    ];
    if let Some(driver) = &roots.driver {
        // Layers that are being extracted.
        let layers = root.join("image").join(driver).join("layerdb");
        places.push(place(
            layers.join("tmp"),
            &[("write-set-", Liveness::Changing)],
        ));
    }
    places
}

fn check_data_root(roots: &Roots) -> Result<(), Unreadable> {
    let root = &roots.data_root;
    let Some(driver) = &roots.driver else {
        // Every engine makes this at its start.
        return require_one_of(root, &["containers".into()]);
    };
    let mut parts = Path::new(driver).components();
    let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
        let why = format!("found the driver name {driver:?}, wanted a plain name");
        return Err(Unreadable::new(root, why, Cure::DataRoot));
    };
    require_one_of(root, &[Path::new("image").join(driver)])
}

/// A container may have the host's socket and an engine of its own, whose data root is at the
/// path that the host's engine names.
fn check_id(roots: &Roots) -> Result<(), Unreadable> {
    let path = roots.data_root.join("engine-id");
    let mut id = String::new();
    // The file holds the id alone: no more is read.
    let open = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let read = open.and_then(|file| {
        file.take(roots.engine_id.len() as u64 + 2)
            .read_to_string(&mut id)
    });
    match read {
        Ok(_) if id.trim_end() == roots.engine_id => Ok(()),
        Ok(_) => {
            let (found, wanted) = (escape(id.trim_end()), escape(&roots.engine_id));
            let why =
                format!("it is another engine's folder: found the id {found}, wanted {wanted}");
            Err(Unreadable::new(path, why, Cure::DataRoot))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

fn check_containerd_root(roots: &Roots) -> Result<Option<&Path>, Unreadable> {
    match (&roots.containerd_root, &roots.driver) {
        (None, Some(_)) => Ok(None),
        (None, None) => Err(Unreadable::new(
            &roots.data_root,
            "the images are in containerd's store, and its folder is not known",
            Cure::ContainerdRoot,
        )),
        (Some(root), _) => {
            // The database from containerd's start on, the content from the
            // first pull on (26.1.5, 28.5.2).
            require_one_of(
                root,
                &[
                    "io.containerd.metadata.v1.bolt".into(),
                    "io.containerd.content.v1.content".into(),
                ],
            )
            .map_err(|problem| match problem.cure {
                Cure::DataRoot => Unreadable {
                    cure: Cure::ContainerdRoot,
                    ..problem
                },
                _ => problem,
            })?;
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
    let wanted = wanted.join(" nor ");
    let why = format!("it does not look like the engine's folder: found no {wanted} in it");
    Err(Unreadable::new(root, why, Cure::DataRoot))
}

impl Place {
    /// When an entry of this name is live, if it is a sign.
    pub(super) fn sign(&self, name: &OsStr) -> Option<Liveness> {
        if self.prefixes.is_empty() {
            return Some(Liveness::Changing);
        }
        let name = name.as_encoded_bytes();
        let begins = |(prefix, _): &&(&str, Liveness)| name.starts_with(prefix.as_bytes());
        self.prefixes
            .iter()
            .find(begins)
            .map(|(_, liveness)| *liveness)
    }

    /// A link on the way to the folder that only the engine can follow: then the folder is
    /// not missing.
    pub(super) fn dangling_link(&self) -> Option<&Path> {
        self.folder
            .ancestors()
            .take_while(|folder| *folder != self.root)
            .find(|folder| folder.is_symlink() && !folder.exists())
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Unreadable {
    let cure = match error.kind() {
        io::ErrorKind::PermissionDenied => Cure::Permission,
        _ => Cure::DataRoot,
    };
    Unreadable::new(path, error.to_string(), cure)
}
