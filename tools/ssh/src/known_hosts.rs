//! Which host keys are trusted: known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") or pinned fingerprints.
//!
//! libssh2 reads known_hosts itself, but knows neither `@revoked` nor wildcards nor negation, so this is done here.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD_INDIFFERENT};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use slipway_untrusted::limit::KNOWN_HOSTS;
use slipway_untrusted::{Untrusted, file};

use crate::{Error, HostKeyPolicy, Target};

/// Every key type that is asked for, the one that is best to have first.
const TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// The key that a host offers.
pub(crate) struct Offered<'a> {
    pub(crate) blob: &'a [u8],
    /// `SHA256:` and the hash in base64 without padding, as OpenSSH writes it.
    pub(crate) fingerprint: String,
}

impl Offered<'_> {
    /// The key's type, which its blob begins with (RFC 4253, section 6.6).
    pub(crate) fn algorithm(&self) -> String {
        crate::key::take_string(self.blob)
            .map_or_else(|| "unknown".into(), |(name, _)| Untrusted::from_bytes(name).to_string())
    }
}

/// The policy, read in and ready to judge one host's key.
pub(crate) enum Trust {
    KnownHosts { names: Names, entries: Vec<Entry> },
    Fingerprints { host: String, pinned: Vec<String> },
}

impl Trust {
    pub(crate) fn load(policy: &HostKeyPolicy, target: &Target) -> Result<Self, Error> {
        let names = Names::of(target);
        match policy {
            HostKeyPolicy::KnownHosts(paths) => {
                let mut entries = Vec::new();
                for path in paths {
                    let text = read(path)?;
                    entries.extend(parse(&text, &path.display().to_string()));
                }
                Ok(Self::KnownHosts { names, entries })
            }
            HostKeyPolicy::Fingerprints(given) => {
                let pinned =
                    given.iter().map(|text| normal_fingerprint(text)).collect::<Result<_, _>>()?;
                Ok(Self::Fingerprints { host: names.exact, pinned })
            }
        }
    }

    /// The key types to ask the host for, in order: what is known of it decides, since a host has several keys and
    /// offers one. Each inner list is one attempt. A pinned fingerprint does not tell its type, so there each is tried.
    pub(crate) fn attempts(&self) -> Vec<Vec<&'static str>> {
        match self {
            Self::KnownHosts { names, entries } => {
                let known = |kind: &&str| {
                    entries.iter().any(|e| e.is_key_of(names) && e.algorithm == *kind)
                };
                let (mut first, rest): (Vec<_>, Vec<_>) = TYPES.into_iter().partition(known);
                first.extend(rest);
                vec![first]
            }
            Self::Fingerprints { .. } => vec![vec![TYPES[0]], TYPES[1..4].to_vec(), vec![TYPES[4]]],
        }
    }

    pub(crate) fn judge(&self, offered: &Offered<'_>) -> Result<(), Error> {
        match self {
            Self::KnownHosts { names, entries } => judge_known(names, entries, offered),
            Self::Fingerprints { pinned, .. } if pinned.contains(&offered.fingerprint) => Ok(()),
            Self::Fingerprints { host, pinned } => Err(Error::HostKeyMismatch {
                host: host.clone(),
                algorithm: offered.algorithm(),
                fingerprint: offered.fingerprint.clone(),
                known: format!("the pinned {}", pinned.join(", ")),
            }),
        }
    }
}

/// Whether one of these files has a key for this host by its own name: not by a wildcard, nor for its
/// authority alone. A file that cannot be read has none.
#[must_use]
pub fn is_known(host: &str, port: u16, files: &[PathBuf]) -> bool {
    let target = Target { user: String::new(), host: host.to_owned(), port };
    let names = Names::of(&target);
    files.iter().filter_map(|path| read(path).ok()).any(|text| {
        let entries = parse(&text, "");
        entries.iter().any(|entry| {
            let wild = entry.hosts.contains(['*', '?']);
            entry.marker == Marker::Key && !wild && entry.names_host(&names.exact)
        })
    })
}

fn read(path: &Path) -> Result<String, Error> {
    match file::read(path, &KNOWN_HOSTS) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(Error::KnownHostsTooLarge { path: path.to_owned(), reason: KNOWN_HOSTS.exceeded() })
        }
        Err(error) => {
            Err(Error::KnownHostsUnreadable { path: path.to_owned(), reason: error.to_string() })
        }
    }
}

/// Revoked beats all; then a match; then another key of the same type is a mismatch, and anything else unknown.
fn judge_known(names: &Names, entries: &[Entry], offered: &Offered<'_>) -> Result<(), Error> {
    let same = |entry: &&Entry| entry.key == offered.blob;
    let revoked = entries.iter().filter(|e| e.marker == Marker::Revoked).filter(same);
    if let Some(entry) = { revoked }.find(|e| names.all().any(|name| e.names_host(name))) {
        return Err(Error::HostKeyRevoked {
            host: names.exact.clone(),
            fingerprint: offered.fingerprint.clone(),
            known: entry.place.clone(),
        });
    }
    let keys = || entries.iter().filter(|e| e.is_key_of(names));
    if keys().any(|e| same(&e)) {
        return Ok(());
    }
    let algorithm = offered.algorithm();
    let exact = keys().find(|e| e.algorithm == algorithm && e.names_host(&names.exact));
    Err(match exact {
        Some(entry) => Error::HostKeyMismatch {
            host: names.exact.clone(),
            algorithm,
            fingerprint: offered.fingerprint.clone(),
            known: entry.place.clone(),
        },
        None => Error::HostKeyUnknown {
            host: names.exact.clone(),
            algorithm,
            fingerprint: offered.fingerprint.clone(),
        },
    })
}

/// The names under which a host may stand in a known_hosts file.
pub(crate) struct Names {
    /// `host`, or `[host]:port` where the port is not 22.
    exact: String,
    /// The bare host where `exact` has a port. As in OpenSSH, a key found there is good but its absence says nothing.
    bare: Option<String>,
}

impl Names {
    fn of(target: &Target) -> Self {
        let host = target.host.to_lowercase();
        match target.port {
            22 => Self { exact: host, bare: None },
            port => Self { exact: format!("[{host}]:{port}"), bare: Some(host) },
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.exact.as_str()).chain(self.bare.as_deref())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Marker {
    Key,
    Revoked,
}

/// One usable line of a known_hosts file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    marker: Marker,
    hosts: String,
    algorithm: String,
    key: Vec<u8>,
    place: String,
}

impl Entry {
    fn is_key_of(&self, names: &Names) -> bool {
        self.marker == Marker::Key && names.all().any(|name| self.names_host(name))
    }

    fn names_host(&self, name: &str) -> bool {
        if self.hosts.starts_with('|') {
            return hashed_matches(&self.hosts, name);
        }
        let mut found = false;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                // One negated match rules the whole line out, wherever it stands.
                Some(pattern) if wildcard(&pattern.to_lowercase(), name) => return false,
                Some(_) => {}
                None => found |= wildcard(&pattern.to_lowercase(), name),
            }
        }
        found
    }
}

/// The lines that hold a key; comments, `@cert-authority` lines and broken ones are passed over, as OpenSSH does.
fn parse(text: &str, file: &str) -> Vec<Entry> {
    let numbered = text.lines().enumerate();
    numbered.filter_map(|(index, line)| parse_line(line, format!("{file}:{}", index + 1))).collect()
}

fn parse_line(line: &str, place: String) -> Option<Entry> {
    let mut fields = line.split_whitespace().peekable();
    let marker = match fields.peek()? {
        first if first.starts_with('#') => return None,
        first if first.starts_with('@') => {
            let revoked = *first == "@revoked";
            fields.next();
            revoked.then_some(Marker::Revoked)?
        }
        _ => Marker::Key,
    };
    let hosts = fields.next()?.to_owned();
    let algorithm = fields.next()?.to_owned();
    let key = STANDARD.decode(fields.next()?).ok()?;
    // The type stands twice, and only the one inside the key can be relied on.
    let (inner, _) = crate::key::take_string(&key)?;
    (inner == algorithm.as_bytes()).then_some(Entry { marker, hosts, algorithm, key, place })
}

/// `|1|salt|hash`: the hash is HMAC-SHA1 of the name, keyed with the salt.
fn hashed_matches(field: &str, name: &str) -> bool {
    let mut parts = field.split('|').skip(1);
    let (Some("1"), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else {
        return false;
    };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// `*` stands for any run of characters, `?` for one.
fn wildcard(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stood and how much it has swallowed: the only place that ever needs to be gone back to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    p = at + 1;
                    n = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Checks that a fingerprint can match at all and takes padding off; OpenSSH prints it without.
fn normal_fingerprint(text: &str) -> Result<String, Error> {
    let bad = || Error::BadFingerprint { input: text.to_owned() };
    let hash = text.trim().strip_prefix("SHA256:").ok_or_else(bad)?;
    match STANDARD_NO_PAD_INDIFFERENT.decode(hash) {
        Ok(bytes) if bytes.len() == 32 => Ok(format!("SHA256:{}", hash.trim_end_matches('='))),
        _ => Err(bad()),
    }
}

/// Judges a key that the file cannot hold, by a file of this text.
pub(crate) fn fuzz(text: &str) {
    let entries = parse(text, "fuzz");
    assert!(entries.len() <= text.lines().count());
    let names = Names { exact: "[host.example]:2222".into(), bare: Some("host.example".into()) };
    let blob: Vec<u8> = text.bytes().rev().chain([0; 4]).chain(text.bytes()).collect();
    let offered = Offered { blob: &blob, fingerprint: "SHA256:x".into() };
    assert!(!offered.algorithm().contains(['\u{1b}', '\n']));
    let trust = Trust::KnownHosts { names, entries };
    assert_eq!(trust.attempts().concat().len(), TYPES.len());
    assert!(trust.judge(&offered).is_err(), "a key was trusted that is longer than the file");
}

#[cfg(test)]
mod tests;
