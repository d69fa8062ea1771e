//! Containers of an engine, and what it tells of itself.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::engine::{Engine, text};
use super::wait_until;

impl Engine {
    /// What happened since then. Engines remember the last 256 events.
    pub fn events(&self, since: SystemTime) -> Vec<Value> {
        let stamp = |time: SystemTime| {
            let time = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .expect("after 1970");
            format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
        };
        let path = format!(
            "/events?since={}&until={}",
            stamp(since),
            stamp(SystemTime::now())
        );
        self.api("GET", &path, None).ok(&path).lines()
    }

    /// Creates a container; `extra` is merged into the body, e.g. `{"HostConfig": {..}}`.
    #[track_caller]
    pub fn create_container(&self, image: &str, command: &[&str], extra: &Value) -> String {
        let mut body = json!({"Image": image, "Cmd": command});
        for (key, value) in extra.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        text(
            &self
                .api("POST", "/containers/create", Some(&body))
                .ok("create")
                .json(),
            "Id",
        )
    }

    /// `action`: start, pause, unpause, stop, kill, restart.
    #[track_caller]
    pub fn container(&self, id: &str, action: &str) {
        self.api("POST", &format!("/containers/{id}/{action}"), None)
            .ok(action);
    }

    /// Waits for a state as the engine names it: created, running, paused, exited, dead.
    #[track_caller]
    pub fn wait_container(&self, id: &str, state: &str) {
        wait_until(&format!("container {id} is {state}"), || {
            let status = text(
                &self.get(&format!("/containers/{id}/json"))["State"],
                "Status",
            );
            (status == state).then_some(())
        });
    }

    #[track_caller]
    pub fn remove_container(&self, id: &str) {
        self.api("DELETE", &format!("/containers/{id}?force=1&v=1"), None)
            .ok("remove");
    }
}
