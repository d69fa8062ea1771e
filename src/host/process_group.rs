//! The end of a program that was started here, with all that it started.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// Kills a process and all that it started when it is dropped. The process must lead a
/// group of its own. A process that left
/// the group by itself, as the agent of a key ring does, goes on.
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The number is nobody else's while one of the group lives.
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
