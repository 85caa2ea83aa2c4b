//! Which server certificates are accepted, and the words for those that are not.

use oci::{Error, Kind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

/// Any certificate will do: `skip_verify`, and loopback.
#[derive(Debug)]
pub(crate) struct Lax {
    provider: Arc<CryptoProvider>,
}

impl Lax {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

impl ServerCertVerifier for Lax {
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

    signatures!();
}

/// The usual path check, and besides it what webpki refuses but every docker host relies on: a
/// self-signed certificate (marked as an authority, as `openssl req -x509` makes them) that the
/// administrator put into the host's own directory is accepted as the server's certificate.
#[derive(Debug)]
pub(crate) struct Strict {
    /// `None` where the machine has no authorities at all.
    paths: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Strict {
    pub(crate) fn new(
        paths: Option<Arc<WebPkiServerVerifier>>,
        pinned: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { paths, pinned, provider }
    }

    fn verify_pinned(
        &self,
        end: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        verify_server_name(&ParsedCertificate::try_from(end)?, name)?;
        let (from, to) = validity(end).ok_or(CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > to {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }
}

impl ServerCertVerifier for Strict {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|own| own.as_ref() == end.as_ref()) {
            return self.verify_pinned(end, name, now).map(|()| ServerCertVerified::assertion());
        }
        match &self.paths {
            Some(paths) => paths.verify_server_cert(end, between, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    signatures!();
}

/// The error of a handshake in the words that Go's TLS, and so docker, uses.
pub(crate) fn explain(host: &str, error: &rustls::Error) -> Error {
    let x509 = |why: String| {
        let text = format!("tls: failed to verify certificate of {host}: x509: {why}");
        Error::new(Kind::Unavailable, text)
    };
    match error {
        rustls::Error::InvalidCertificate(why) => x509(match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "certificate signed by unknown authority".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired".into(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not yet valid".into()
            }
            CertificateError::NotValidForName => format!("certificate is not valid for {host}"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                format!("certificate is valid for {}, not {host}", presented.join(", "))
            }
            CertificateError::Revoked => "certificate has been revoked".into(),
            // webpki's word for a self-signed certificate that is not among those we were given.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "certificate signed by unknown authority".into()
            }
            other => other.to_string(),
        }),
        rustls::Error::AlertReceived(alert) => Error::unavailable(format!("{host}: remote error: tls: {alert:?}")),
        rustls::Error::InvalidMessage(_) => {
            Error::unavailable(format!("{host}: http: server gave HTTP response to HTTPS client"))
        }
        other => Error::unavailable(format!("{host}: tls: {other}")),
    }
}

/// One DER element: its tag, what it holds, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((tag, inside, after))
}

/// `notBefore` and `notAfter` of a certificate (RFC 5280, 4.1), in seconds since the epoch.
fn validity(cert: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate, _) = element(cert)?;
    let (_, mut tbs, _) = element(certificate)?;
    let (tag, _, rest) = element(tbs)?;
    if tag == 0xa0 {
        tbs = rest; // version
    }
    for _ in 0..3 {
        tbs = element(tbs)?.2; // serial number, signature, issuer
    }
    let (_, validity, _) = element(tbs)?;
    let (tag, from, rest) = element(validity)?;
    let (last, to, _) = element(rest)?;
    Some((time(tag, from)?, time(last, to)?))
}

/// UTCTime (two-digit years from 1950) or GeneralizedTime, both ending in `Z`.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let full = match tag {
        0x17 if text.len() == 12 => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        0x18 if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| full.get(from..to);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    Some(rfc3339.parse::<oci::Timestamp>().ok()?.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        assert_eq!(time(0x17, b"700101000000Z"), Some(0));
        assert_eq!(time(0x17, b"490101000000Z"), Some(2_493_072_000));
        assert_eq!(time(0x18, b"20260101000000Z"), Some(1_767_225_600));
        for bad in [&b"20260101000000"[..], b"", b"x", b"20261301000000Z"] {
            assert_eq!(time(0x18, bad), None);
        }
    }

    #[test]
    fn der_lengths_cannot_run_over() {
        for bad in [&[0x30][..], &[0x30, 5, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &[0x30, 0x85, 1]]
        {
            assert!(element(bad).is_none());
            assert!(validity(bad).is_none());
        }
    }
}
