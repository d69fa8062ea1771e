//! The user who runs this program, and others by their number.

use std::ffi::OsString;
use std::path::PathBuf;

use nix::unistd::{Uid, User, geteuid};

/// $HOME, else the home in the system's user database, as docker does it. A system unit without
/// `User=` has no $HOME.
pub fn home() -> Option<PathBuf> {
    home_or_the_systems(std::env::var_os("HOME"))
}

fn home_or_the_systems(variable: Option<OsString>) -> Option<PathBuf> {
    match variable.filter(|home| !home.is_empty()) {
        Some(home) => Some(home.into()),
        None => Some(User::from_uid(Uid::current()).ok()??.dir),
    }
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// What a program that runs as another user needs.
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub name: String,
    pub home: PathBuf,
}

/// `None` where the system knows no such user.
pub fn account(uid: u32) -> Option<Account> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(Account {
        uid,
        gid: user.gid.as_raw(),
        name: user.name,
        home: user.dir,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_home_in_the_environment_has_the_one_of_passwd() {
        let own = User::from_uid(Uid::current()).unwrap().map(|user| user.dir);
        assert_eq!(home_or_the_systems(None), own);
        assert_eq!(home_or_the_systems(Some("".into())), own);
        assert_eq!(home_or_the_systems(Some("/h".into())), Some("/h".into()));
    }
}
