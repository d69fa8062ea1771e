//! The trusted certificates: the system's, and those in docker's certs.d for a host. As in the
//! engine, an insecure registry's certificate is not checked.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::host::files::read_named;
use crate::host::variables;

/// Bytes. All certificates of a system have some 200 KB.
const LONGEST: u64 = 16 << 20;

pub struct Certificates {
    folder: PathBuf,
    system: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Certificates {
    /// `folder`: docker's certs.d.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            system: OnceLock::new(),
        }
    }

    /// `unchecked`: accept any certificate.
    pub fn config(&self, host: &str, unchecked: bool) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if unchecked {
            let verifier = Arc::new(Unchecked(provider));
            config
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        } else {
            config.with_root_certificates(self.roots(host)?)
        };
        Ok(Arc::new(config.with_no_client_auth()))
    }

    fn roots(&self, host: &str) -> Result<RootCertStore, String> {
        // Checked here, because the loader would block on a FIFO.
        if let Some(file) = variables::path("SSL_CERT_FILE") {
            read_named(&file, LONGEST).map_err(|error| format!("SSL_CERT_FILE: {error}"))?;
        }
        let system = self
            .system
            .get_or_init(|| rustls_native_certs::load_native_certs().certs);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.iter().cloned());
        let files = std::fs::read_dir(self.folder.join(host))
            .into_iter()
            .flatten()
            .flatten();
        let own = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|e| e == "crt"));
        for path in own {
            let pem = read_named(&path, LONGEST).unwrap_or_default();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        if roots.is_empty() {
            return Err(
                "this host has no certificates to check it with (install ca-certificates)".into(),
            );
        }
        Ok(roots)
    }
}

/// Accepts any certificate, for insecure registries.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
