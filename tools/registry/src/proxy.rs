//! Which proxy a connection goes through, by the usual variables of the environment. Pure.

use std::net::IpAddr;

use http::Uri;

use crate::origin::{Origin, Scheme, is_loopback};

/// The proxies of the environment.
#[derive(Clone, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    none_for: Vec<String>,
}

/// One proxy, spoken to by HTTP.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `user:password`, decoded.
    pub(crate) login: Option<String>,
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in capitals or not. A proxy for plain HTTP is
    /// taken from the small letters only, as curl does: a CGI program's environment may hold a
    /// client's header under the other name.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |small: &str, large: &str| {
            variable(small).or_else(|| variable(large)).filter(|value| !value.is_empty())
        };
        let none_for = either("no_proxy", "NO_PROXY").unwrap_or_default();
        Self {
            http: variable("http_proxy").as_deref().and_then(Proxy::parse),
            https: either("https_proxy", "HTTPS_PROXY").as_deref().and_then(Proxy::parse),
            none_for: none_for
                .split([',', ' '])
                .map(|entry| entry.trim().to_lowercase())
                .filter(|entry| !entry.is_empty())
                .collect(),
        }
    }

    /// The proxy for this origin, if there is one.
    pub(crate) fn of(&self, origin: &Origin) -> Option<&Proxy> {
        if is_loopback(&origin.host) || self.excepts(&origin.host, origin.port) {
            return None;
        }
        match origin.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        }
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let host = host.to_lowercase();
        self.none_for.iter().any(|entry| {
            let (name, of_port) = match entry.rsplit_once(':') {
                Some((name, number)) if !name.contains(':') => (name, number.parse::<u16>().ok()),
                _ => (entry.as_str(), None),
            };
            of_port.is_none_or(|of_port| of_port == port) && covers(name, &host)
        })
    }
}

/// Whether an entry of NO_PROXY covers a host: `*`, a name and all below it, an address, a block.
fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((block, bits)) = entry.split_once('/') {
        let parsed = (block.parse(), host.parse(), bits.parse());
        return matches!(parsed, (Ok(block), Ok(host), Ok(bits)) if within(block, host, bits));
    }
    let name = entry.trim_start_matches('*').trim_start_matches('.');
    host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

fn within(block: IpAddr, host: IpAddr, bits: u32) -> bool {
    match (block, host) {
        (IpAddr::V4(block), IpAddr::V4(host)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(block) & mask == u32::from(host) & mask
        }
        (IpAddr::V6(block), IpAddr::V6(host)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(block) & mask == u128::from(host) & mask
        }
        _ => false,
    }
}

impl Proxy {
    /// Reads `[http://][user:password@]host[:port]`.
    fn parse(text: &str) -> Option<Self> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = url.trim().parse().ok()?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let authority = uri.authority()?;
        let login = authority.as_str().rsplit_once('@').map(|(login, _)| decoded(login));
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: authority.port_u16().unwrap_or(80), login })
    }
}

/// A text with its `%41` read.
fn decoded(text: &str) -> String {
    // A plus means itself here, unlike in a form.
    let pair = format!("x={}", text.replace('+', "%2B"));
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .map_or_else(|| text.to_owned(), |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies(no: &str) -> Proxies {
        let no = no.to_owned();
        Proxies::read(move |name| match name {
            "HTTPS_PROXY" => Some("http://user:p%40ss@proxy.example:3128".to_owned()),
            "http_proxy" => Some("proxy.example".to_owned()),
            "NO_PROXY" => Some(no.clone()),
            _ => None,
        })
    }

    fn goes(no: &str, host: &str) -> bool {
        let origin = Origin { scheme: Scheme::Https, host: host.to_owned(), port: 443 };
        proxies(no).of(&origin).is_some()
    }

    #[test]
    fn a_proxy_is_read_with_its_login() {
        let proxies = proxies("");
        let https = proxies.https.unwrap();
        assert_eq!((https.host.as_str(), https.port), ("proxy.example", 3128));
        assert_eq!(https.login.as_deref(), Some("user:p@ss"));
        assert_eq!(proxies.http.unwrap().port, 80);
        let capitals = |name: &str| (name == "HTTP_PROXY").then(|| "evil.example".to_owned());
        assert!(Proxies::read(capitals).http.is_none());
    }

    #[test]
    fn exceptions_are_names_blocks_and_ports() {
        assert!(goes("", "r.example"));
        assert!(!goes("", "127.0.0.1"), "never for loopback");
        assert!(!goes("*", "r.example"));
        assert!(!goes("localhost, .example", "r.example"));
        assert!(!goes("r.example:443", "r.example"));
        assert!(goes("r.example:8443", "r.example"));
        assert!(goes("xample", "r.example"));
        assert!(!goes("10.0.0.0/8", "10.1.2.3"));
        assert!(goes("10.0.0.0/8", "11.1.2.3"));
        assert!(!goes("fd00::/8", "fd12::1"));
    }

    proptest! {
        #[test]
        fn nothing_in_the_environment_panics(text in ".*", host in "[a-z0-9.:]{0,20}") {
            let proxies = Proxies::read(|_| Some(text.clone()));
            let origin = Origin { scheme: Scheme::Https, host, port: 443 };
            let _ = proxies.of(&origin);
        }

        #[test]
        fn a_block_holds_its_own_addresses(address in any::<u32>(), bits in 0u32..=32) {
            let address = IpAddr::V4(address.into());
            prop_assert!(within(address, address, bits));
        }
    }
}
