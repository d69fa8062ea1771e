//! The result of a probe: the first request to a registry.

/// Whether a registry accepts the credentials. Also used for one repository, if the registry
/// leaves access to its repositories. Texts are fit to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// /v2/ needs no credentials; a repository may.
    Open,
    Accepted,
    /// There are no credentials, and the token server decides for each repository.
    Anonymous,
    /// It redirected to another host, to which no credentials were sent. Each repository may tell
    /// more.
    Redirected {
        host: String,
        /// Whether that host asks for credentials or a token.
        asks: bool,
    },
    /// This other host asks for credentials. The engine would send them, secateur does not.
    NotTried(String),
    /// This other host asks for credentials, and the engine sends it none.
    NotForwarded(String),
    /// Without credentials it answers 404: it has no such name, or hides it.
    Hidden,
    /// It refuses the credentials with this HTTP status.
    Refused(u16),
    /// It asks for credentials, or for other ones.
    Required,
    /// It asks for credentials, but this engine sends none to it.
    NeverSent,
    /// Why the run no longer asks registries.
    NotAsked(String),
    /// Why there was no answer.
    Unreachable(String),
    /// What it answered instead of a registry's answer.
    NotARegistry(String),
}
