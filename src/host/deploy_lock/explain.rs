//! System errors in words.

use std::io;

use nix::errno::Errno;
use nix::unistd::geteuid;

/// Its name, its text, and what to do.
pub(super) fn explain(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let errno = Errno::from_raw(number);
    let help = match errno {
        Errno::EACCES | Errno::EPERM => help(geteuid().is_root()),
        Errno::ELOOP => ": symbolic links are not followed",
        _ => "",
    };
    format!("{errno}{help}")
}

/// For a missing permission. In a unit, root may lack one, too.
fn help(root: bool) -> &'static str {
    if root {
        ": give CAP_DAC_READ_SEARCH (systemctl edit secateur: CapabilityBoundingSet=CAP_DAC_READ_SEARCH), or let this user read the file and its folder"
    } else {
        ": run as root, or let this user read the file and its folder"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_name_and_with_what_would_help() {
        let text = |errno: Errno| explain(&io::Error::from(errno));
        assert!(text(Errno::EACCES).contains("EACCES"));
        assert!(text(Errno::EACCES).ends_with("read the file and its folder"));
        assert!(help(false).contains("run as root"));
        assert!(help(true).contains("CapabilityBoundingSet=CAP_DAC_READ_SEARCH"));
        assert!(
            !help(true).contains("run as root"),
            "that is who was denied"
        );
        assert!(text(Errno::ENOLCK).contains("ENOLCK"));
        assert!(text(Errno::EIO).contains("EIO"));
    }
}
