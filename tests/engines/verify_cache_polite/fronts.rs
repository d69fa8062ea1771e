//! Registries that send on, hide or pretend: what the engine of each store does there, and what
//! verify-cache says.

use std::fs;

use serde_json::{Value, json};

use crate::lab::front::{Asked, Behind, Front, reply};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, Response, USER, base64url};
use crate::support::{EAGER, Secateur};

const HTML: &str = "<html><body>Log in</body></html>";

/// One way to stand in front of a registry.
struct Scene {
    name: &'static str,
    front: Front,
    /// The host that it sends on to.
    other: Option<Front>,
    logged_in: bool,
}

/// What is so on one store: whether the engine pulls, and the statuses.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    pulls: bool,
    authenticated: String,
    current: String,
    /// The other host got a password from us.
    leaks: bool,
}

fn page() -> Response {
    reply(200, &[("Content-Type", "text/html")], HTML)
}

fn token(behind: &Behind, asked: &Asked, at: &str, grant: &str) -> Response {
    if asked.path.starts_with("/token") {
        return reply(200, &[("Content-Type", "application/json")], grant);
    }
    if asked.authorization.as_deref() == Some("Bearer TOK") {
        return behind.answer(asked);
    }
    let wants = format!("Bearer realm=\"http://{at}/token\",service=\"s\"");
    reply(401, &[("WWW-Authenticate", &wants)], "")
}

/// It learns its own address from the Host that it was asked at: nobody else knows it before.
fn with_token(behind: &Behind, grant: &'static str) -> Front {
    let behind = behind.clone();
    let at = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&at);
    let front = Front::start(move |asked| {
        let at = own.get().expect("an address");
        token(&behind, asked, at, grant)
    });
    at.set(front.address().to_owned()).expect("once");
    front
}

fn sends_on(to: &Front) -> Front {
    let to = to.address().to_owned();
    Front::start(move |asked| {
        let location = format!("http://{to}{}", asked.path);
        reply(307, &[("Location", &location)], "")
    })
}

fn scenes(behind: &Behind) -> Vec<Scene> {
    let scene = |name, front, other, logged_in| Scene {
        name,
        front,
        other,
        logged_in,
    };
    let mut scenes = Vec::new();
    for (name, logged_in) in [("sends on", false), ("sends on, with a login", true)] {
        let other = with_token(behind, r#"{"token":"TOK"}"#);
        scenes.push(scene(name, sends_on(&other), Some(other), logged_in));
    }
    let own = behind.clone();
    let other = Front::start(move |asked| {
        if asked.authorization.as_deref() == Some(&own.authorization) {
            return own.answer(asked);
        }
        reply(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], "")
    });
    let front = sends_on(&other);
    scenes.push(scene("sends on to a password", front, Some(other), true));
    let other = Front::start(|_| page());
    let (to, own) = (other.address().to_owned(), behind.authorization.clone());
    let front = Front::start(move |asked| {
        if asked.authorization.as_deref() == Some(&own) {
            let location = format!("http://{to}{}", asked.path);
            return reply(307, &[("Location", &location)], "");
        }
        reply(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], "")
    });
    scenes.push(scene("takes it and sends on", front, Some(other), true));
    scenes.push(scene(
        "is no registry",
        Front::start(|_| page()),
        None,
        false,
    ));
    for (name, status) in [
        ("HEAD 404", 404),
        ("HEAD 403", 403),
        ("HEAD 405", 405),
        ("HEAD 501", 501),
    ] {
        let behind = behind.clone();
        let front = Front::start(move |asked| match asked.method.as_str() {
            "HEAD" => reply(status, &[], ""),
            _ => behind.answer(asked),
        });
        scenes.push(scene(name, front, None, false));
    }
    let own = behind.clone();
    let front = Front::start_tls(move |asked| own.answer(asked));
    scenes.push(scene("self-signed", front, None, false));
    let grant = r#"{"token":"","access_token":"TOK","expires_in":-1}"#;
    let front = with_token(behind, grant);
    scenes.push(scene("access_token", front, None, false));
    scenes
}

/// What the engine and verify-cache make of a scene.
fn seen(engine: &Engine, secateur: &Secateur, registry: &Registry, scene: &Scene) -> Seen {
    let name = scene.front.name("app:v1");
    let login = registry.auth_header_for(scene.front.address());
    let login = scene.logged_in.then_some(login.as_str());
    let pulled = engine.pull_in_background(&name, login).done();
    eprintln!("{:?}", pulled.as_ref().err());
    let pulls = pulled.is_ok();
    if !pulls {
        // The containerd store keeps the name of what it could not unpack.
        let _ = engine.remove(&name);
    }
    let password_from_engine = password_at(scene);
    let user = secateur.dir().join("docker");
    fs::create_dir_all(&user).unwrap();
    let auth = base64url(format!("{USER}:{}", registry.password()).as_bytes());
    let auths = json!({scene.front.address(): {"auth": auth}});
    let config = json!({"auths": if scene.logged_in { auths } else { json!({}) }});
    fs::write(user.join("config.json"), config.to_string()).unwrap();
    let user = user.to_str().unwrap();
    let args = [
        "verify-cache",
        "--registry",
        "--format",
        "json",
        "--user-config",
        user,
        &name,
    ];
    let output = secateur.command(&args).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!(
        "{}: pulls {pulls}, engine's password to the other {password_from_engine}: {:#}",
        scene.name, report["images"][0]["checks"]
    );
    let checks = report["images"][0]["checks"].as_array().unwrap();
    let status = |kind: &str| {
        let check = checks.iter().find(|check| check["kind"] == kind).unwrap();
        check["status"].as_str().unwrap().to_owned()
    };
    Seen {
        pulls,
        authenticated: status("authenticated"),
        current: status("current"),
        leaks: password_at(scene),
    }
}

/// Did a password come to the other host since the last time?
fn password_at(scene: &Scene) -> bool {
    let asked = scene.other.as_ref().map(Front::asked).unwrap_or_default();
    asked.iter().any(Asked::password)
}

/// Whether the engine pulls; `authenticated`; `current`.
type So = (bool, &'static str, &'static str);

/// For each scene: overlay2, then the containerd store.
const WANTED: [(&str, [So; 2]); 11] = [
    ("sends on", [(true, "ok", "ok"), (true, "ok", "ok")]),
    // An overlay2 engine gives the login to the other host; we do not, and so cannot tell.
    (
        "sends on, with a login",
        [(true, "unknown", "ok"), (true, "ok", "ok")],
    ),
    (
        "sends on to a password",
        [(true, "unknown", "unknown"), (false, "broken", "broken")],
    ),
    (
        "takes it and sends on",
        [(false, "unknown", "unknown"), (false, "unknown", "unknown")],
    ),
    (
        "is no registry",
        [(false, "unknown", "unknown"), (false, "unknown", "unknown")],
    ),
    (
        "HEAD 404",
        [(true, "ok", "ok"), (false, "unknown", "broken")],
    ),
    (
        "HEAD 403",
        [(true, "ok", "ok"), (false, "broken", "broken")],
    ),
    ("HEAD 405", [(true, "ok", "ok"), (true, "ok", "ok")]),
    (
        "HEAD 501",
        [(true, "ok", "ok"), (false, "unknown", "unknown")],
    ),
    ("self-signed", [(true, "ok", "ok"), (true, "ok", "ok")]),
    ("access_token", [(true, "ok", "ok"), (true, "ok", "ok")]),
];

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_engine_pulls_is_held_and_what_it_cannot_is_not_and_no_password_leaves_its_host() {
    let mut wrong = Vec::new();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let registry = Registry::start();
        registry.put("app:v1", &Archive::new().tag("x:1"));
        let secateur = Secateur::on(&engine);
        secateur.policy(EAGER);
        for scene in scenes(&registry.behind()) {
            let seen = seen(&engine, &secateur, &registry, &scene);
            let (_, wanted) = WANTED
                .iter()
                .find(|(name, _)| *name == scene.name)
                .expect("what is wanted");
            let (pulls, authenticated, current) = wanted[usize::from(kind.containerd())];
            let wanted = Seen {
                pulls,
                authenticated: authenticated.to_owned(),
                current: current.to_owned(),
                leaks: false,
            };
            if seen != wanted {
                wrong.push(format!("{} {}: {seen:?}", kind.name(), scene.name));
            }
            let _ = engine.remove(&scene.front.name("app:v1"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
