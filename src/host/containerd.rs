//! Where this program finds the folder in which containerd keeps an engine's images.
//! `pull_signs` checks whether it is the right one.

use std::path::{Path, PathBuf};

use crate::host::files::plain::read_named;
use crate::model::EngineFacts;

/// The default of the system's containerd.
const USUAL: &str = "/var/lib/containerd";

/// In bytes. containerd's default settings have some 10 KB.
const LONGEST_SETTINGS: u64 = 1 << 20;

#[derive(serde::Deserialize)]
struct Config {
    root: Option<PathBuf>,
}

/// The root of the containerd that an engine uses: one that it started itself, below its data
/// root, or the system's. The path of the socket tells which (API 1.46); before that, whether
/// the engine's own folder exists. The system's containerd has its root in its settings.
pub fn root(engine: &EngineFacts, address: Option<&str>) -> PathBuf {
    let own = engine.data_root.join("containerd/daemon");
    let systems = Path::new("/run/containerd/containerd.sock");
    let uses_systems = match address {
        Some(address) => {
            Path::new(address) == systems
                || Path::new(address) == Path::new("/var").join("run/containerd/containerd.sock")
        }
        None => !own.is_dir(),
    };
    if !uses_systems {
        return own;
    }
    // Where the data root is mounted below some folder, the other folders are there, too.
    let data_root = engine.data_root.to_string_lossy();
    let below = data_root.strip_suffix(engine.root_dir.to_string_lossy().as_ref());
    of_the_system(below.unwrap_or_default())
}

fn of_the_system(below: &str) -> PathBuf {
    // Without readable settings it is the usual place; `pull_signs` checks it before it counts.
    let settings = PathBuf::from(format!("{below}/etc/containerd/config.toml"));
    let moved = read_named(&settings, LONGEST_SETTINGS)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| toml::from_str::<Config>(&text).ok()?.root)
        .filter(|root| root.is_absolute());
    let root = moved.unwrap_or_else(|| USUAL.into());
    PathBuf::from(format!("{below}{}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_was_moved_is_found_in_containerds_own_settings() {
        let host = tempfile::tempdir().unwrap();
        let below = host.path().to_str().unwrap();
        let found = || of_the_system(below);
        let usual = PathBuf::from(format!("{below}/var/lib/containerd"));
        assert_eq!(found(), usual);
        let settings = host.path().join("etc/containerd");
        std::fs::create_dir_all(&settings).unwrap();
        for (text, root) in [
            (
                "version = 2\nroot = \"/data/containerd\"\n[plugins]\n",
                "/data/containerd",
            ),
            (
                "#root = \"/data\"\ndisabled_plugins = [\"cri\"]\n",
                "/var/lib/containerd",
            ),
            ("root = \"here\"\n", "/var/lib/containerd"),
            ("root = ", "/var/lib/containerd"),
        ] {
            std::fs::write(settings.join("config.toml"), text).unwrap();
            assert_eq!(found(), PathBuf::from(format!("{below}{root}")), "{text}");
        }
    }
}
