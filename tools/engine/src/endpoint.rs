//! Where the engine listens, read from `DOCKER_HOST` as the docker client does.

use std::env;
use std::fmt;
use std::path::PathBuf;

use crate::error::Error;

/// An address at which an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP over TCP, `host:port`.
    Tcp(String),
}

const SYSTEM_SOCKET: &str = "/var/run/docker.sock";
/// The port that the docker client assumes for `tcp://host` without one.
const TCP_PORT: u16 = 2375;

impl Endpoint {
    /// The endpoint that the environment asks for: `DOCKER_HOST`, else
    /// `/var/run/docker.sock`, else the rootless engine's socket in
    /// `XDG_RUNTIME_DIR` when only that one exists.
    ///
    /// # Errors
    /// [`Error::UnsupportedHost`] for a `DOCKER_HOST` that cannot be served.
    pub fn from_env() -> Result<Self, Error> {
        if let Some(host) = env::var("DOCKER_HOST").ok().filter(|host| !host.trim().is_empty()) {
            let endpoint = Self::parse(host.trim())?;
            if matches!(endpoint, Self::Tcp(_)) && tls_wanted() {
                return Err(Error::UnsupportedHost {
                    value: host,
                    why: "DOCKER_TLS_VERIFY asks for TLS, which is not supported".to_owned(),
                });
            }
            return Ok(endpoint);
        }
        let system = PathBuf::from(SYSTEM_SOCKET);
        if !system.exists()
            && let Some(runtime) = env::var_os("XDG_RUNTIME_DIR")
        {
            let rootless = PathBuf::from(runtime).join("docker.sock");
            if rootless.exists() {
                return Ok(Self::Unix(rootless));
            }
        }
        Ok(Self::Unix(system))
    }

    /// Reads one `DOCKER_HOST` value.
    ///
    /// # Errors
    /// [`Error::UnsupportedHost`], naming what is supported.
    pub fn parse(value: &str) -> Result<Self, Error> {
        let refuse =
            |why: &str| Error::UnsupportedHost { value: shown(value), why: why.to_owned() };
        let Some((scheme, rest)) = value.split_once("://") else {
            return Err(refuse("a scheme is missing"));
        };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" if rest.is_empty() => Ok(Self::Unix(PathBuf::from(SYSTEM_SOCKET))),
            "unix" => Err(refuse("the path of a socket must be absolute")),
            "tcp" | "http" => {
                let address = rest.trim_end_matches('/');
                let stray = |c: char| "/@?#".contains(c) || c.is_whitespace() || c.is_control();
                if address.is_empty() || address.contains(stray) {
                    return Err(refuse("only a host and a port can be used"));
                }
                let has_port = address.rsplit_once(':').is_some_and(|(_, port)| {
                    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
                });
                Ok(Self::Tcp(if has_port {
                    address.to_owned()
                } else {
                    format!("{address}:{TCP_PORT}")
                }))
            }
            "ssh" => Err(refuse("ssh is not supported here")),
            _ => Err(refuse("the scheme is not supported")),
        }
    }
}

/// An address as it may be shown: without a password, which people write where none belongs.
fn shown(value: &str) -> String {
    let start = value.find("://").map_or(0, |at| at + 3);
    let user = value[start..].rfind('@').map(|at| (start, start + at));
    let password = user.and_then(|(start, at)| {
        value[start..at]
            .find(':')
            .map(|colon| (start + colon + 1, at))
            .filter(|(from, to)| from < to)
    });
    match password {
        Some((from, to)) => format!("{}…{}", &value[..from], &value[to..]),
        None => value.to_owned(),
    }
}

fn tls_wanted() -> bool {
    env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_served() {
        let unix = |p: &str| Endpoint::Unix(PathBuf::from(p));
        assert_eq!(Endpoint::parse("unix:///run/x.sock").unwrap(), unix("/run/x.sock"));
        assert_eq!(Endpoint::parse("unix://").unwrap(), unix(SYSTEM_SOCKET));
        assert_eq!(Endpoint::parse("tcp://h:1234/").unwrap(), Endpoint::Tcp("h:1234".into()));
        assert_eq!(Endpoint::parse("tcp://h").unwrap(), Endpoint::Tcp("h:2375".into()));
        assert_eq!(Endpoint::parse("tcp://[::1]").unwrap(), Endpoint::Tcp("[::1]:2375".into()));
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        for value in
            ["tcp://u:hunter2@h:1", "ssh://u:hunter2@h", "x://u:hunter2@h", "hunter2://u:hunter2@h"]
        {
            let error = Endpoint::parse(value).unwrap_err().to_string();
            assert!(!error.contains(":hunter2") && error.contains("u:…@h"), "{error}");
        }
    }

    #[test]
    fn hosts_that_are_refused_name_the_value() {
        for value in [
            "ssh://u@h",
            "npipe:////./pipe/x",
            "fd://",
            "h:1",
            "unix://x",
            "tcp://",
            "tcp://u@h:1/x",
            "tcp://h\t:1",
        ] {
            let error = Endpoint::parse(value).unwrap_err();
            assert!(error.to_string().contains(value), "{error}");
        }
    }
}
