//! Private keys: reading them, refusing what `ssh` refuses, and saying what is wrong before libssh2 says it badly.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_untrusted::limit::PRIVATE_KEY;

use crate::Error;

/// What the text of a private key tells without opening it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// Whether a passphrase is needed.
    pub(crate) encrypted: bool,
}

const DSA: &str = "DSA is no longer accepted anywhere";
const DAMAGED: &str = "it is damaged or cut off";

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Unreadable(&'static str),
    Unsupported(&'static str),
}

/// Reads a private key's file, which others than its owner must not be able to read: the rule of ssh(1).
pub(crate) fn read_file(path: &Path) -> Result<String, Error> {
    let unreadable = |error: std::io::Error| Error::KeyUnreadable {
        key: path.display().to_string(),
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0 {
        return Err(Error::KeyPermissions { path: path.to_owned(), mode });
    }
    let bytes = PRIVATE_KEY.read(file).map_err(unreadable)?;
    // What is not text is no key, and is told so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Judges a private key's text, put into lines; `key` is what to call it.
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
    let (label, rest) = text
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"))
        .ok_or(Problem::Unreadable("it is not a private key"))?;
    let encrypted = match label {
        "OPENSSH PRIVATE KEY" => return inspect_openssh(rest),
        "ENCRYPTED PRIVATE KEY" => true,
        "PRIVATE KEY" => false,
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" => rest.contains("Proc-Type: 4,ENCRYPTED"),
        "DSA PRIVATE KEY" => return Err(Problem::Unsupported(DSA)),
        _ => return Err(Problem::Unreadable("it is not a private key")),
    };
    inside(label, rest).map(|_| Inspected { encrypted }).ok_or(Problem::Unreadable(DAMAGED))
}

/// The bytes between the lines that begin and end a key.
fn inside(label: &str, rest: &str) -> Option<Vec<u8>> {
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let (_, body) = body.split_once("\n\n").unwrap_or(("", body));
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok().filter(|bytes| !bytes.is_empty())
}

/// OpenSSH's own format (PROTOCOL.key): a magic text, the cipher, the key derivation, and the public key in the clear.
fn inspect_openssh(rest: &str) -> Result<Inspected, Problem> {
    let read = || {
        let bytes = inside("OPENSSH PRIVATE KEY", rest)?;
        let (cipher, rest) = take_string(bytes.strip_prefix(b"openssh-key-v1\0")?)?;
        let (_kdf, rest) = take_string(rest)?;
        let (_kdf_options, rest) = take_string(rest)?;
        let (public, _) = take_string(rest.get(4..)?)?;
        let (kind, _) = take_string(public)?;
        Some((cipher.to_vec(), kind.to_vec()))
    };
    let (cipher, kind) = read().ok_or(Problem::Unreadable(DAMAGED))?;
    if kind.starts_with(b"sk-") {
        return Err(Problem::Unsupported(
            "it lives on a security key, which works through an agent only",
        ));
    }
    if kind == b"ssh-dss" {
        return Err(Problem::Unsupported(DSA));
    }
    match &*cipher {
        b"none" => Ok(Inspected { encrypted: false }),
        cipher if cipher.ends_with(b"-ctr") || cipher.ends_with(b"-cbc") => {
            Ok(Inspected { encrypted: true })
        }
        _ => Err(Problem::Unsupported(
            "its passphrase is used with a cipher that works through an agent only \
             (ssh-keygen -p -Z aes256-ctr changes it)",
        )),
    }
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
        let pem = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}abcd\n-----END {label}-----\n")
        };
        is(&pem("PRIVATE KEY", ""), false);
        is(&pem("ENCRYPTED PRIVATE KEY", ""), true);
        is(&pem("RSA PRIVATE KEY", ""), false);
        is(&pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES,0\n\n"), true);
    }

    #[test]
    fn what_cannot_be_used_is_told_apart() {
        let unsupported = |text: &str| {
            assert!(matches!(inspect_text(text), Err(Problem::Unsupported(_))), "{text}")
        };
        unsupported(&openssh("none", "sk-ssh-ed25519@openssh.com"));
        unsupported(&openssh("none", "ssh-dss"));
        unsupported(&openssh("chacha20-poly1305@openssh.com", "ssh-ed25519"));
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
        unreadable("-----BEGIN PRIVATE KEY-----\nabcd");
        unreadable("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----");
        unreadable("-----BEGIN PRIVATE KEY-----\n[hidden]\n-----END PRIVATE KEY-----");
        unreadable(&whole[..whole.len() / 2]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(-----BEGIN OPENSSH PRIVATE KEY-----)?[A-Za-z0-9+/=\n]{0,60}(-----END OPENSSH PRIVATE KEY-----)?") {
            let _ = inspect_text(&text);
        }
    }
}
