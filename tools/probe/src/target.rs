//! What can be probed, as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery};

use crate::{FormError, Login};

/// One thing to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A URL that is asked with an HTTP request.
    Http(Url),
    /// A TCP port that has to accept a connection.
    Tcp(Address),
    /// A TCP port that has to prove by TLS who it is.
    Tls(Address),
    /// A Unix socket that has to accept a connection.
    Unix(PathBuf),
    /// A container whose own health check has to pass, by name or id.
    Container(String),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an IP address; an IPv6 address stands without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How a URL is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`: without TLS.
    Http,
    /// `https`: with TLS, which settles the version of HTTP, too.
    Https,
    /// `h2c`: HTTP/2 without TLS, as both sides know beforehand (RFC 9113, section 3.3).
    H2c,
}

/// The URL of an HTTP service, without a fragment. `Display` leaves user and password out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// How it is asked.
    pub scheme: Scheme,
    /// Where it is; behind a Unix socket it is `localhost`.
    pub address: Address,
    /// The Unix socket that leads to it, in place of the address.
    pub socket: Option<PathBuf>,
    /// The path with its query; it begins with a slash.
    pub path: String,
    /// The user and password that it holds, if it does.
    pub login: Option<Login>,
}

impl Scheme {
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        })
    }
}

impl Url {
    /// Whether it is of the same origin (RFC 6454): what is meant for the one may be told to the other.
    pub(crate) fn shares_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.address, &self.socket) == (other.scheme, &other.address, &other.socket)
    }

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
        if self.address.port == self.scheme.port() {
            self.address.bracketed().to_string()
        } else {
            self.address.to_string()
        }
    }
}

impl Address {
    /// Whether it leads to the machine that asks. Of names only `localhost` does.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let ip = self.host.parse().map(|ip: IpAddr| ip.to_canonical().is_loopback());
        ip.unwrap_or(self.host == "localhost")
    }

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
        if text.contains('@') || text.parse::<Authority>().is_err() {
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
        match &self.socket {
            Some(socket) => write!(f, "http+unix://{}:{}", escaped(socket), self.path),
            None => write!(f, "{}://{}{}", self.scheme, self.host_header(), self.path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Unix(socket) => write!(f, "unix://{}", escaped(socket)),
            Self::Container(name) => write!(f, "container://{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        // What is quoted of a text with an @ may be a part of a password.
        parse(text).map_err(|reason| {
            FormError(if text.contains('@') { WITH_LOGIN.to_owned() } else { reason })
        })
    }
}

/// What is told of a wrong target that may hold a password.
const WITH_LOGIN: &str = "a user and password stand in http, https, h2c and http+unix targets only: \
                          write http://USER:PASSWORD@HOST:PORT/PATH, with %40 for @, %3A for : and \
                          %2F for /";

/// The schemes, and what a target of each looks like.
const FORMS: [(&str, &str); 8] = [
    ("http", "http://HOST:PORT/PATH"),
    ("https", "https://HOST:PORT/PATH"),
    ("h2c", "h2c://HOST:PORT/PATH"),
    ("http+unix", "http+unix:///SOCKET:/PATH"),
    ("tcp", "tcp://HOST:PORT"),
    ("tls", "tls://HOST:PORT"),
    ("unix", "unix:///SOCKET"),
    ("container", "container://NAME"),
];

/// What is wrong with a target that has no `://`.
fn without_scheme(text: &str) -> String {
    if text.starts_with('/') {
        return format!("the scheme is missing: write unix://{text} or http+unix://{text}:/health");
    }
    // A scheme whose slashes are missing, and not a host of that name with its port.
    let form = text.split_once(':').filter(|(_, rest)| rest.parse::<u16>().is_err());
    let form = form
        .and_then(|(scheme, _)| FORMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)));
    match form {
        Some((scheme, form)) => format!("two slashes are missing after {scheme}:, as in {form}"),
        None => {
            format!("the scheme is missing: write http://{text}, https://{text} or tcp://{text}")
        }
    }
}

fn parse(text: &str) -> Result<Target, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(without_scheme(text));
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let port = |kind: &str| match path {
        "" => Address::parse(authority, None),
        _ => Err(format!("a {kind} target has no path: write {kind}://{authority}")),
    };
    match scheme.to_ascii_lowercase().as_str() {
        "tcp" => port("tcp").map(Target::Tcp),
        "tls" => port("tls").map(Target::Tls),
        "http" => url(Scheme::Http, authority, path),
        "https" => url(Scheme::Https, authority, path),
        "h2c" => url(Scheme::H2c, authority, path),
        "unix" => socket(rest).map(Target::Unix),
        "http+unix" => behind_socket(authority, path, rest),
        "container" => container(rest),
        other => Err(format!(
            "\"{other}\" is none of http, https, h2c, http+unix, tcp, tls, unix and container"
        )),
    }
}

fn url(scheme: Scheme, authority: &str, path: &str) -> Result<Target, String> {
    let (login, place) = Login::split(authority)?;
    let address = Address::parse(place, Some(scheme.port()))?;
    Ok(Target::Http(Url { scheme, address, socket: None, path: path_of(path)?, login }))
}

/// Both forms in use: the socket as an escaped authority, or as a path that a colon ends.
fn behind_socket(authority: &str, path: &str, rest: &str) -> Result<Target, String> {
    let (login, place) = Login::split(authority)?;
    let rest = &rest[authority.len() - place.len()..];
    let (file, path) = match place {
        "" => rest.split_once(':').unwrap_or((rest, "/")),
        escaped => (escaped, path),
    };
    let address = Address { host: "localhost".to_owned(), port: Scheme::Http.port() };
    let (socket, path) = (Some(socket(file)?), path_of(path)?);
    Ok(Target::Http(Url { scheme: Scheme::Http, address, socket, path, login }))
}

/// An absolute path, with `%3A` for a colon.
fn socket(text: &str) -> Result<PathBuf, String> {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    // What a socket's address has room for (unix(7)), the byte that ends it included.
    match bytes.as_slice() {
        [b'/', _, ..] if bytes.len() < 108 && !bytes.contains(&0) => {
            Ok(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)))
        }
        [b'/', _, ..] => Err(format!("\"{text}\" is too long for a Unix socket")),
        _ => Err(format!(
            "\"{text}\" is not the absolute path of a Unix socket, such as \
             unix:///run/app.sock or http+unix:///run/app.sock:/health"
        )),
    }
}

/// A path as [`socket`] reads it.
fn escaped(path: &Path) -> impl fmt::Display {
    use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
    const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#').add(b':');
    percent_encode(path.as_os_str().as_bytes(), RESERVED).to_string()
}

/// A container's name or id, as the engine allows it.
fn container(name: &str) -> Result<Target, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return Err(format!("\"{name}\" is not the name or id of a container"));
    }
    Ok(Target::Container(name.to_owned()))
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
mod tests;
