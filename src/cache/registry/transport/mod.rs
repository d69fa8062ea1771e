//! One HTTP request to a registry or its token server: over TLS, or in the
//! clear where the engine itself would. Decides deadlines, limits and where a
//! redirect may lead. It knows nothing of manifests or tokens, and ignores the
//! proxies of the environment.

mod connect;
mod endpoint;
mod exchange;
mod message;
mod send;
mod tls;

pub use endpoint::{Endpoint, Scheme};
pub use message::{Answer, Failed, Opened, Request};
pub use send::Transport;
