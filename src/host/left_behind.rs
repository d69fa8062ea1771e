//! Counts the images that an engine left in the store that it used before. It removes nothing,
//! and never says that they may go.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host::files::read_untrusted;
use crate::host::pull_signs::{Roots, is_this_engines};
use crate::model::Bytes;
use crate::model::conditions::LeftBehind;

/// Images, and layers, that are counted at most, to bound the work.
const MOST: usize = if cfg!(test) { 10 } else { 10_000 };

/// Stores that one data root may have had.
const STORES: usize = 20;

/// In bytes. A layer's size is a number.
const LONGEST_SIZE: u64 = 32;

/// Every graphdriver's store in this data root except the one that the engine uses. What cannot
/// be read is left out: `pull_signs` reports a folder of another engine, or one that may not be
/// read.
pub fn read(roots: &Roots) -> Vec<LeftBehind> {
    if !is_this_engines(roots) {
        return Vec::new();
    }
    let (mut stores, _) = entries(&roots.data_root.join("image"), STORES);
    stores.sort();
    let used = roots.driver.as_deref();
    let others = stores.iter().filter(|name| used != Some(name.as_str()));
    others
        .filter_map(|driver| store(&roots.data_root, driver))
        .collect()
}

fn store(data_root: &Path, driver: &str) -> Option<LeftBehind> {
    let records = data_root.join("image").join(driver);
    let (images, all_images) = entries(&records.join("imagedb/content/sha256"), MOST);
    let images = images.iter().filter(|name| is_digest(name)).count();
    let layers = records.join("layerdb/sha256");
    let (chains, all_layers) = entries(&layers, MOST);
    let sizes = chains.iter().filter(|name| is_digest(name));
    let sizes: Vec<Option<Bytes>> = sizes.map(|chain| size(&layers.join(chain))).collect();
    let all = all_images && all_layers && sizes.iter().all(Option::is_some);
    let bytes: Bytes = sizes.into_iter().flatten().sum();
    (images > 0 || bytes > Bytes(0)).then(|| LeftBehind {
        layers: data_root.join(driver),
        records,
        images,
        bytes,
        all,
    })
}

fn size(layer: &Path) -> Option<Bytes> {
    let text = read_untrusted(&layer.join("size"), LONGEST_SIZE).ok()??;
    let text = String::from_utf8(text).ok()?;
    text.trim().parse().ok().map(Bytes)
}

/// The first names in a folder that are text, and whether these are all.
fn entries(folder: &PathBuf, most: usize) -> (Vec<String>, bool) {
    let Ok(listing) = fs::read_dir(folder) else {
        return (Vec::new(), false);
    };
    let mut all = true;
    let mut names = Vec::new();
    for entry in listing {
        if names.len() == most {
            return (names, false);
        }
        match entry.map(|entry| entry.file_name().into_string()) {
            Ok(Ok(name)) => names.push(name),
            Ok(Err(_)) | Err(_) => all = false,
        }
    }
    (names, all)
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the engine, whose files come and go"
)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Scene {
        _folder: tempfile::TempDir,
        roots: Roots,
    }

    fn digest(n: usize) -> String {
        format!("{n:064x}")
    }

    impl Scene {
        /// An engine on the containerd store.
        fn new() -> Self {
            let folder = crate::testing::folder_of_ours();
            let roots = Roots {
                engine_id: "ID".into(),
                data_root: folder.path().to_owned(),
                driver: None,
                containerd_root: None,
            };
            let scene = Self {
                _folder: folder,
                roots,
            };
            scene.file("engine-id", "ID\n");
            fs::create_dir(scene.path("containers")).unwrap();
            scene
        }

        fn path(&self, name: &str) -> PathBuf {
            self.roots.data_root.join(name)
        }

        fn file(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn image(&self, driver: &str, n: usize, size: &str) {
            let image = format!("image/{driver}/imagedb/content/sha256/{}", digest(n));
            self.file(&image, "{}");
            let layer = format!("image/{driver}/layerdb/sha256/{}/size", digest(n));
            self.file(&layer, size);
        }

        fn read(&self) -> Vec<LeftBehind> {
            read(&self.roots)
        }
    }

    #[test]
    fn the_images_of_every_other_store_are_counted_and_of_the_one_in_use_none() {
        let mut scene = Scene::new();
        assert_eq!(scene.read(), []);
        for n in 0..3 {
            scene.image("overlay2", n, "1000");
        }
        scene.image("vfs", 7, "5");
        // An engine makes these folders at its start.
        fs::create_dir_all(scene.path("image/btrfs/imagedb/content/sha256")).unwrap();
        fs::create_dir_all(scene.path("image/btrfs/layerdb/sha256")).unwrap();
        let left = |driver: &str, images, bytes| LeftBehind {
            layers: scene.path(driver),
            records: scene.path("image").join(driver),
            images,
            bytes: Bytes(bytes),
            all: true,
        };
        let (overlay2, vfs) = (left("overlay2", 3, 3000), left("vfs", 1, 5));
        assert_eq!(scene.read(), [overlay2, vfs.clone()]);
        scene.roots.driver = Some("overlay2".into());
        assert_eq!(scene.read(), [vfs]);
    }

    #[test]
    fn what_cannot_be_read_makes_the_figures_at_least_so_much() {
        let scene = Scene::new();
        scene.image("overlay2", 0, "1000");
        for (n, odd) in ["many", "-1", &"9".repeat(40), ""].iter().enumerate() {
            scene.image("overlay2", n + 1, odd);
            let left = &scene.read()[0];
            assert_eq!((left.bytes, left.images, left.all), (Bytes(1000), 2, false));
            scene.image("overlay2", n + 1, "0");
            fs::remove_file(scene.path(&format!(
                "image/overlay2/imagedb/content/sha256/{}",
                digest(n + 1)
            )))
            .unwrap();
        }
        // Nothing waits at the end of a link, or is counted there.
        let elsewhere = scene.path(&format!("image/overlay2/layerdb/sha256/{}/size", digest(1)));
        fs::remove_file(&elsewhere).unwrap();
        symlink("/dev/zero", &elsewhere).unwrap();
        assert!(!scene.read()[0].all);
    }

    #[test]
    fn no_more_is_counted_than_a_run_has_time_for() {
        let scene = Scene::new();
        for n in 0..=MOST {
            scene.image("overlay2", n, "1");
        }
        let left = &scene.read()[0];
        assert_eq!((left.images, left.all), (MOST, false));
        assert_eq!(left.bytes, Bytes(MOST as u64));
    }

    #[test]
    fn nothing_is_said_of_the_folder_of_another_engine() {
        let scene = Scene::new();
        scene.image("overlay2", 0, "1000");
        assert_eq!(scene.read().len(), 1);
        scene.file("engine-id", "OTHER");
        assert_eq!(scene.read(), []);
    }
}
