//! Ends a child process with everything that it started.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// Kills a process and everything that it started when it is dropped. The process must lead its
/// own group. A process that left the group by itself, as a key ring's agent does, lives on.
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The kernel does not reuse the number while a process of the group lives.
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
