//! What was found for one registry.

use crate::model::secret::Credentials;

/// All texts are fit to print.
pub enum Lookup {
    /// Credentials, and where they are from.
    Found(Credentials, String),
    /// None, and where they were looked for.
    None(String),
    /// The helper that the configuration names is not installed: its program, and the
    /// PATH that was searched.
    HelperMissing(String, String),
    /// The helper failed: how.
    HelperFailed(String),
    /// The configuration cannot be read: why.
    Unreadable(String),
    /// Docker may find some, but secateur did not look there: why.
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
