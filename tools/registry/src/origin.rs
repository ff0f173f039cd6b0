//! Where requests go. Pure.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use crate::Error;

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
        let (host, port) = split(registry)
            .ok_or_else(|| Error::Protocol { what: format!("\"{registry}\" is no host name") })?;
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
    /// name itself with plain HTTP, which is never followed.
    pub(crate) fn follow(&self, location: &str) -> Option<(Self, String)> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if uri.host().is_none() {
            return path.starts_with('/').then(|| (self.clone(), path));
        }
        let mut to = Self::of(&uri)?;
        if to.host == self.host && self.scheme == Scheme::Https && to.scheme == Scheme::Http {
            to = self.clone();
        }
        Some((to, path))
    }
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
    }
}
