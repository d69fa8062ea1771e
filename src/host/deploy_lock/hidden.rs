//! Distinguishes an empty folder from one that our service's own restrictions hide: a lock in
//! the latter would read as absent. It knows what systemd mounts over `/tmp` and the homes, and
//! does not notice other sandboxes.

use std::fs;
use std::path::Path;

/// The setting of our service that hides this path and what to do, fit to print.
pub(super) fn hides(path: &Path) -> Option<String> {
    let folder = path.ancestors().skip(1).find(|folder| folder.exists())?;
    let folder = fs::canonicalize(folder).ok()?;
    // A host always has this file.
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let setting = setting_that_hides(&mounts, &folder, |home| {
        fs::read_dir(home).is_ok_and(|mut entries| entries.next().is_none())
    })?;
    Some(format!(
        "it may be there, and {setting} of this service hides it: have the service see that folder"
    ))
}

/// `is_empty` is asked about a home in memory: the host's own would hold somebody's folder.
fn setting_that_hides(
    mounts: &str,
    folder: &Path,
    is_empty: impl Fn(&Path) -> bool,
) -> Option<&'static str> {
    // Of the mounts with the longest path, the last one covers the others.
    let mount = mounts
        .lines()
        .filter_map(Mount::read)
        .filter(|mount| folder.starts_with(mount.point))
        .max_by_key(|mount| mount.point.len())?;
    let private = |part: &str| part.starts_with("systemd-private-");
    if mount.root.split('/').any(private) {
        Some("PrivateTmp=")
    } else if mount.root.ends_with("/inaccessible/dir") {
        Some("ProtectHome= or InaccessiblePaths=")
    } else if mount.kind == "tmpfs"
        && mount.root == "/"
        && ["/home", "/root", "/run/user"].contains(&mount.point)
        && is_empty(Path::new(mount.point))
    {
        Some("ProtectHome=tmpfs")
    } else {
        None
    }
}

/// Fields of a line of mountinfo. Blanks in paths are escaped there; no path that matters
/// here has one.
#[derive(Debug)]
struct Mount<'a> {
    /// The part of the file system that is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        Some(Self {
            root: fields.next()?,
            point: fields.next()?,
            kind: after.split(' ').next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a service of Debian 12 sees its mounts (systemd 252), without the long options.
    const MOUNTS: &str = "\
965 964 0:93 / / ro,relatime master:16 - ext4 /dev/vda rw
966 965 0:95 / /tmp ro,nosuid,nodev master:17 - tmpfs tmpfs rw,size=2468244k
1001 965 0:99 / /run ro,nosuid,nodev master:21 - tmpfs tmpfs rw,mode=755
";
    const PRIVATE_TMP: &str = "\
973 879 0:95 /systemd-private-32eb9a24fb-run-u6.service-euXQwn/tmp /tmp rw - tmpfs tmpfs rw
974 876 0:93 /var/tmp/systemd-private-32eb9a24fb-run-u6.service-SD4oj4/tmp /var/tmp rw - ext4 /dev/vda rw
";
    const PROTECT_HOME: &str = "\
880 676 0:99 /host/inaccessible/dir /home ro,nosuid,nodev,noexec - tmpfs tmpfs rw,mode=755
881 676 0:99 /systemd/inaccessible/dir /root ro,nosuid,nodev,noexec - tmpfs tmpfs rw,mode=755
";
    const HOME_TMPFS: &str = "\
1050 965 0:238 / /home rw,relatime shared:237 - tmpfs tmpfs rw
";

    fn hidden(more: &str, folder: &str, empty: bool) -> Option<&'static str> {
        setting_that_hides(&format!("{MOUNTS}{more}"), Path::new(folder), |_| empty)
    }

    #[test]
    fn what_a_service_hides_is_told_by_the_setting() {
        for (more, folder, setting) in [
            (PRIVATE_TMP, "/tmp", "PrivateTmp="),
            (PRIVATE_TMP, "/var/tmp/ci", "PrivateTmp="),
            (PROTECT_HOME, "/home", "ProtectHome= or InaccessiblePaths="),
            (PROTECT_HOME, "/root", "ProtectHome= or InaccessiblePaths="),
            (HOME_TMPFS, "/home", "ProtectHome=tmpfs"),
        ] {
            assert_eq!(hidden(more, folder, true), Some(setting), "{folder}");
            assert_eq!(hidden("", folder, true), None, "{folder}");
        }
    }

    #[test]
    fn what_a_service_may_only_read_it_sees() {
        for folder in ["/tmp", "/run/secateur", "/home", "/"] {
            assert_eq!(hidden("", folder, true), None, "{folder}");
        }
        // /tmp is private, /tmpfiles is not.
        assert_eq!(hidden(PRIVATE_TMP, "/tmpfiles", true), None);
    }

    #[test]
    fn homes_in_memory_are_homes_where_somebody_lives() {
        assert_eq!(hidden(HOME_TMPFS, "/home", false), None);
        assert_eq!(hidden(HOME_TMPFS, "/home/deploy", false), None);
    }

    #[test]
    fn a_mount_on_top_covers_the_one_below() {
        let again = "1060 966 0:95 / /tmp rw - tmpfs tmpfs rw\n";
        let mounts = format!("{PRIVATE_TMP}{again}");
        assert_eq!(hidden(&mounts, "/tmp", true), None);
    }

    #[test]
    fn this_host_hides_nothing() {
        assert_eq!(hides(Path::new("/run/none/deploy.lock")), None);
    }
}
