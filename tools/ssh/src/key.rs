//! Private keys: reading them, refusing what `ssh` refuses, and saying what is wrong before libssh2 says it badly.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

/// What the text of a private key tells without opening it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// Whether a passphrase is needed.
    pub(crate) encrypted: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Unreadable(&'static str),
    Unsupported(&'static str),
}

/// Reads a private key's file, which others than its owner must not be able to read: the rule of ssh(1).
pub(crate) fn read_file(path: &Path) -> Result<String, Error> {
    let unreadable =
        |reason: String| Error::KeyUnreadable { key: path.display().to_string(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0 {
        return Err(Error::KeyPermissions { path: path.to_owned(), mode });
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// Judges a private key's text; `key` is what to call it.
pub(crate) fn inspect(text: &str, key: &str) -> Result<Inspected, Error> {
    inspect_text(text).map_err(|problem| match problem {
        Problem::Unreadable(reason) => {
            Error::KeyUnreadable { key: key.to_owned(), reason: reason.to_owned() }
        }
        Problem::Unsupported(reason) => {
            Error::KeyUnsupported { key: key.to_owned(), reason: reason.to_owned() }
        }
    })
}

/// The text as libssh2 wants it. A key that went through an environment variable often lost its last newline or has the
/// line ends of another system.
pub(crate) fn normal_text(text: &str) -> String {
    let mut text = text.trim().replace("\r\n", "\n");
    text.push('\n');
    text
}

fn inspect_text(text: &str) -> Result<Inspected, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::Unreadable("it is empty"));
    }
    if text.starts_with("PuTTY-User-Key-File") {
        return Err(Problem::Unsupported(
            "it is in PuTTY's format (puttygen -O private-openssh converts it)",
        ));
    }
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start)) {
        return Err(Problem::Unreadable("it is a public key"));
    }
    let label = text
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"))
        .ok_or(Problem::Unreadable("it is not a private key"))?;
    match label {
        ("OPENSSH PRIVATE KEY", rest) => inspect_openssh(rest),
        ("ENCRYPTED PRIVATE KEY", _) => Ok(Inspected { encrypted: true }),
        ("PRIVATE KEY", _) => Ok(Inspected { encrypted: false }),
        ("RSA PRIVATE KEY" | "EC PRIVATE KEY", rest) => {
            Ok(Inspected { encrypted: rest.contains("Proc-Type: 4,ENCRYPTED") })
        }
        ("DSA PRIVATE KEY", _) => Err(Problem::Unsupported("DSA is no longer accepted anywhere")),
        _ => Err(Problem::Unreadable("it is not a private key")),
    }
}

/// OpenSSH's own format (PROTOCOL.key): a magic text, the cipher, the key derivation, and the public key in the clear.
fn inspect_openssh(rest: &str) -> Result<Inspected, Problem> {
    let cut_off = Problem::Unreadable("it is damaged or cut off");
    let inside = || {
        let (body, _) = rest.split_once("-----END OPENSSH PRIVATE KEY-----")?;
        let body: String = body.split_whitespace().collect();
        let bytes = STANDARD.decode(body).ok()?;
        let (cipher, rest) = take_string(bytes.strip_prefix(b"openssh-key-v1\0")?)?;
        let (_kdf, rest) = take_string(rest)?;
        let (_kdf_options, rest) = take_string(rest)?;
        let (public, _) = take_string(rest.get(4..)?)?;
        let (kind, _) = take_string(public)?;
        Some((cipher != b"none", kind.to_vec()))
    };
    let (encrypted, kind) = inside().ok_or(cut_off)?;
    if kind.starts_with(b"sk-") {
        return Err(Problem::Unsupported(
            "it lives on a security key, which works through an agent only",
        ));
    }
    if kind == b"ssh-dss" {
        return Err(Problem::Unsupported("DSA is no longer accepted anywhere"));
    }
    Ok(Inspected { encrypted })
}

/// Takes an SSH `string` (RFC 4251, section 5) off the front.
pub(crate) fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn openssh(cipher: &str, kind: &str) -> String {
        fn string(bytes: &[u8]) -> Vec<u8> {
            let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            out.extend(bytes);
            out
        }
        let mut bytes = b"openssh-key-v1\0".to_vec();
        bytes.extend(string(cipher.as_bytes()));
        bytes.extend(string(b"bcrypt"));
        bytes.extend(string(b""));
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(string(&string(kind.as_bytes())));
        let body = STANDARD.encode(bytes);
        let (one, two) = body.split_at(body.len() / 2);
        format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{one}\n{two}\n-----END OPENSSH PRIVATE KEY-----\n"
        )
    }

    #[test]
    fn encryption_is_seen_without_a_passphrase() {
        let is =
            |text: &str, encrypted| assert_eq!(inspect_text(text), Ok(Inspected { encrypted }));
        is(&openssh("none", "ssh-ed25519"), false);
        is(&openssh("aes256-ctr", "ssh-ed25519"), true);
        is("-----BEGIN PRIVATE KEY-----\nx", false);
        is("-----BEGIN ENCRYPTED PRIVATE KEY-----\nx", true);
        is("-----BEGIN RSA PRIVATE KEY-----\nx", false);
        is("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nx", true);
    }

    #[test]
    fn what_cannot_be_used_is_told_apart() {
        let unsupported = |text: &str| {
            assert!(matches!(inspect_text(text), Err(Problem::Unsupported(_))), "{text}")
        };
        unsupported(&openssh("none", "sk-ssh-ed25519@openssh.com"));
        unsupported(&openssh("none", "ssh-dss"));
        unsupported("PuTTY-User-Key-File-3: ssh-ed25519");
        unsupported("-----BEGIN DSA PRIVATE KEY-----");
        let unreadable = |text: &str| {
            assert!(matches!(inspect_text(text), Err(Problem::Unreadable(_))), "{text}")
        };
        let whole = openssh("none", "ssh-ed25519");
        unreadable("");
        unreadable("hello");
        unreadable("ssh-ed25519 AAAA me@here");
        unreadable("-----BEGIN CERTIFICATE-----");
        unreadable(&whole[..whole.len() / 2]);
    }

    #[test]
    fn line_ends_are_put_right() {
        assert_eq!(normal_text(" a\r\nb"), "a\nb\n");
        assert_eq!(normal_text("a\nb\n\n"), "a\nb\n");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(-----BEGIN OPENSSH PRIVATE KEY-----)?[A-Za-z0-9+/=\n]{0,60}(-----END OPENSSH PRIVATE KEY-----)?") {
            let _ = inspect_text(&text);
        }
    }
}
