//! The result of looking up one registry's credentials.

use crate::model::secret::Credentials;

/// Texts are fit to print.
pub enum Lookup {
    /// Credentials, and their source.
    Found(Credentials, String),
    /// None, and where secateur looked.
    None(String),
    /// The helper that the configuration names is not installed: the program, and the PATH that
    /// was searched.
    HelperMissing(String, String),
    /// Why the helper failed.
    HelperFailed(String),
    /// Why the configuration cannot be read.
    Unreadable(String),
    /// Why secateur did not look where docker may find some.
    NotTried(String),
}

#[cfg(test)]
impl Lookup {
    pub fn shown(&self) -> String {
        match self {
            Self::Found(Credentials::IdentityToken(_), from) => format!("token of {from}"),
            Self::Found(_, from) => format!("found by {from}"),
            Self::None(why) => format!("none: {why}"),
            Self::HelperMissing(program, places) => format!("missing: {program} in {places}"),
            Self::HelperFailed(why) => format!("failed: {why}"),
            Self::Unreadable(why) => format!("unreadable: {why}"),
            Self::NotTried(why) => format!("not tried: {why}"),
        }
    }
}
