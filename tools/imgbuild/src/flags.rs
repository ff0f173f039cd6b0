//! The values of flags that have a form of their own, in docker's notation.

use std::net::IpAddr;

use crate::error::Error;

/// The word that stands for the engine's own address.
pub(crate) const HOST_GATEWAY: &str = "host-gateway";

/// The limits that a Linux process has, by docker's names.
const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// An address, or [`HOST_GATEWAY`].
    pub(crate) address: String,
}

/// One `--ulimit`; -1 is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

/// Which steps run again though their result is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Anew {
    Nothing,
    Everything,
    Stages(Vec<String>),
}

/// The engine's word for `--network`.
pub(crate) fn network(mode: Option<&str>) -> Result<Option<&str>, Error> {
    match mode {
        None | Some("default") => Ok(None),
        Some(mode @ ("none" | "host")) => Ok(Some(mode)),
        Some(other) => Err(Error::BadOption {
            option: "--network",
            why: format!("`{other}` is not default, none or host"),
        }),
    }
}

/// `HOST:ADDRESS` or `HOST=ADDRESS`; an IPv6 address may have brackets.
pub(crate) fn host(text: &str) -> Result<Host, Error> {
    let bad = |why: &str| Error::BadOption { option: "--add-host", why: format!("`{text}` {why}") };
    let at = text.find(['=', ':']).ok_or_else(|| bad("is not HOST:ADDRESS"))?;
    let (name, address) = (&text[..at], &text[at + 1..]);
    if name.is_empty() || name.contains([',', ' ']) {
        return Err(bad("has no usable host name"));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != HOST_GATEWAY && bare.parse::<IpAddr>().is_err() {
        return Err(bad("has neither an address nor host-gateway behind the name"));
    }
    Ok(Host { name: name.to_owned(), address: bare.to_owned() })
}

/// A size in bytes: a number with nothing, b, k, m or g behind it, in powers of 1024.
pub(crate) fn size(option: &'static str, text: &str) -> Result<u64, Error> {
    let bad = || Error::BadOption {
        option,
        why: format!("`{text}` is not a size such as 67108864, 64m or 1g"),
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| bad())?;
    number.checked_mul(factor).filter(|size| i64::try_from(*size).is_ok()).ok_or_else(bad)
}

/// `NAME=SOFT[:HARD]`; without the second both are the same.
pub(crate) fn limit(text: &str) -> Result<Limit, Error> {
    let bad = |why: &str| Error::BadOption { option: "--ulimit", why: format!("`{text}` {why}") };
    let (name, values) = text.split_once('=').ok_or_else(|| bad("is not NAME=SOFT[:HARD]"))?;
    if !LIMITS.contains(&name) {
        return Err(bad(&format!("names none of {}", LIMITS.join(", "))));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let value = |text: &str| text.parse::<i64>().ok().filter(|value| *value >= -1);
    let (Some(soft), Some(hard)) = (value(soft), value(hard)) else {
        return Err(bad("has a value that is neither a number nor -1 for none"));
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(bad("has a soft limit above the hard one"));
    }
    Ok(Limit { name: name.to_owned(), soft, hard })
}

/// The platforms of `--platform`, separated by commas.
pub(crate) fn platforms(text: Option<&str>) -> Result<Vec<String>, Error> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let mut platforms: Vec<String> = Vec::new();
    for platform in text.split(',').map(str::trim) {
        if platform.is_empty() {
            return Err(Error::BadOption {
                option: "--platform",
                why: format!("`{text}` has a platform without a name"),
            });
        }
        if !platforms.iter().any(|known| known == platform) {
            platforms.push(platform.to_owned());
        }
    }
    Ok(platforms)
}

/// `--no-cache` and `--no-cache-filter` together; the latter's stages may be separated by commas.
pub(crate) fn anew(everything: bool, stages: &[String]) -> Result<Anew, Error> {
    let stages: Vec<String> =
        stages.iter().flat_map(|text| text.split(',')).map(|name| name.trim().to_owned()).collect();
    if stages.iter().any(String::is_empty) {
        return Err(Error::BadOption {
            option: "--no-cache-filter",
            why: "a stage has no name".to_owned(),
        });
    }
    Ok(match (everything, stages.is_empty()) {
        (true, _) => Anew::Everything,
        (false, true) => Anew::Nothing,
        (false, false) => Anew::Stages(stages),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts() {
        let of = |text: &str| host(text).map(|host| (host.name, host.address)).ok();
        let some = |name: &str, address: &str| Some((name.to_owned(), address.to_owned()));
        assert_eq!(of("db:10.0.0.1"), some("db", "10.0.0.1"));
        assert_eq!(of("db=10.0.0.1"), some("db", "10.0.0.1"));
        assert_eq!(of("db:[::1]"), some("db", "::1"));
        assert_eq!(of("db=fe80::1"), some("db", "fe80::1"));
        assert_eq!(of("up:host-gateway"), some("up", "host-gateway"));
        for bad in ["", "db", "db:", ":10.0.0.1", "db:ten", "a,b:10.0.0.1", "db:10.0.0.1,x:1.1.1.1"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        let of = |text: &str| size("--shm-size", text).ok();
        assert_eq!(of("64m"), Some(64 << 20));
        assert_eq!(of("1G"), Some(1 << 30));
        assert_eq!(of("2kb"), Some(2048));
        assert_eq!(of("12 b"), Some(12));
        for bad in ["", "m", "-1", "1.5g", "1t", "99999999999g"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits() {
        let of = |text: &str| limit(text).map(|limit| (limit.soft, limit.hard)).ok();
        assert_eq!(of("nofile=1024"), Some((1024, 1024)));
        assert_eq!(of("nofile=1024:2048"), Some((1024, 2048)));
        assert_eq!(of("core=0:-1"), Some((0, -1)));
        assert_eq!(of("core=-1"), Some((-1, -1)));
        for bad in ["nofile", "files=1", "nofile=2:1", "nofile=-1:1", "nofile=x", "nofile=-2", "=1"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists() {
        let of = |text: &str| platforms(Some(text)).ok();
        assert_eq!(of("linux/amd64"), Some(vec!["linux/amd64".to_owned()]));
        assert_eq!(of("a, b,a"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of("a,,b"), None);
        let stages = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(anew(false, &[]).unwrap(), Anew::Nothing);
        assert_eq!(anew(true, &stages(&["a"])).unwrap(), Anew::Everything);
        assert_eq!(
            anew(false, &stages(&["a,b", "c"])).unwrap(),
            Anew::Stages(stages(&["a", "b", "c"]))
        );
        assert!(anew(false, &stages(&["a,"])).is_err());
        assert!(network(Some("bridge")).is_err());
        assert_eq!(network(Some("default")).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_fault(text in ".{0,20}") {
            let _ = (host(&text), size("--shm-size", &text), limit(&text), platforms(Some(&text)));
        }

        #[test]
        fn a_size_is_its_bytes(number in 0_u64..1 << 30) {
            prop_assert_eq!(size("--shm-size", &format!("{number}k")).unwrap(), number * 1024);
        }
    }
}
