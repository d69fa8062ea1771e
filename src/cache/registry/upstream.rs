//! What a registry's answer says about a manifest, and whether the engine would now send a GET.
//! Decides only from status, type, length and body: the page of a proxy or a login form is no
//! manifest, whatever its status.

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::cache::registry::transport::Answer;
use crate::model::Store;
use crate::model::reference::Reference;

/// What a name leads to in its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    Digest(String),
    /// Nothing (404).
    Gone,
    /// Denied with this HTTP status.
    Denied(u16),
    /// Too many requests (429).
    Limited,
    /// What the answer is instead of a manifest, fit to print.
    NoManifest(String),
    /// No answer within the deadline; the message is fit to print.
    TimedOut(String),
    /// Why it could not be asked, fit to print.
    Unknown(String),
}

/// The types that engines pull. The last two are of old registries.
const MANIFESTS: [&str; 6] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// The longest manifest that engines read.
const LONGEST: u64 = 4 << 20;

/// Reads the answer to a HEAD. `pin`: the digest that was asked for. `None` if the engine of this
/// store would now send a GET.
pub fn of_head(answer: &Answer, store: Store, pin: Option<&str>) -> Option<Upstream> {
    let length = answer.header("content-length");
    let length = length.and_then(|text| text.parse::<u64>().ok());
    match answer.status {
        200 => {
            let whole = length.is_some_and(|length| (1..=LONGEST).contains(&length));
            let digest = answer.header("docker-content-digest")?;
            let fits = is_digest(digest) && pin.is_none_or(|pin| pin == digest);
            let manifest = MANIFESTS.contains(&kind(answer).as_str());
            (whole && fits && manifest).then(|| Upstream::Digest(digest.to_owned()))
        }
        401 | 429 => Some(refused(answer.status)),
        405 => None,
        status => match store {
            Store::Containerd => Some(refused(status)),
            // Podman only sends GETs.
            Store::Graphdriver | Store::Podman => None,
        },
    }
}

/// Reads the answer to a GET. `shown` makes foreign text fit to print.
pub fn of_get(answer: &Answer, pin: Option<&str>, shown: impl Fn(&str) -> String) -> Upstream {
    if answer.status != 200 {
        return refused(answer.status);
    }
    let kind = kind(answer);
    if !MANIFESTS[..4].contains(&kind.as_str()) {
        let kind = shown(media_type(answer));
        return Upstream::NoManifest(format!("it answered with {kind:?}, which is no manifest"));
    }
    if !is_manifest(&answer.body, &kind) {
        return Upstream::NoManifest("what it gave does not read as a manifest".into());
    }
    if let Some(other) = pin.filter(|pin| !pin.starts_with("sha256:")) {
        let why = format!("{} cannot be checked, only sha256 can", shown(other));
        return Upstream::Unknown(why);
    }
    let digest = format!("sha256:{:x}", Sha256::digest(&answer.body));
    let named = answer.header("docker-content-digest");
    let mut others = named.into_iter().chain(pin);
    if others.any(|other| other.starts_with("sha256:") && other != digest) {
        return Upstream::NoManifest(format!("it gave a manifest whose digest is {digest}"));
    }
    Upstream::Digest(digest)
}

pub fn refused(status: u16) -> Upstream {
    match status {
        404 => Upstream::Gone,
        401 | 403 => Upstream::Denied(status),
        429 => Upstream::Limited,
        _ => Upstream::Unknown(format!("it answered {status}")),
    }
}

fn kind(answer: &Answer) -> String {
    media_type(answer).to_ascii_lowercase()
}

/// As the registry sent it, without parameters.
pub fn media_type(answer: &Answer) -> &str {
    let kind = answer.header("content-type").unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

fn is_manifest(body: &[u8], kind: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        schema_version: u64,
        media_type: Option<String>,
        config: Option<Map<String, Value>>,
        layers: Option<Vec<Value>>,
        manifests: Option<Vec<Value>>,
    }
    let Ok(seen) = serde_json::from_slice::<Manifest>(body) else {
        return false;
    };
    let image = seen.config.is_some() && seen.layers.is_some();
    let fits = seen
        .media_type
        .is_none_or(|own| own.is_empty() || own == kind);
    seen.schema_version == 2 && fits && (image || seen.manifests.is_some())
}

fn is_digest(text: &str) -> bool {
    format!("x@{text}").parse::<Reference>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::registry::transport::{Endpoint, Scheme};

    const OCI: &str = MANIFESTS[2];
    const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Answer {
        let mut all = hyper::HeaderMap::new();
        for (name, value) in headers {
            all.insert(*name, value.parse().unwrap());
        }
        Answer {
            status,
            headers: all,
            body: hyper::body::Bytes::from_static(body.as_bytes()),
            endpoint: Endpoint {
                host: "r.example".into(),
                scheme: Scheme::Tls,
                path: "/".into(),
            },
        }
    }

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    #[test]
    fn a_head_tells_a_digest_only_where_it_is_of_a_manifest() {
        let head = |kind: &str, length: &str, digest: &str, pin: Option<&str>| {
            let headers = [
                ("content-type", kind),
                ("content-length", length),
                ("docker-content-digest", digest),
            ];
            of_head(&answer(200, &headers, ""), Store::Containerd, pin)
        };
        let (fine, digest) = (Some(Upstream::Digest(digest())), digest());
        assert_eq!(head(OCI, "400", &digest, None), fine);
        assert_eq!(head(OCI, "400", &digest, Some(&digest)), fine);
        let with_charset = format!("{OCI}; charset=utf-8");
        assert_eq!(head(&with_charset, "400", &digest, None), fine);
        let other = format!("sha256:{}", "b".repeat(64));
        for (kind, length, named, pin) in [
            ("text/html", "400", digest.as_str(), None),
            (OCI, "0", &digest, None),
            (OCI, "4194305", &digest, None),
            (OCI, "400", "sha256:x", None),
            (OCI, "400", &digest, Some(other.as_str())),
        ] {
            assert_eq!(
                head(kind, length, named, pin),
                None,
                "{kind} {length} {named}"
            );
        }
        let bare = answer(200, &[("content-type", OCI)], "");
        assert_eq!(of_head(&bare, Store::Containerd, None), None);
    }

    #[test]
    fn a_head_that_fails_is_asked_again_where_the_engine_asks_again() {
        let seen = |status, store| of_head(&answer(status, &[], ""), store, None);
        for status in [403, 404, 405, 500, 501, 503] {
            assert_eq!(seen(status, Store::Graphdriver), None);
            assert_eq!(seen(status, Store::Podman), None);
        }
        assert_eq!(seen(405, Store::Containerd), None);
        assert_eq!(seen(404, Store::Containerd), Some(Upstream::Gone));
        assert_eq!(seen(403, Store::Containerd), Some(Upstream::Denied(403)));
        for store in [Store::Containerd, Store::Graphdriver] {
            assert_eq!(seen(401, store), Some(Upstream::Denied(401)));
            assert_eq!(seen(429, store), Some(Upstream::Limited));
        }
    }

    #[test]
    fn a_body_is_a_manifest_or_no_answer() {
        let own = format!("sha256:{:x}", Sha256::digest(BODY));
        let get = |kind: &str, body, pin: Option<&str>| {
            of_get(
                &answer(200, &[("content-type", kind)], body),
                pin,
                str::to_owned,
            )
        };
        assert_eq!(get(OCI, BODY, None), Upstream::Digest(own.clone()));
        assert_eq!(get(OCI, BODY, Some(&own)), Upstream::Digest(own.clone()));
        let longer = format!("sha512:{}", "a".repeat(128));
        assert!(matches!(
            get(OCI, BODY, Some(&longer)),
            Upstream::Unknown(_)
        ));
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(
            get(MANIFESTS[3], index, None),
            Upstream::Digest(_)
        ));
        let wrong_kind = r#"{"schemaVersion":2,"mediaType":"x","manifests":[]}"#;
        for (kind, body, pin) in [
            ("text/html", BODY, None),
            (OCI, "<html>", None),
            (OCI, "", None),
            (OCI, "{}", None),
            (OCI, r#"{"schemaVersion":2}"#, None),
            (OCI, wrong_kind, None),
            (OCI, BODY, Some(digest().as_str())),
        ] {
            let seen = get(kind, body, pin);
            assert!(
                matches!(seen, Upstream::NoManifest(_)),
                "{kind} {body}: {seen:?}"
            );
        }
        let lies = [("content-type", OCI), ("docker-content-digest", &digest())];
        let seen = of_get(&answer(200, &lies, BODY), None, str::to_owned);
        assert!(matches!(seen, Upstream::NoManifest(_)), "{seen:?}");
        assert_eq!(
            of_get(&answer(404, &[], ""), None, str::to_owned),
            Upstream::Gone
        );
        // A registry may repeat a password.
        let said = answer(200, &[("content-type", "Hunter2; x")], BODY);
        let seen = of_get(&said, None, |text| text.replace("Hunter2", "[secret]"));
        let shown = format!("{seen:?}");
        assert!(shown.contains("[secret]"), "{shown}");
    }
}
