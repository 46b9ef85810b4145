//! What rustls makes of `tls_server_config`.
use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificate {
    IfGiven,
    Required,
}

/// Everything that the file says, as far as it can be meant.
#[derive(Debug)]
pub(super) struct TlsWishes {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Whose certificates clients may show.
    pub(super) clients: Option<(ClientCertificate, Vec<CertificateDer<'static>>)>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) cipher_suites: Option<Vec<SupportedCipherSuite>>,
    pub(super) curves: Option<Vec<&'static dyn SupportedKxGroup>>,
    pub(super) own_preference: bool,
}

/// The versions from one to the other, both by name.
pub(super) fn versions(least: &str, most: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let number = |name: &str| match name {
        "TLS12" => Ok(2),
        "TLS13" => Ok(3),
        _ => Err(format!("{name:?} is not supported: TLS12 and TLS13 are")),
    };
    let (least, most) = (number(least)?, number(most)?);
    let all = [(2, &TLS12), (3, &TLS13)].into_iter();
    let versions: Vec<_> =
        all.filter(|(number, _)| (least..=most).contains(number)).map(|(_, version)| version).collect();
    if versions.is_empty() { Err("is more than max_version".to_owned()) } else { Ok(versions) }
}

/// The suite of TLS 1.2 by the name that Go gives it, which is the registered one but for two.
pub(super) fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, String> {
    let go_leaves_out = |full: &str| full.strip_suffix("_SHA256").is_some_and(|short| short == name);
    let known = ring::DEFAULT_CIPHER_SUITES.iter().filter(|suite| suite.version() == &TLS12);
    let named: Vec<_> = known.map(|suite| (format!("{:?}", suite.suite()), *suite)).collect();
    let found = named.iter().find(|(full, _)| full == name || go_leaves_out(full));
    found.map(|(_, suite)| *suite).ok_or_else(|| {
        let names: Vec<&str> = named.iter().map(|(full, _)| full.as_str()).collect();
        format!("{name:?} is not supported; of TLS 1.2 these are: {}", names.join(", "))
    })
}

/// The suites of TLS 1.3 always count, as in Go.
pub(super) fn tls13_suites() -> impl Iterator<Item = SupportedCipherSuite> {
    ring::DEFAULT_CIPHER_SUITES.iter().filter(|suite| suite.version() == &TLS13).copied()
}

/// A curve by Go's name.
pub(super) fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, String> {
    match name {
        "X25519" => Ok(ring::kx_group::X25519),
        "CurveP256" => Ok(ring::kx_group::SECP256R1),
        "CurveP384" => Ok(ring::kx_group::SECP384R1),
        _ => Err(format!("{name:?} is not supported: X25519, CurveP256 and CurveP384 are")),
    }
}

/// All certificates of a PEM text, of which there must be one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("holds no certificate in PEM: {error}")),
    }
}

/// The private key of a PEM text.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| format!("holds no unencrypted private key in PEM: {error}"))
}

/// The finished configuration; certificate and key are proven to fit.
pub(super) fn server_config(wishes: TlsWishes) -> Result<Arc<ServerConfig>, String> {
    let mut provider = ring::default_provider();
    if let Some(suites) = wishes.cipher_suites {
        provider.cipher_suites = suites;
    }
    if let Some(curves) = wishes.curves {
        provider.kx_groups = curves;
    }
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&wishes.versions)
        .map_err(|error| error.to_string())?;
    let builder = match wishes.clients {
        Some((demand, authorities)) => {
            builder.with_client_cert_verifier(verifier(demand, authorities, provider)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(wishes.chain, wishes.key).map_err(|error| error.to_string())?;
    config.ignore_client_order = wishes.own_preference;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(
    demand: ClientCertificate,
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match demand {
        ClientCertificate::IfGiven => builder.allow_unauthenticated(),
        ClientCertificate::Required => builder,
    };
    builder.build().map_err(|error| error.to_string())
}
