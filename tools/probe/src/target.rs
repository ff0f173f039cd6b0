//! What can be probed, as people write it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery};

use crate::FormError;

/// One thing to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An HTTP or HTTPS URL that is asked with a request.
    Http(Url),
    /// A TCP port that has to accept a connection.
    Tcp(Address),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address; an IPv6 address stands without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The URL of an HTTP service: no user, no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub tls: bool,
    /// Where it is.
    pub address: Address,
    /// The path with its query; it begins with a slash.
    pub path: String,
}

impl Url {
    /// Sets another path, with or without a query.
    ///
    /// # Errors
    /// When it cannot stand in a request.
    pub fn set_path(&mut self, path: &str) -> Result<(), FormError> {
        self.path = path_of(path).map_err(FormError)?;
        Ok(())
    }

    /// The value of the Host header: the port is named unless it is the scheme's own (RFC 9110,
    /// section 7.2).
    #[must_use]
    pub fn host_header(&self) -> String {
        let own = if self.tls { 443 } else { 80 };
        if self.address.port == own {
            self.address.bracketed().to_string()
        } else {
            self.address.to_string()
        }
    }
}

impl Address {
    fn bracketed(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            if self.host.contains(':') {
                write!(f, "[{}]", self.host)
            } else {
                f.write_str(&self.host)
            }
        })
    }

    /// Reads `host`, `host:port` or `[v6]:port`; `own` is the port if none is written.
    fn parse(text: &str, own: Option<u16>) -> Result<Self, String> {
        if text.contains('@') {
            return Err("a user or password does not belong there".to_owned());
        }
        if text.parse::<Authority>().is_err() {
            return Err(format!("\"{text}\" is not a host, with or without a port"));
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => {
                if host.parse::<Ipv6Addr>().is_err() {
                    return Err(format!("\"{host}\" is not an IPv6 address"));
                }
                (host, (!rest.is_empty()).then(|| rest.trim_start_matches(':')))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err("the host is missing".to_owned());
        }
        let port = match port {
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(format!("\"{port}\" is not a port")),
                Ok(port) => port,
            },
            None => own.ok_or("the port is missing")?,
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bracketed(), self.port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl FromStr for Target {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let wrong = FormError;
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong(format!(
                "the scheme is missing: write http://{text}, https://{text} or tcp://{text}"
            )));
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        match scheme.to_ascii_lowercase().as_str() {
            "tcp" if !path.is_empty() => {
                Err(wrong(format!("a TCP target has no path: write tcp://{authority}")))
            }
            "tcp" => Address::parse(authority, None).map(Self::Tcp).map_err(wrong),
            scheme @ ("http" | "https") => {
                let tls = scheme == "https";
                let own = if tls { 443 } else { 80 };
                let address = Address::parse(authority, Some(own)).map_err(wrong)?;
                let path = path_of(path).map_err(wrong)?;
                Ok(Self::Http(Url { tls, address, path }))
            }
            other => Err(wrong(format!("\"{other}\" is none of http, https and tcp"))),
        }
    }
}

/// A path with its query in the form that a request sends.
pub(crate) fn path_of(text: &str) -> Result<String, String> {
    let rooted = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    match rooted.parse::<PathAndQuery>() {
        Ok(path) => Ok(path.as_str().to_owned()),
        Err(_) => Err(format!(
            "\"{text}\" is not a path: spaces and characters beyond ASCII have to be written as %XX"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        match text.parse() {
            Ok(Target::Http(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_forms_that_people_write() {
        let app = url("HTTP://App.example:8000?a=b#top");
        assert_eq!(app.to_string(), "http://app.example:8000/?a=b");
        assert_eq!(app.host_header(), "app.example:8000");
        assert_eq!(url("https://[::1]/x").host_header(), "[::1]");
        assert_eq!(url("https://a:443").host_header(), "a");
        assert_eq!(url("http://a:443").host_header(), "a:443");
        let tcp = Target::Tcp(Address { host: "db".into(), port: 5432 });
        assert_eq!("tcp://db:5432".parse(), Ok(tcp));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, reason) in [
            ("localhost:8000", "http://localhost:8000"),
            ("ftp://a", "none of http"),
            ("tcp://a", "port is missing"),
            ("tcp://a:1/x", "no path"),
            ("http://", "not a host"),
            ("http://:80", "host is missing"),
            ("http://a:0", "not a port"),
            ("http://a:99999", "not a port"),
            ("http://a:", "not a port"),
            ("http://me:pw@a", "user or password"),
            ("http://[::x]", "not a"),
            ("http://a/ü x", "%XX"),
            ("http://a b", "not a host"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_shown_reads_back(text in "(http|https|tcp)://[a-z:\\[\\]0-9./?#@ -]{0,16}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse(), Ok(target));
            }
        }
    }
}
