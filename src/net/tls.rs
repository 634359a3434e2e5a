//! TLS: whom to trust, who we are.
//!
//! The system's certificates are trusted unless others are given, as redis-cli does it; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.

use super::{Address, TlsOptions};
use crate::error::{ErrorKind, RdbError, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// The client's end of TLS, before the first byte.
pub(super) fn client(address: &Address, options: &TlsOptions) -> Result<ClientConnection> {
    let bad = |what: String| RdbError::other(ErrorKind::Unsupported, what);
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(format!("TLS: {e}")))?;
    let verifier: Arc<dyn ServerCertVerifier> = if options.insecure {
        Arc::new(Anyone(provider))
    } else {
        let (roots, named) = trusted(options)?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| bad(format!("TLS: {e}")))?;
        Arc::new(Trusted { usual, named })
    };
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&options.cert, &options.key) {
        (None, None) => config.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| unreadable("the private key", key, e))?;
            config
                .with_client_auth_cert(chain, private)
                .map_err(|e| bad(format!("{} and {}: {e}", cert.display(), key.display())))?
        }
        (Some(_), None) => return Err(bad("a client certificate without its key (--key)".into())),
        (None, Some(_)) => return Err(bad("a key without its certificate (--cert)".into())),
    };
    let name = match (&options.sni, address) {
        (Some(name), _) | (None, Address::Tcp(name, _)) => name.as_str(),
        (None, Address::Unix(_)) => "localhost",
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| bad(format!("{name:?} is no name that a certificate can have")))?;
    ClientConnection::new(Arc::new(config), name).map_err(|e| bad(format!("TLS: {e}")))
}

/// The authorities to trust, and the certificates of `--cacert` themselves.
fn trusted(options: &TlsOptions) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let mut roots = RootCertStore::empty();
    let (mut told, mut named) = (None, Vec::new());
    if let Some(file) = &options.cacert {
        named = certificates(file)?;
        roots.add_parsable_certificates(named.iter().cloned());
    }
    if let Some(dir) = &options.cacertdir {
        let found = std::fs::read_dir(dir)
            .map_err(|e| RdbError::io(format!("cannot read {}", dir.display()), e))?;
        for entry in found {
            let path = entry
                .map_err(|e| RdbError::io(format!("cannot read {}", dir.display()), e))?
                .path();
            // Whatever else lies there (keys, lists of revoked ones) is passed over, as OpenSSL does.
            if path.is_file()
                && let Ok(found) = certificates(&path)
            {
                roots.add_parsable_certificates(found);
            }
        }
    }
    if options.cacert.is_none() && options.cacertdir.is_none() {
        let found = rustls_native_certs::load_native_certs();
        told = found.errors.into_iter().next();
        roots.add_parsable_certificates(found.certs);
    }
    if roots.is_empty() {
        let why = told.map_or(String::new(), |e| format!(": {e}"));
        return Err(RdbError::other(
            ErrorKind::Unsupported,
            format!("no certificate to trust{why} (--cacert names one)"),
        ));
    }
    Ok((roots, named))
}

/// The certificates in a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |e| unreadable("certificates", path, e);
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(bad)?
        .collect::<Result<_, _>>()
        .map_err(bad)?;
    match all.is_empty() {
        true => Err(RdbError::other(
            ErrorKind::Unsupported,
            format!("{}: no certificate in it (PEM)", path.display()),
        )),
        false => Ok(all),
    }
}

#[cold]
fn unreadable(what: &str, path: &Path, e: rustls::pki_types::pem::Error) -> RdbError {
    use rustls::pki_types::pem::Error;
    let what = format!("cannot read {what} from {}", path.display());
    match e {
        Error::Io(e) => RdbError::io(what, e),
        e => RdbError::other(ErrorKind::Unsupported, format!("{what}: {e:?}")),
    }
}

/// Trusts what an authority has signed; and a certificate that the user has named, which need not be of an authority: one that a server
/// has signed itself, as `openssl req -x509` makes it, is commonly both.
#[derive(Debug)]
struct Trusted {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::{CertificateError, Error};
        let usual = self.usual.verify_server_cert(cert, others, name, ocsp, now);
        match usual {
            // Of an authority (which has no kind of error of its own), or of nobody else: the dates are good, or they would be the error.
            Err(Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.named.contains(cert) => {
                verify_server_name(&ParsedCertificate::try_from(cert)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Believes that anyone is who they say (`--insecure`); still they must have the key of the certificate they show.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
