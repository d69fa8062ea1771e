//! What verify-cache asks of others: engines nothing that changes anything,
//! registries little at a time and only what nobody counts.

mod fronts;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex};

use crate::lab::front::{decline_tls, speaks_tls};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, base64url, loopback};
use crate::support::proxy::Proxy;
use crate::support::{EAGER, Secateur};
use serde_json::{Value, json};

/// A registry that answers a HEAD only once four are under way, and counts.
#[derive(Default)]
struct Counted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    under_way: usize,
    most: usize,
    heads: usize,
    gets: BTreeSet<String>,
}

impl Counted {
    fn start() -> (Arc<Counted>, String) {
        let listener = TcpListener::bind(format!("{}:0", loopback())).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let counted = Arc::new(Counted::default());
        let shared = Arc::clone(&counted);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&shared);
                std::thread::spawn(move || counted.answer(stream));
            }
        });
        (counted, address)
    }

    fn answer(&self, mut stream: std::net::TcpStream) {
        if speaks_tls(&stream) {
            decline_tls(stream);
            return;
        }
        let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let digest = format!("sha256:{}", "a".repeat(64));
        let length = if first.starts_with("HEAD") { 400 } else { 0 };
        let mut state = self.state.lock().expect("a lock");
        if first.starts_with("HEAD") {
            state.heads += 1;
            state.under_way += 1;
            state.most = state.most.max(state.under_way);
            self.changed.notify_all();
            // One at a time would wait here for ever, and the client would give up.
            state = self
                .changed
                .wait_while(state, |state| state.most < 4)
                .expect("a lock");
            state.under_way -= 1;
        } else {
            state.gets.insert(first);
        }
        drop(state);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nDocker-Content-Digest: {digest}\r\n\
             Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\
             RateLimit-Remaining: 76;w=21600\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn two_hundred_images_are_asked_about_four_at_a_time_by_requests_that_nobody_counts() {
    let engine = Engine::start(Kind::Overlay28);
    let (registry, address) = Counted::start();
    let secateur = Secateur::on(&engine);
    let names: Vec<String> = (0..200).map(|n| format!("\"{address}/app:{n}\"")).collect();
    secateur.policy(&format!(
        "{EAGER}[cache]\nimages = [{}]\n",
        names.join(", ")
    ));
    // None of them is here, which is broken, and is not what this is about.
    let args = [
        "verify-cache",
        "--registry",
        "--format",
        "json",
        "--user-config",
        "/nonexistent",
    ];
    let report = secateur.run(&args).ended(1).json();
    let state = registry.state.lock().expect("a lock");
    assert_eq!((state.heads, state.most), (200, 4));
    assert_eq!(state.gets.iter().collect::<Vec<_>>(), ["GET /v2/ HTTP/1.1"]);
    drop(state);
    let asked = &report["registries"][0];
    assert_eq!(asked["head_requests"], 200, "{asked}");
    assert_eq!(asked["get_requests"], 0, "{asked}");
    assert_eq!(asked["rate_limit_remaining"], "76;w=21600", "{asked}");
    let text = secateur
        .run(&["verify-cache", "--registry"])
        .ended(1)
        .stdout;
    let words: Vec<&str> = text.split_whitespace().collect();
    let wanted = "200 HEAD, 0 GET, 1 other";
    assert!(words.join(" ").contains(wanted), "{text}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn without_redeploy_the_engine_is_asked_nothing_that_changes_anything() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let registry = Registry::start();
        registry.put("app:v1", &Archive::new().tag("x:1"));
        let app = registry.name("app:v1");
        engine.pull(&app, Some(&registry.auth_header()));
        let proxy = Proxy::before(&engine);
        let secateur = Secateur::at(&proxy.host(), EAGER);
        let record = secateur.dir().join("baseline.json");
        let record = record.to_str().expect("UTF-8");
        let before: Vec<Value> = engine.images();
        let args = [
            "verify-cache",
            "--deep",
            "--registry",
            "--record",
            record,
            &app,
        ];
        // Without credentials this registry lets nobody in: broken.
        secateur.run(&args).ended(1);
        let asked = proxy.seen();
        assert!(asked.iter().any(|line| line.ends_with("/get")), "{asked:?}");
        assert!(
            asked.iter().all(|line| line.starts_with("GET /")),
            "{asked:?}"
        );
        assert_eq!(engine.images(), before, "{}", kind.name());
        assert!(!secateur.state().exists(), "nor is anything remembered");
    }
}

/// A registry whose /v2/ asks for nothing and whose repositories want a password; it tells of
/// each request for a repository whether one came.
fn open_at_the_door() -> (String, Receiver<bool>) {
    let listener = TcpListener::bind(format!("{}:0", loopback())).expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            if speaks_tls(&stream) {
                decline_tls(stream);
                continue;
            }
            let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .map(|line| line.to_lowercase())
                .collect();
            let door = head.first().is_none_or(|line| line.contains(" /v2/ "));
            let password = head
                .iter()
                .any(|line| line.starts_with("authorization: basic"));
            let answer = if door || password {
                format!(
                    "200 OK\r\nDocker-Content-Digest: sha256:{}\r\n\
                     Content-Type: application/vnd.oci.image.manifest.v1+json",
                    "a".repeat(64)
                )
            } else {
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"".to_owned()
            };
            if !door {
                let _ = tell.send(password);
            }
            let head_only = head.first().is_some_and(|line| line.starts_with("head"));
            let length = if head_only { 400 } else { 0 };
            let rest = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\n{rest}").as_bytes());
        }
    });
    (address, told)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn credentials_are_sent_where_the_engine_would_send_them_and_nowhere_else() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let (address, told) = open_at_the_door();
        let app = format!("{address}/app:1");
        let login = json!({"username": "me", "password": "hunter2", "serveraddress": address});
        let login = base64url(login.to_string().as_bytes());
        let _ = engine.pull_in_background(&app, Some(&login)).done();
        let by_engine = told.try_iter().any(|password| password);
        assert_eq!(by_engine, kind.containerd(), "{}", kind.name());

        let secateur = Secateur::on(&engine);
        let user = secateur.dir().join("docker");
        std::fs::create_dir_all(&user).expect("a folder");
        let config = json!({"auths": {address.as_str(): {"auth": "bWU6aHVudGVyMg=="}}});
        std::fs::write(user.join("config.json"), config.to_string()).expect("a file");
        let user = user.to_str().expect("UTF-8");
        let args = [
            "verify-cache",
            "--format",
            "json",
            "--user-config",
            user,
            &app,
        ];
        // The image is not here, which is broken, and is not what this is about.
        let report = secateur.run(&args).ended(1).json();
        assert_eq!(
            told.try_iter().any(|password| password),
            by_engine,
            "{report:#}"
        );
        let checks = report["images"][0]["checks"].as_array().expect("checks");
        let entry = checks.iter().find(|check| check["kind"] == "authenticated");
        let status = if by_engine { "ok" } else { "broken" };
        assert_eq!(entry.expect("an answer")["status"], status, "{report:#}");
    }
}
