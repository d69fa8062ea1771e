use crate::cache::registry::served::served;
use crate::cache::registry::{Admission, Cost, Registry, Transport, Upstream};
use crate::model::Store;
use crate::model::reference::Reference;
use crate::model::secret::{Credentials, Secret};
use crate::testing::block_on;

fn probed(
    asked: &'static str,
    credentials: Option<&Credentials>,
) -> (Admission, Upstream, Cost, Vec<String>) {
    let (address, told) = served(asked);
    let transport = Transport::new(crate::engine::Insecure::default());
    let registry = Registry::new(
        transport.into(),
        &address,
        credentials.cloned(),
        Store::Containerd,
    );
    let name: Reference = format!("{address}/a/app:1").parse().unwrap();
    let (admission, upstream) =
        block_on(async { (registry.probe().await, registry.digest(&name).await) });
    (
        admission,
        upstream,
        registry.cost(),
        told.try_iter().collect(),
    )
}

/// What each name leads to in a registry of this mode, and the requests.
fn asked_for(asked: &'static str, names: &[&str]) -> (Vec<Upstream>, Vec<String>) {
    let (address, told) = served(asked);
    let transport = Transport::new(crate::engine::Insecure::default());
    let registry = Registry::new(transport.into(), &address, None, Store::Containerd);
    let seen = names.iter().map(|name| {
        let name: Reference = format!("{address}/{name}").parse().unwrap();
        block_on(registry.digest(&name))
    });
    (seen.collect(), told.try_iter().collect())
}

#[test]
fn a_token_server_that_does_not_answer_denies_nothing() {
    let (seen, _) = asked_for("once", &["a/app:1", "b/app:1"]);
    assert!(matches!(seen[0], Upstream::Digest(_)), "{seen:?}");
    assert!(
        matches!(&seen[1], Upstream::Unknown(why) if why.contains("503")),
        "{seen:?}"
    );
}

#[test]
fn a_token_is_asked_for_anew_when_it_is_over() {
    let tokens = |asked| {
        let (seen, sent) = asked_for(asked, &["a/app:1", "a/app:2"]);
        assert!(seen.iter().all(|s| matches!(s, Upstream::Digest(_))));
        sent.iter().filter(|line| line.contains("/token")).count()
    };
    assert_eq!((tokens("anybody"), tokens("briefly")), (1, 2));
}

fn login(password: &str) -> Credentials {
    Credentials::Login {
        user: "me".into(),
        password: Secret::new(password),
    }
}

#[test]
fn a_token_is_asked_for_the_registry_and_one_for_the_repository() {
    let (admission, upstream, cost, asked) = probed("login", Some(&login("hunter2")));
    assert_eq!(admission, Admission::Accepted);
    assert!(matches!(upstream, Upstream::Digest(_)), "{upstream:?}");
    assert_eq!((cost.heads, cost.gets, cost.others), (1, 0, 4));
    let token = "/token?x=1&service=s%20t";
    assert_eq!(
        asked,
        [
            "GET /v2/ HTTP/1.1",
            &format!("GET {token} HTTP/1.1 Basic"),
            "GET /v2/ HTTP/1.1",
            &format!("GET {token}&scope=repository%3Aa%2Fapp%3Apull HTTP/1.1 Basic"),
            "HEAD /v2/a/app/manifests/1 HTTP/1.1"
        ]
    );
}

#[test]
fn a_token_server_that_refuses_is_told_from_credentials_that_are_missing() {
    assert_eq!(
        probed("login", Some(&login("wrong"))).0,
        Admission::Refused(401)
    );
    for mode in ["login", "anybody"] {
        assert_eq!(probed(mode, None).0, Admission::Anonymous);
    }
    assert_eq!(probed("basic", None).0, Admission::Required);
    assert!(matches!(probed("login", None).1, Upstream::Denied(401)));
}

#[test]
fn an_identity_token_is_exchanged() {
    let right = Credentials::IdentityToken(Secret::new("ID"));
    assert_eq!(probed("identity", Some(&right)).0, Admission::Accepted);
    let wrong = Credentials::IdentityToken(Secret::new("OLD"));
    assert_eq!(probed("identity", Some(&wrong)).0, Admission::Refused(401));
    // A token is no password.
    assert_eq!(probed("basic", Some(&right)).0, Admission::Refused(401));
    let sent = Credentials::RegistryToken(Secret::new("TOK"));
    assert_eq!(probed("nobody", Some(&sent)).0, Admission::Accepted);
}

#[test]
fn a_registry_that_is_not_there_cannot_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let transport = Transport::new(crate::engine::Insecure::default());
    let registry = Registry::new(transport.into(), &address, None, Store::Containerd);
    let admission = block_on(registry.probe());
    assert!(
        matches!(admission, Admission::Unreachable(_)),
        "{admission:?}"
    );
}

#[test]
fn what_a_registry_says_again_is_cleared_of_the_password_before_it_is_cut() {
    let transport = Transport::new(crate::engine::Insecure::default());
    let login = login("hunter2%");
    let registry = Registry::new(
        transport.into(),
        "r.example",
        Some(login),
        Store::Containerd,
    );
    for said in ["hunter2%", "hunter2%25"] {
        let shown = registry.shown(&format!("{}{said}", "x".repeat(197)));
        assert!(!shown.contains("hu"), "{shown}");
    }
}
