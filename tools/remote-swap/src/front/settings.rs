//! What people decide about a front. Pure.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::spec::{SpecError, value};
use crate::values::{self, Reason};

/// The most connections to one port: each takes two descriptors of the front's process.
const MOST_CONNECTIONS: u32 = 100_000;

/// The sizes of a head that HAProxy can be told: from its own default on.
const HEAD_BYTES: std::ops::RangeInclusive<i64> = 16 << 10..=1 << 20;

/// The longest time that HAProxy can be told is 24 days.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What people decide about a front. A front of an older version has these defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Connections of clients to each port at once.
    pub(crate) connections: u32,
    /// Those of one source; 0 is no limit.
    pub(crate) per_source: u32,
    /// The largest head of a request or an answer.
    pub(crate) head_bytes: u32,
    /// How long a client may take to send the head of a request.
    pub(crate) request_ms: u64,
    /// How long a connection may be idle between two requests.
    pub(crate) keep_alive_ms: u64,
    /// How long a client may take to go on with what it sends or takes.
    pub(crate) client_ms: u64,
    /// How long the application may take to begin an answer, and to go on with it.
    pub(crate) response_ms: u64,
    /// How long an upgraded connection may be silent.
    pub(crate) tunnel_ms: u64,
    /// Peers that are believed what they tell of their clients.
    #[serde(with = "networks")]
    pub(crate) trusted: Vec<IpNet>,
    /// The protocols that a connection may be upgraded to.
    pub(crate) upgrades: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_source: 1024,
            head_bytes: 32 << 10,
            request_ms: 10_000,
            keep_alive_ms: 75_000,
            client_ms: 60_000,
            response_ms: 300_000,
            tunnel_ms: 3_600_000,
            trusted: Vec::new(),
            upgrades: vec!["websocket".to_owned()],
        }
    }
}

impl Settings {
    /// What the options say.
    pub(crate) fn from_options(options: &Options) -> Result<Self, SpecError> {
        let connections = number("front-connections", options.front_connections, 1)?;
        let per_source = match options.front_connections_per_source {
            Some(count) => number("front-connections-per-source", count, 0)?,
            None => (connections / 4).max(1),
        };
        let trusted = options.trusted_proxy.iter();
        let upgrades = options.front_upgrade.iter();
        Ok(Self {
            connections,
            per_source,
            head_bytes: value("front-header-size", &options.front_header_size, head)?,
            request_ms: time("front-request-timeout", options.front_request_timeout.0)?,
            keep_alive_ms: time("front-keep-alive", options.front_keep_alive.0)?,
            client_ms: time("front-client-timeout", options.front_client_timeout.0)?,
            response_ms: time("front-response-timeout", options.front_response_timeout.0)?,
            tunnel_ms: time("front-tunnel-timeout", options.front_tunnel_timeout.0)?,
            trusted: trusted
                .map(|text| value("trusted-proxy", text, trusted_proxy))
                .collect::<Result<_, _>>()?,
            upgrades: upgrades
                .map(|text| value("front-upgrade", text, upgrade))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether a front that somebody else wrote down has these: what goes into a configuration as
    /// it is must be one word.
    pub(crate) fn is_sound(&self) -> bool {
        let times =
            [self.request_ms, self.keep_alive_ms, self.client_ms, self.response_ms, self.tunnel_ms];
        (1..=MOST_CONNECTIONS).contains(&self.connections)
            && self.per_source <= MOST_CONNECTIONS
            && HEAD_BYTES.contains(&i64::from(self.head_bytes))
            && times.iter().all(|ms| u128::from(*ms) <= LONGEST.as_millis() && *ms > 0)
            && self.upgrades.iter().all(|one| upgrade(one).as_ref() == Ok(one))
    }
}

/// Networks as texts.
mod networks {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(all: &[IpNet], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| super::trusted_proxy(text).map_err(Error::custom)).collect()
    }
}

fn number(option: &'static str, count: u32, least: u32) -> Result<u32, SpecError> {
    value(option, &count.to_string(), |_| {
        if (least..=MOST_CONNECTIONS).contains(&count) {
            return Ok(count);
        }
        Err(format!("write a number from {least} to {MOST_CONNECTIONS}"))
    })
}

fn time(option: &'static str, time: Duration) -> Result<u64, SpecError> {
    value(option, &slipway_shell::Span(time).to_string(), |_| {
        if time < Duration::from_millis(1) || time > LONGEST {
            return Err("write a time from 1ms to 24h".to_owned());
        }
        // At most a day.
        Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    })
}

fn head(text: &str) -> Result<u32, Reason> {
    let bytes = values::memory(text)?;
    if !HEAD_BYTES.contains(&bytes) {
        return Err("write a size from 16k to 1m".to_owned());
    }
    u32::try_from(bytes).map_err(|error| error.to_string())
}

/// `--trusted-proxy`: a network, or one address. Bits behind the prefix are cut off.
pub(crate) fn trusted_proxy(text: &str) -> Result<IpNet, Reason> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>(),
    };
    let network = network.map_err(|_| {
        "write an address or a network such as 10.0.0.0/8 or 2001:db8::/32".to_owned()
    })?;
    Ok(network.trunc())
}

/// `--front-upgrade`: the name of a protocol, as it stands in the header `Upgrade` (a token and
/// maybe a version, RFC 9110).
fn upgrade(text: &str) -> Result<String, Reason> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+/".contains(&byte);
    if !text.is_empty() && text.len() <= 64 && !text.starts_with('-') && text.bytes().all(plain) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write the name of a protocol, such as websocket".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::options;

    fn read(args: &[&str]) -> Result<Settings, String> {
        Settings::from_options(&options(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_of_the_options_are_those_of_old_fronts() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings, Settings::default());
        assert!(settings.is_sound());
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), settings);
    }

    #[test]
    fn a_source_has_a_quarter_of_all_connections() {
        assert_eq!(read(&["--front-connections=1000"]).unwrap().per_source, 250);
        assert_eq!(read(&["--front-connections=2"]).unwrap().per_source, 1);
        assert_eq!(read(&["--front-connections-per-source=0"]).unwrap().per_source, 0);
    }

    #[test]
    fn proxies_are_networks_or_addresses() {
        for (text, network) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(trusted_proxy(text).unwrap().to_string(), network);
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "localhost",
            "10.0.0.0/8 ",
            "::/129",
            "10.0.0.0/-1",
            "010.0.0.1",
        ] {
            assert!(trusted_proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_haproxy_could_not_be_told_is_refused() {
        for (arg, why) in [
            ("--front-connections=0", "from 1"),
            ("--front-connections=1000000", "to 100000"),
            ("--front-header-size=1k", "from 16k"),
            ("--front-header-size=lots", "unit"),
            ("--front-keep-alive=0s", "from 1ms"),
            ("--front-response-timeout=30d", "to 24h"),
            ("--front-upgrade=a b", "protocol"),
            ("--front-upgrade=-m", "protocol"),
            ("--trusted-proxy=everybody", "network"),
        ] {
            let told = read(&[arg]).unwrap_err();
            let (option, _) = arg.split_once('=').unwrap();
            assert!(told.starts_with(option) && told.contains(why), "{arg}: {told}");
        }
    }
}
