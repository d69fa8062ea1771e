//! What a registry's first answer says of the credentials.

/// Whether the registry lets us in. Where it is open or anonymous, the same of one
/// of its repositories. Texts in it are fit to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It asks for nothing at /v2/: each repository may.
    Open,
    /// It takes the credentials.
    Taken,
    /// There are none, and its token server decides for each repository.
    Anonymous,
    /// Another host answers in its place, and no credentials were sent: each
    /// repository may tell more.
    Elsewhere {
        host: String,
        /// That host wants credentials, or a token.
        asks: bool,
    },
    /// The engine would give the credentials to this other host, secateur does not.
    NotTried(String),
    /// This other host wants credentials, and the engine gives it none.
    Kept(String),
    /// Asked without credentials, it has nothing of that name (404), or hides it.
    Hidden,
    /// It refuses the credentials with this status.
    Refused(u16),
    /// It wants credentials, or others than there are.
    Wanted,
    /// It wants credentials where this engine sends none.
    NeverSent,
    /// The run had given up asking registries: why.
    NotAsked(String),
    /// No answer: why.
    Unreachable(String),
    /// Its answer is not a registry's: what it is.
    Odd(String),
}
