//! Which engines there are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Engine versions and stores. The number is the major version that Debian's suites have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Overlay20,
    Overlay26,
    Containerd26,
    Overlay28,
    Containerd28,
    /// The engine that `SECATEUR_LAB_DOCKERD` names, where it names one.
    OverlayGiven,
    ContainerdGiven,
}

/// Some of the engines of the lab, and a given one with the stores that these have.
#[derive(Debug, Clone, Copy)]
pub struct Kinds(&'static [Kind]);

impl IntoIterator for Kinds {
    type Item = Kind;
    type IntoIter = std::vec::IntoIter<Kind>;

    fn into_iter(self) -> Self::IntoIter {
        let given = given().map(|_| [Kind::OverlayGiven, Kind::ContainerdGiven]);
        let with_such_a_store = |kind: &Kind| {
            let has = |other: &Kind| other.containerd() == kind.containerd();
            self.0.iter().any(has)
        };
        let given = given.into_iter().flatten().filter(with_such_a_store);
        let kinds: Vec<Kind> = self.0.iter().copied().chain(given).collect();
        kinds.into_iter()
    }
}

impl Kind {
    pub const ALL: Kinds = Kinds(&[
        Kind::Overlay20,
        Kind::Overlay26,
        Kind::Containerd26,
        Kind::Overlay28,
        Kind::Containerd28,
    ]);
    /// The oldest, the newest, and the newest with the other store.
    pub const MAIN: Kinds = Kinds(&[Kind::Overlay20, Kind::Overlay28, Kind::Containerd28]);
    /// The newest with each store.
    pub const NEWEST: Kinds = Kinds(&[Kind::Overlay28, Kind::Containerd28]);
    pub const NEWEST_OVERLAY: Kinds = Kinds(&[Kind::Overlay28]);
    pub const NEWEST_CONTAINERD: Kinds = Kinds(&[Kind::Containerd28]);
    /// Those with overlay2 that have not the same API in it.
    pub const OVERLAY: Kinds = Kinds(&[Kind::Overlay20, Kind::Overlay28]);
    /// Those with the containerd image store.
    pub const CONTAINERD: Kinds = Kinds(&[Kind::Containerd28, Kind::Containerd26]);

    pub fn name(self) -> &'static str {
        match self {
            Kind::Overlay20 => "20.10 overlay2",
            Kind::Overlay26 => "26.1 overlay2",
            Kind::Containerd26 => "26.1 containerd",
            Kind::Overlay28 => "28.5 overlay2",
            Kind::Containerd28 => "28.5 containerd",
            Kind::OverlayGiven => &the_given().names[0],
            Kind::ContainerdGiven => &the_given().names[1],
        }
    }

    pub fn major(self) -> &'static str {
        let name = self.name();
        name.split_once('.').map_or(name, |(major, _)| major)
    }

    /// Has it the containerd image store?
    pub fn containerd(self) -> bool {
        matches!(
            self,
            Kind::Containerd26 | Kind::Containerd28 | Kind::ContainerdGiven
        )
    }

    /// The Debian suite whose packages it is. A given dockerd has the newest containerd, runc and
    /// client that there are.
    pub fn suite(self) -> &'static str {
        match self {
            Kind::Overlay20 => "bookworm",
            Kind::Overlay26 | Kind::Containerd26 => "trixie",
            Kind::Overlay28 | Kind::Containerd28 | Kind::OverlayGiven | Kind::ContainerdGiven => {
                "sid"
            }
        }
    }

    /// Is it the one that `SECATEUR_LAB_DOCKERD` names?
    pub fn is_given(self) -> bool {
        matches!(self, Kind::OverlayGiven | Kind::ContainerdGiven)
    }

    /// The engine's program, as its tree has it.
    pub fn program(self) -> &'static str {
        if self.is_given() { INSIDE } else { "dockerd" }
    }
}

/// Where `tests/support/lab/enter` puts the given dockerd.
const INSIDE: &str = "/run/given/dockerd";

#[derive(Debug)]
struct Given {
    /// `29.7 overlay2`, `29.7 containerd`.
    names: [String; 2],
}

fn the_given() -> &'static Given {
    given().expect("SECATEUR_LAB_DOCKERD names an engine")
}

/// What `SECATEUR_LAB_DOCKERD` names is asked for its version once.
fn given() -> Option<&'static Given> {
    static GIVEN: OnceLock<Option<Given>> = OnceLock::new();
    let ask = || {
        let path = std::env::var_os("SECATEUR_LAB_DOCKERD").filter(|path| !path.is_empty())?;
        let path = PathBuf::from(path);
        let version = version_of(&path).unwrap_or_else(|said| {
            let path = path.display();
            panic!("SECATEUR_LAB_DOCKERD={path} is no dockerd that runs here: {said}")
        });
        Some(Given {
            names: ["overlay2", "containerd"].map(|store| format!("{version} {store}")),
        })
    };
    GIVEN.get_or_init(ask).as_ref()
}

/// `29.7` of "Docker version 29.7.2, build 1234567"; else what the program said.
pub fn version_of(dockerd: &Path) -> Result<String, String> {
    let ran = Command::new(dockerd).arg("--version").output();
    let said = ran.as_ref().map_or_else(ToString::to_string, |ran| {
        String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr].concat()).into_owned()
    });
    let version = said.strip_prefix("Docker version ").and_then(|rest| {
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
        let (major, minor) = (numbers.next()?, numbers.next()?);
        (!major.is_empty() && !minor.is_empty()).then(|| format!("{major}.{minor}"))
    });
    version.ok_or_else(|| said.trim().to_owned())
}
