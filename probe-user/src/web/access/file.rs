//! What a file may hold, and what it means.
//!
//! The keys are those of Prometheus' exporter-toolkit. What is known there and not supported here is refused with the reason:
//! a demand that is not met must not look as if it were.
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use axum::http::{HeaderName, HeaderValue};

use super::{
    Access, Misstep,
    section::{Keys, Section, Written},
    tls::{self, ClientCertificate, TlsWishes},
    users::{Users, cost_of},
    yaml,
};

const SECTIONS: Keys = Keys {
    known: &["tls_server_config", "http_server_config", "basic_auth_users"],
    refused: &[("rate_limit", "the daemon has limits of its own; remove it")],
};
const TLS: Keys = Keys {
    known: &[
        "cert_file",
        "key_file",
        "client_ca_file",
        "cert",
        "key",
        "client_ca",
        "client_auth_type",
        "min_version",
        "max_version",
        "cipher_suites",
        "prefer_server_cipher_suites",
        "curve_preferences",
    ],
    refused: &[(
        "client_allowed_sans",
        "names in client certificates are not looked at; let client_ca_file be an authority for scrapers only",
    )],
};
const HTTP: Keys = Keys { known: &["http2", "headers"], refused: &[] };
/// With the values that they may have, where there are only some.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];
const HEADER_KEYS: Keys = Keys {
    known: &[
        "Content-Security-Policy",
        "X-Frame-Options",
        "X-Content-Type-Options",
        "X-XSS-Protection",
        "Strict-Transport-Security",
    ],
    refused: &[],
};

/// What the text says. Files that it names are beside the folder, unless their paths are absolute.
pub(super) fn parse(text: &str, folder: &Path) -> Result<Access, Misstep> {
    let mut file = Section::of(yaml::parse(text)?, String::new())?.with(&SECTIONS)?;
    let tls = file.take("tls_server_config")?.map(|section| tls_config(&section.with(&TLS)?, folder));
    let headers = file.take("http_server_config")?.map(|section| headers(section.with(&HTTP)?));
    let users = file.take("basic_auth_users")?.map(|section| users(&section));
    Ok(Access {
        tls: tls.transpose()?,
        headers: headers.transpose()?.unwrap_or_default(),
        users: users.transpose()?,
    })
}

fn tls_config(section: &Section, folder: &Path) -> Result<Arc<rustls::ServerConfig>, Misstep> {
    let chain = pem(section, "cert", folder, tls::certificates)?;
    let chain = chain.ok_or_else(|| section.misstep("cert_file is lacking: it names the certificate"))?;
    let key = pem(section, "key", folder, tls::private_key)?;
    let key = key.ok_or_else(|| section.misstep("key_file is lacking: it names the private key"))?;
    let wishes = TlsWishes {
        chain,
        key,
        clients: clients(section, folder)?,
        versions: versions(section)?,
        cipher_suites: each(section, "cipher_suites", tls::cipher_suite)?
            .map(|suites| tls::tls13_suites().chain(suites).collect()),
        curves: each(section, "curve_preferences", tls::curve)?,
        own_preference: section.flag("prefer_server_cipher_suites")?.unwrap_or(true),
    };
    tls::server_config(wishes).map_err(|problem| section.misstep(format!("cannot be used: {problem}")))
}

/// What stands in a file, under `key_file`, or in the text itself.
fn pem<T>(
    section: &Section,
    key: &str,
    folder: &Path,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Option<T>, Misstep> {
    let (named, inline) = (section.text(&format!("{key}_file"))?, section.text(key)?);
    match (named, inline) {
        (Some(_), Some(inline)) => {
            Err(inline.misstep(format!("is there beside {key}_file: remove one of them")))
        }
        (Some(named), None) => {
            let path = folder.join(named.text);
            let read = fs::read(&path)
                .map_err(|error| named.misstep(format!("{} cannot be read ({error})", path.display())))?;
            let parsed = parse(&read);
            parsed.map(Some).map_err(|problem| named.misstep(format!("{} {problem}", path.display())))
        }
        (None, Some(inline)) => {
            parse(inline.text.as_bytes()).map(Some).map_err(|problem| inline.misstep(problem))
        }
        (None, None) => Ok(None),
    }
}

type Clients = (ClientCertificate, Vec<rustls::pki_types::CertificateDer<'static>>);

fn clients(section: &Section, folder: &Path) -> Result<Option<Clients>, Misstep> {
    let authorities = pem(section, "client_ca", folder, tls::certificates)?;
    let wish = section.text("client_auth_type")?;
    let demand = match wish.as_ref().map(|wish| wish.text) {
        None | Some("NoClientCert") => None,
        Some("VerifyClientCertIfGiven") => Some(ClientCertificate::IfGiven),
        Some("RequireAndVerifyClientCert") => Some(ClientCertificate::Required),
        Some(_) => return Err(of_no_use(wish, section)),
    };
    match (demand, authorities) {
        (Some(demand), Some(authorities)) => Ok(Some((demand, authorities))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(section.misstep("client_ca_file is lacking: it names who signs clients' certificates"))
        }
        (None, Some(_)) => Err(section.misstep(
            "client_ca_file is of no effect: add client_auth_type: RequireAndVerifyClientCert, or remove it",
        )),
    }
}

fn of_no_use(wish: Option<Written<'_>>, section: &Section) -> Misstep {
    let Some(wish) = wish else { return section.misstep("has no client_auth_type") };
    let known = "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert";
    match wish.text {
        "RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert" => wish.misstep(format!(
            "{} is not supported, because a certificate that is not verified proves nothing: write {known}",
            wish.text
        )),
        other => wish.misstep(format!("{other:?} is unknown: write {known}")),
    }
}

fn versions(section: &Section) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, Misstep> {
    let (least, most) = (section.text("min_version")?, section.text("max_version")?);
    let (from, to) = (least.as_ref().map(|least| least.text), most.as_ref().map(|most| most.text));
    // A name that is not known is to blame first, then the order of the two.
    if let Some(most) = &most {
        tls::versions("TLS12", most.text).map_err(|problem| most.misstep(problem))?;
    }
    tls::versions(from.unwrap_or("TLS12"), to.unwrap_or("TLS13"))
        .map_err(|problem| least.map_or_else(|| section.misstep(&problem), |least| least.misstep(&problem)))
}

/// What each name of a list means.
fn each<T>(
    section: &Section,
    key: &str,
    meaning: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, Misstep> {
    let Some(names) = section.list(key)? else { return Ok(None) };
    let meant =
        names.iter().map(|name| meaning(name.text).map_err(|problem| name.misstep(problem))).collect();
    Result::map(meant, Some)
}

/// HTTP/1.1 is all that is spoken, whatever `http2` allows.
fn headers(mut section: Section) -> Result<Vec<(HeaderName, HeaderValue)>, Misstep> {
    section.flag("http2")?;
    let Some(wanted) = section.take("headers")? else { return Ok(Vec::new()) };
    let wanted = wanted.with(&HEADER_KEYS)?;
    let mut headers = Vec::new();
    for (name, allowed) in HEADERS {
        let Some(written) = wanted.text(name)? else { continue };
        if !allowed.is_empty() && !allowed.contains(&written.text) {
            let problem = format!("{:?} is not allowed: write {}", written.text, allowed.join(" or "));
            return Err(written.misstep(problem));
        }
        let value = HeaderValue::from_str(written.text)
            .map_err(|_| written.misstep("holds characters that no header may have"))?;
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| written.misstep("is no name of a header"))?;
        headers.push((name, value));
    }
    Ok(headers)
}

fn users(section: &Section) -> Result<Users, Misstep> {
    let mut hashes = BTreeMap::new();
    for user in section.texts() {
        let (name, hash) = user?;
        if name.contains(':') {
            return Err(hash.misstep("no name of a user may have a colon"));
        }
        cost_of(hash.text).map_err(|problem| hash.misstep(problem))?;
        hashes.insert(name.to_owned(), Arc::from(hash.text));
    }
    Users::new(hashes).ok_or_else(|| section.misstep("the system gives no random numbers"))
}
