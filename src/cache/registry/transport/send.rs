//! Sends a request as the engine would: which hosts need no TLS, which redirects are allowed, and
//! how long it may take.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::{Method, Response};
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::cache::registry::transport::connect::{addresses, connect, name_and_port};
use crate::cache::registry::transport::endpoint::{Endpoint, Scheme};
use crate::cache::registry::transport::exchange::exchange;
use crate::cache::registry::transport::message::{Answer, Request, RequestError, StreamedAnswer};
use crate::cache::registry::transport::tls::Certificates;
use crate::engine::Insecure;

/// Deadline of one request, from name resolution to the last byte of an answer that is read
/// whole, with redirects.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long to try TLS with an insecure registry, before it is asked without.
const TLS_FIRST: Duration = Duration::from_secs(5);

/// Allowed redirects; registry.k8s.io needs one.
const REDIRECTS: usize = 3;

/// Uses a new connection for each request.
pub struct Transport {
    insecure: Insecure,
    certificates: Certificates,
    deadline: Duration,
    /// Insecure hosts that speak no TLS.
    plain: Mutex<BTreeSet<String>>,
}

impl Transport {
    /// `insecure`: the engine's list.
    pub fn new(insecure: Insecure) -> Self {
        Self {
            insecure,
            certificates: Certificates::new("/etc/docker/certs.d".into()),
            deadline: DEADLINE,
            plain: Mutex::default(),
        }
    }

    /// For tests that wait for the deadline.
    #[cfg(test)]
    pub fn impatient(insecure: Insecure) -> Self {
        Self {
            deadline: Duration::from_secs(2),
            ..Self::new(insecure)
        }
    }

    /// Whether a redirect or a realm may lead from one host to another: never away from TLS,
    /// except between registries that are both listed as insecure.
    pub async fn may_lead(&self, from: &Endpoint, to: &Endpoint) -> bool {
        to.scheme != Scheme::Plain
            || (self.is_insecure(&from.host).await && self.is_insecure(&to.host).await)
    }

    async fn is_insecure(&self, host: &str) -> bool {
        if self.insecure.covers(host) {
            return true;
        }
        addresses(host, 443)
            .await
            .is_ok_and(|found| self.covers(&found))
    }

    fn covers(&self, addresses: &[SocketAddr]) -> bool {
        let mut addresses = addresses.iter().map(SocketAddr::ip);
        addresses.any(|address: IpAddr| self.insecure.covers_address(address))
    }

    /// Sends a request, follows redirects, and reads the whole answer.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, RequestError> {
        self.open(request).await?.whole().await
    }

    /// Sends a request and follows redirects. Leaves the body to the caller.
    pub async fn open(&self, request: Request<'_>) -> Result<StreamedAnswer, RequestError> {
        let asked = (Instant::now(), self.deadline);
        let answer = tokio::time::timeout(self.deadline, self.follow(request, asked));
        let late = |_| Err(RequestError::timeout(self.deadline));
        answer.await.unwrap_or_else(late)
    }

    async fn follow(
        &self,
        mut request: Request<'_>,
        asked: (Instant, Duration),
    ) -> Result<StreamedAnswer, RequestError> {
        let first = request.endpoint.clone();
        for _ in 0..=REDIRECTS {
            let (head, body) = self.send_once(&request).await?.into_parts();
            let answer = StreamedAnswer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
                endpoint: request.endpoint.clone(),
                asked,
            };
            let redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if !redirect || request.method == Method::POST {
                return Ok(answer);
            }
            let next = answer
                .header(LOCATION.as_str())
                .and_then(|text| Endpoint::parse(text, &request.endpoint))
                .ok_or_else(|| format!("a redirect ({}) that leads nowhere", answer.status))?;
            if !self.may_lead(&request.endpoint, &next).await {
                return Err(format!("a redirect away from TLS, to {}", next.host).into());
            }
            // Credentials are only for the host that they were given for.
            request.authorization = request.authorization.filter(|_| next.same_host(&first));
            request.endpoint = next;
        }
        Err(format!("more than {REDIRECTS} redirects").into())
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<Response<Incoming>, RequestError> {
        let Endpoint { host, scheme, .. } = &request.endpoint;
        let plain = || self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let as_the_engine = *scheme == Scheme::AsTheEngine;
        if *scheme == Scheme::Plain || as_the_engine && plain().contains(host) {
            let stream = connect(&addresses(host, 80).await?, self.deadline).await?;
            return exchange(stream, request).await;
        }
        let mut addresses = addresses(host, 443).await?;
        let insecure = self.insecure.covers(host) || self.covers(&addresses);
        let (name, _) = name_and_port(host, 443);
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| "its name fits no certificate")?;
        let connector = TlsConnector::from(self.certificates.config(host, insecure)?);
        let handshake = async {
            let stream = connect(&addresses, self.deadline).await?;
            connector.connect(server, stream).await
        };
        if !(insecure && as_the_engine) {
            return exchange(handshake.await?, request).await;
        }
        let over_tls = match tokio::time::timeout(TLS_FIRST, handshake).await {
            Ok(Ok(stream)) => return exchange(stream, request).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", TLS_FIRST.as_secs()),
        };
        let (_, port) = name_and_port(host, 80);
        for address in &mut addresses {
            address.set_port(port);
        }
        let in_the_clear = async {
            let stream = connect(&addresses, self.deadline).await?;
            exchange(stream, request).await
        };
        let answer = in_the_clear.await.map_err(|failed| RequestError {
            why: format!("over TLS: {over_tls}; in the clear: {}", failed.why),
            ..failed
        })?;
        plain().insert(host.clone());
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
