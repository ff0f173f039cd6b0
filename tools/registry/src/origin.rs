//! Where requests go. Pure.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use crate::{Detour, Error};

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain: loopback, or by the user's word.
    Http,
    /// TLS.
    Https,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// The origin of a registry, `host[:port]`: plain HTTP for loopback or where `plain` says so.
    pub(crate) fn of_registry(registry: &str, plain: bool) -> Result<Self, Error> {
        // Docker Hub answers elsewhere than its images' names say.
        let registry = match registry {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        };
        let parts = split(registry).filter(|_| slipway_release::is_host(registry));
        let (host, port) = parts.ok_or_else(|| Error::Protocol {
            what: format!("\"{registry}\" is no host name").into(),
        })?;
        let scheme = if plain || is_loopback(host) { Scheme::Http } else { Scheme::Https };
        let port = port.unwrap_or(default_port(scheme));
        Ok(Self { scheme, host: host.to_owned(), port })
    }

    /// The origin of an absolute URL.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(default_port(scheme)) })
    }

    /// What stands in the header Host.
    pub(crate) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.scheme) { host } else { format!("{host}:{}", self.port) }
    }

    /// Follows a Location: a path, or a whole URL. A registry behind a proxy that ends TLS may
    /// name itself with plain HTTP: then it is spoken to as before.
    pub(crate) fn follow(&self, location: &str) -> Option<(Self, String)> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if uri.host().is_none() {
            return path.starts_with('/').then(|| (self.clone(), path));
        }
        let mut to = Self::of(&uri)?;
        if to.host.eq_ignore_ascii_case(&self.host) {
            if self.scheme == Scheme::Https && to.scheme == Scheme::Http {
                return Some((self.clone(), path));
            }
            to.host.clone_from(&self.host);
        }
        Some((to, path))
    }
}

/// Where a registry sends a request on.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) origin: Origin,
    /// Path and query.
    pub(crate) path: String,
    /// For errors: a query holds a permission, and goes.
    shown: String,
}

impl Place {
    /// The place that a Location names.
    ///
    /// # Errors
    /// When it is no HTTP URL, or would end TLS.
    pub(crate) fn of(origin: &Origin, location: &str) -> Result<Self, Error> {
        let what =
            || Error::Protocol { what: format!("the Location \"{}\"", shown(location)).into() };
        let (to, path) = origin.follow(location).ok_or_else(what)?;
        let place = Self { origin: to, path, shown: shown(location).to_owned() };
        if origin.scheme == Scheme::Https && place.origin.scheme == Scheme::Http {
            return Err(place.elsewhere(origin, "a request", Detour::Plain, ", without TLS"));
        }
        Ok(place)
    }

    /// The error of not going there.
    pub(crate) fn elsewhere(
        &self,
        registry: &Origin,
        what: &str,
        detour: Detour,
        why: &'static str,
    ) -> Error {
        Error::Elsewhere {
            registry: registry.to_string().into(),
            what: what.into(),
            to: self.shown.as_str().into(),
            detour,
            why,
        }
    }
}

/// An address without what may be a secret: a login, a query.
pub(crate) fn shown(location: &str) -> &str {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let bare = &location[..end];
    let authority = bare.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    if authority.contains('@') { "an address with a login" } else { bare }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

fn split(registry: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let port = port.map(str::parse).transpose().ok()?;
    (!host.is_empty()).then_some((host, port))
}

/// Whether it is this machine itself, where nobody listens in.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(registry: &str) -> String {
        let origin = Origin::of_registry(registry, false).unwrap();
        format!("{:?} {} {}", origin.scheme, origin.host, origin.port)
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        assert_eq!(of("localhost:5000"), "Http localhost 5000");
        assert_eq!(of("127.0.0.1"), "Http 127.0.0.1 80");
        assert_eq!(of("[::1]:5000"), "Http ::1 5000");
        assert_eq!(of("r.example"), "Https r.example 443");
        assert_eq!(of("docker.io"), "Https registry-1.docker.io 443");
        let plain = Origin::of_registry("10.0.0.1:5000", true).unwrap();
        assert_eq!((plain.scheme, plain.authority().as_str()), (Scheme::Http, "10.0.0.1:5000"));
        assert!(Origin::of_registry("a:b", false).is_err());
    }

    #[test]
    fn a_location_is_followed_but_never_from_tls_to_plain() {
        let origin = Origin::of_registry("r.example", false).unwrap();
        let follow = |location: &str| {
            origin.follow(location).map(|(to, path)| format!("{:?} {to} {path}", to.scheme))
        };
        assert_eq!(follow("/v2/x?a=1").unwrap(), "Https r.example /v2/x?a=1");
        assert_eq!(follow("http://r.example/v2/x").unwrap(), "Https r.example /v2/x");
        assert_eq!(follow("https://s3.example:8443/y?z").unwrap(), "Https s3.example:8443 /y?z");
        assert_eq!(follow("ftp://r.example/x"), None);
        assert_eq!(follow("https://user:pw@r.example/x"), None);
    }

    #[test]
    fn a_place_is_named_without_its_secrets() {
        let origin = Origin::of_registry("r.example", false).unwrap();
        let place = Place::of(&origin, "https://s3.example/y?X-Amz-Signature=secret").unwrap();
        let error = place.elsewhere(&origin, "an upload", Detour::Host, ", which is another host");
        assert_eq!(
            error.to_string(),
            "the registry r.example sends an upload to https://s3.example/y, which is another host"
        );
        let error = Place::of(&origin, "http://evil.example/x").unwrap_err();
        assert!(error.to_string().ends_with("http://evil.example/x, without TLS"), "{error}");
        let error = Place::of(&origin, "https://user:hunter2@r.example/x").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_port_that_was_forgotten_is_another_place() {
        let origin = Origin::of_registry("r.example:5443", false).unwrap();
        let follow = |location: &str| origin.follow(location).unwrap().0.authority();
        assert_eq!(follow("https://R.example:5443/x"), "r.example:5443");
        assert_eq!(follow("http://r.example:5443/x"), "r.example:5443");
        assert_eq!(follow("https://r.example/x"), "r.example");
        assert_eq!(follow("http://r.example/x"), "r.example:5443");
    }
}
