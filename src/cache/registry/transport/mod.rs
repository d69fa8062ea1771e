//! Sends one HTTP request to a registry or its token server: with TLS, or without it where the
//! engine would. Decides deadlines, limits and which redirects are allowed. It knows nothing of
//! manifests or tokens, and ignores proxy variables.

mod connect;
mod endpoint;
mod exchange;
mod message;
mod send;
mod tls;

pub use endpoint::{Endpoint, Scheme};
pub use message::{Answer, Request, RequestError, StreamedAnswer};
pub use send::Transport;
