//! Values of options, read by docker's rules where docker has the same option.

use std::fmt;

use serde::Serialize;

/// Why a value cannot be used: a fragment that stands after the option and the value.
pub(crate) type Reason = String;

/// `--memory`: a number and a unit of 1024, as `docker run` takes it (go-units, `RAMInBytes`).
pub(crate) fn memory(text: &str) -> Result<i64, Reason> {
    let bad = || "write a number and a unit, such as 512m or 1.5g".to_owned();
    let split = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(bad)? + 1;
    let (number, unit) = (&text[..split], text[split..].trim_start().to_ascii_lowercase());
    if !number.starts_with(|c: char| c.is_ascii_digit())
        || number.chars().any(|c| !c.is_ascii_digit() && c != '.')
    {
        return Err(bad());
    }
    let number: f64 = number.parse().map_err(|_| bad())?;
    let power = match unit.strip_suffix('b').map_or(unit.as_str(), |u| u.trim_end_matches('i')) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    let bytes = number * 1024_f64.powi(power);
    // 2^53 bytes are 8 PiB: below that every whole number of bytes is exact in an f64.
    if !(1.0..9_007_199_254_740_992.0).contains(&bytes) {
        return Err("that is no size of a memory".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked just above; docker rounds down too"
    )]
    Ok(bytes as i64)
}

/// `--cpus` in billionths of a processor.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, Reason> {
    let bad = || "write a number of processors, such as 2 or 0.5".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(bad());
    }
    if fraction.len() > 9 {
        return Err("that is more exact than a billionth".to_owned());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    let nano = whole.checked_mul(1_000_000_000).and_then(|nano| nano.checked_add(fraction));
    nano.filter(|nano| *nano > 0).ok_or_else(bad)
}

/// `--keep`: what is live and at least one to go back to.
pub(crate) fn keep(text: &str) -> Result<usize, Reason> {
    match text.parse() {
        Ok(0 | 1) => Err("keep at least 2, the live one and one to go back to".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a number of releases".to_owned()),
    }
}

/// When the engine starts a container again by itself.
///
/// Only what is live has one of these; what is kept, and what is not proved yet, has `no`. That is
/// how the two are told apart, so `no` cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    /// Whatever happened, the start of the engine included.
    Always,
    /// Unless a person stopped it.
    UnlessStopped,
    /// When it failed, at most so many times (0: without end).
    OnFailure(i64),
}

impl std::str::FromStr for Restart {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        match text {
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => Ok(Self::OnFailure(0)),
            "no" => Err("what is live has to come back after a restart of the host: write always, unless-stopped or on-failure[:TIMES]".to_owned()),
            _ => text
                .strip_prefix("on-failure:")
                .and_then(|times| times.parse().ok())
                .filter(|times| *times >= 0)
                .map(Self::OnFailure)
                .ok_or_else(|| "write always, unless-stopped or on-failure[:TIMES]".to_owned()),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
            Self::OnFailure(0) => f.write_str("on-failure"),
            Self::OnFailure(times) => write!(f, "on-failure:{times}"),
        }
    }
}

/// `--volume`: a named volume or an absolute path of the host, and where it is in the container.
/// It is handed to the engine as it is written.
pub(crate) fn volume(text: &str) -> Result<String, Reason> {
    let mut parts = text.split(':');
    let (Some(source), Some(path)) = (parts.next(), parts.next()) else {
        // An unnamed volume would be a new and empty one at each deploy.
        return Err("name what to mount: VOLUME:/path or /directory:/path".to_owned());
    };
    if parts.count() > 1 {
        return Err("it has more than a source, a path and options".to_owned());
    }
    if !path.starts_with('/') || path == "/" {
        return Err("the path in the container must be absolute, and not /".to_owned());
    }
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let named = source.len() > 1
        && source.starts_with(|c: char| c.is_ascii_alphanumeric())
        && source.chars().all(word);
    if !source.starts_with('/') && !named {
        return Err("the source is neither an absolute path of the host nor a volume's name".into());
    }
    Ok(text.to_owned())
}

/// `--network`: a bridge network, by name.
pub(crate) fn network(text: &str) -> Result<String, Reason> {
    match text {
        "" => Err("it is empty".to_owned()),
        "host" | "none" => {
            Err("the new container is proved beside the old one, which needs a network of bridges"
                .to_owned())
        }
        _ if text.starts_with("container:") => {
            Err("the network of another container cannot be shared".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

/// `--log-opt`.
pub(crate) fn log_opt(text: &str) -> Result<(String, String), Reason> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// `--app`: it begins containers' names, so it follows their rule.
pub(crate) fn app(text: &str) -> Result<String, Reason> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && text.len() <= 64 && text.chars().all(word) {
        return Ok(text.to_owned());
    }
    Err("a name has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at most 64 characters".to_owned())
}

/// `--health-path`.
pub(crate) fn health_path(text: &str) -> Result<String, Reason> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("a path begins with / and holds neither spaces nor other than ASCII characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_by_dockers_rules() {
        // From go-units' own tests of RAMInBytes.
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kb", 32 << 10),
            ("32Kib", 32 << 10),
            ("32KIB", 32 << 10),
            ("32Mb", 32 << 20),
            ("32Gb", 32 << 30),
            ("32Tb", 32 << 40),
            ("3Pb", 3 << 50),
            ("32.3", 32),
            ("32.5 kB", 33_280),
            ("1.5g", 3 << 29),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for bad in [
            "", "hello", "-32", " 32 ", "32m b", "32bm", "0", "0.3", ".5m", "1.2.3", "inf",
            "99999p",
        ] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_to_the_billionth() {
        for (text, nano) in
            [("1", 1_000_000_000), ("0.5", 500_000_000), (".000000001", 1), ("2.", 2_000_000_000)]
        {
            assert_eq!(nano_cpus(text), Ok(nano), "{text}");
        }
        for bad in ["", ".", "0", "0.0", "-1", "1e3", "1/2", "0.0000000001", "99999999999"] {
            assert!(nano_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn restart_policies() {
        for good in ["always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(good.parse::<Restart>().unwrap().to_string(), good);
        }
        assert!("no".parse::<Restart>().unwrap_err().contains("come back"));
        for bad in ["", "never", "always:1", "on-failure:", "on-failure:-1"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_name_both_sides() {
        for good in ["data:/data", "/srv/x:/data:ro", "data:/data:z,ro"] {
            assert_eq!(volume(good), Ok(good.to_owned()));
        }
        for bad in
            ["/data", "data", "./x:/data", "data:data", "data:/", ":/data", "a:/b:ro:x", "~:/x"]
        {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_that_cannot_hold_two() {
        assert!(network("backend").is_ok());
        for bad in ["", "host", "none", "container:x"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_applications_name_begins_a_containers_name() {
        assert!(app("web-1.x_y").is_ok());
        for bad in ["", "-web", "we b", "team/web", "wéb", &"a".repeat(65)] {
            assert!(app(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_number_of_bytes_is_that_number(bytes in 1_i64..1 << 50) {
            prop_assert_eq!(memory(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = (memory(&text), nano_cpus(&text), volume(&text), text.parse::<Restart>());
        }
    }
}
