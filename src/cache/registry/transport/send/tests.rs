use super::*;
use crate::model::secret::Secret;
use crate::testing::block_on;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;

/// A server that answers each connection once, with the request's head as the body.
async fn serve(answer: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let chain = CertificateDer::pem_slice_iter(include_bytes!("../testdata/server.crt"));
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../testdata/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // A name, because an address of this host would not be checked.
    let port = listener.local_addr().unwrap().port();
    let address = format!("0x7f000001:{port}");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let length = head.len();
            let text = format!(
                "HTTP/1.1 {answer}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{head}"
            );
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, task)
}

fn transport_with(certificates: &std::path::Path) -> Transport {
    Transport {
        certificates: Certificates::new(certificates.to_owned()),
        ..Transport::new(Insecure::default())
    }
}

async fn asked(transport: &Transport, host: &str) -> Result<Answer, String> {
    let endpoint = Endpoint {
        host: host.to_owned(),
        scheme: Scheme::Tls,
        path: "/v2/".into(),
    };
    let secret = Secret::new("Bearer TOKEN");
    let request = Request {
        method: Method::GET,
        endpoint,
        authorization: Some(&secret),
        accept: None,
        form: None,
    };
    transport.send(request).await.map_err(|failed| failed.why)
}

#[test]
fn a_server_is_believed_by_dockers_certificate_for_it_and_by_no_other() {
    block_on(async {
        let (address, _server) = serve("200 OK").await;
        let folder = tempfile::tempdir().unwrap();
        let refused = asked(&transport_with(folder.path()), &address)
            .await
            .unwrap_err();
        assert!(
            refused.contains("certificate") || refused.contains("UnknownIssuer"),
            "{refused}"
        );
        let own = folder.path().join(&address);
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("ca.crt"), include_bytes!("../testdata/ca.crt")).unwrap();
        let answer = asked(&transport_with(folder.path()), &address)
            .await
            .unwrap();
        let head = String::from_utf8_lossy(&answer.body).to_lowercase();
        assert!(head.starts_with("get /v2/ http/1.1\r\n"), "{head}");
        assert!(
            head.contains("authorization: bearer token")
                && head.contains(&format!("host: {address}")),
            "{head}"
        );
    });
}

#[test]
fn no_redirect_leads_away_from_tls() {
    block_on(async {
        let (address, _server) = serve("307 there\r\nLocation: http://127.0.0.1:9/x").await;
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(&address);
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("ca.crt"), include_bytes!("../testdata/ca.crt")).unwrap();
        let refused = asked(&transport_with(folder.path()), &address)
            .await
            .unwrap_err();
        assert!(refused.contains("away from TLS"), "{refused}");
    });
}

#[test]
fn an_insecure_network_holds_for_a_name_that_leads_into_it_and_for_any_certificate() {
    block_on(async {
        let (address, _server) = serve("200 OK").await;
        let folder = tempfile::tempdir().unwrap();
        let insecure = |cidr: &str| Transport {
            insecure: Insecure {
                cidrs: vec![cidr.to_owned()],
                ..Insecure::default()
            },
            ..transport_with(folder.path())
        };
        let listed = asked(&insecure("127.0.0.0/8"), &address).await;
        assert_eq!(listed.unwrap().status, 200);
        asked(&insecure("10.0.0.0/8"), &address).await.unwrap_err();
    });
}

/// Answers one request with this head, and then sends `again` as long as the client reads.
async fn asked_without_end(again: &'static [u8]) -> (Result<Answer, String>, Duration) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(again).await.is_ok() {
            if again.len() == 1 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let endpoint = Endpoint {
        host,
        scheme: Scheme::Plain,
        path: "/v2/".into(),
    };
    let request = Request {
        method: Method::GET,
        endpoint,
        authorization: None,
        accept: None,
        form: None,
    };
    let begin = Instant::now();
    let transport = Transport::new(Insecure::default());
    let answer = transport.send(request).await;
    (answer.map_err(|failed| failed.why), begin.elapsed())
}

#[test]
fn an_answer_without_end_is_read_for_4_mib_and_20_seconds() {
    block_on(async {
        // With a paused clock, time advances when every task waits.
        tokio::time::pause();
        let (answer, took) = asked_without_end(b"x").await;
        assert_eq!(answer.unwrap_err(), "no answer within 20 s");
        assert_eq!(took.as_secs(), 20);
        let (answer, took) = asked_without_end(&[b'x'; 1 << 14]).await;
        assert_eq!(answer.unwrap_err(), "length limit exceeded");
        assert!(took < DEADLINE);
    });
}
