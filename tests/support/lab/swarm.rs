//! A Swarm on one machine: of one node, or of several on addresses of their own.

use serde_json::{Value, json};

use super::engine::{Engine, text};
use super::http::encode;
use super::{loopback, wait_until};

impl Engine {
    /// On an address of its own, so that many engines can be managers at once.
    ///
    /// Swarm makes a bridge that stays when the engine goes. It must go with a network namespace
    /// that is not the host's.
    #[track_caller]
    pub fn swarm_init(&self) {
        let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        assert_ne!(
            network("self"),
            network("1"),
            "run Swarm tests by `tests/support/lab/alone cargo test`"
        );
        let address = loopback();
        let body = json!({
            "ListenAddr": format!("{address}:2377"),
            "AdvertiseAddr": address,
            "DataPathAddr": address,
        });
        self.api("POST", "/swarm/init", Some(&body))
            .ok("swarm init");
    }

    /// Becomes a worker of this manager's Swarm.
    #[track_caller]
    pub fn swarm_join(&self, manager: &Engine) {
        let address = loopback();
        let body = json!({
            "ListenAddr": format!("{address}:2377"),
            "AdvertiseAddr": address,
            "DataPathAddr": address,
            "RemoteAddrs": [manager.info()["Swarm"]["RemoteManagers"][0]["Addr"]],
            "JoinToken": manager.get("/swarm")["JoinTokens"]["Worker"],
        });
        self.api("POST", "/swarm/join", Some(&body))
            .ok("swarm join");
    }

    /// Creates a service whose tasks sleep. `image` goes in as it is: Docker's own client pins it
    /// to a digest first (`Registry::pinned`).
    #[track_caller]
    pub fn service_create(
        &self,
        name: &str,
        image: &str,
        replicas: u64,
        auth: Option<&str>,
    ) -> String {
        self.service_create_as(name, image, auth, |spec| {
            spec["Mode"]["Replicated"]["Replicas"] = json!(replicas);
        })
    }

    /// Creates a service with one replica whose specification is changed first.
    #[track_caller]
    pub fn service_create_as(
        &self,
        name: &str,
        image: &str,
        auth: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let mut body = json!({
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": image,
                    "Command": ["/bin/busybox", "sleep", "100000"],
                    "StopSignal": "SIGKILL", // process 1 ignores SIGTERM
                },
                "RestartPolicy": {"Condition": "any", "Delay": 100_000_000},
            },
            // All tasks at once, and not watched for the usual 5 s.
            "UpdateConfig": {"Parallelism": 0, "Monitor": 100_000_000},
            "Mode": {"Replicated": {"Replicas": 1}},
        });
        change(&mut body);
        let answer = self.api_with("POST", "/services/create", &headers(auth), Some(&body));
        text(&answer.ok("service create").json(), "ID")
    }

    #[track_caller]
    pub fn service(&self, name: &str) -> Value {
        self.get(&format!("/services/{name}"))
    }

    /// Changes a service's specification, e.g. its image.
    #[track_caller]
    pub fn service_update(&self, name: &str, auth: Option<&str>, change: impl Fn(&mut Value)) {
        wait_until("the service to be updated", || {
            let mut service = self.service(name);
            change(&mut service["Spec"]);
            let version = &service["Version"]["Index"];
            let path = format!("/services/{name}/update?version={version}");
            let answer = self.api_with("POST", &path, &headers(auth), Some(&service["Spec"]));
            // An update under way may have changed it just now.
            if answer.text().contains("out of sequence") {
                return None;
            }
            answer.ok("service update");
            Some(())
        });
    }

    #[track_caller]
    pub fn service_update_image(&self, name: &str, image: &str, auth: Option<&str>) {
        self.service_update(name, auth, |spec| {
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(image);
        });
    }

    #[track_caller]
    pub fn tasks(&self, service: &str) -> Vec<Value> {
        let filter = encode(&json!({"service": [service]}).to_string());
        self.get(&format!("/tasks?filters={filter}"))
            .as_array()
            .expect("a list")
            .clone()
    }

    /// Waits until so many tasks of the service are in that state with that image.
    #[track_caller]
    pub fn wait_tasks(&self, service: &str, image: &str, state: &str, count: usize) {
        wait_until(&format!("{count} tasks of {service} are {state}"), || {
            let tasks = self.tasks(service);
            let there = tasks.iter().filter(|task| {
                task["Status"]["State"] == state && task["Spec"]["ContainerSpec"]["Image"] == image
            });
            (there.count() == count).then_some(())
        });
    }

    /// Removes a service and waits until its containers are gone, too.
    #[track_caller]
    pub fn service_remove(&self, name: &str) {
        let id = text(&self.service(name), "ID");
        self.api("DELETE", &format!("/services/{name}"), None)
            .ok("service remove");
        let filter = json!({"label": [format!("com.docker.swarm.service.id={id}")]}).to_string();
        let path = format!("/containers/json?all=1&filters={}", encode(&filter));
        wait_until(&format!("the containers of {name} are gone"), || {
            self.get(&path)
                .as_array()
                .expect("a list")
                .is_empty()
                .then_some(())
        });
    }
}

fn headers(auth: Option<&str>) -> Vec<(&'static str, &str)> {
    auth.map(|auth| ("X-Registry-Auth", auth))
        .into_iter()
        .collect()
}
