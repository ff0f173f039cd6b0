//! Private keys as they come out of secret stores, put back into lines.
//!
//! A key is a text of several lines, and what it travels through (a web form, an environment
//! variable, YAML, JSON) takes lines away or adds to them. What is in the lines is not changed: PEM
//! (RFC 7468, and RFC 1421 for encrypted keys of the old form) has none but base64 and headers.

use std::iter::Peekable;
use std::str::SplitWhitespace;

/// Characters in a line of base64.
const WIDTH: usize = 64;

/// The text as libssh2 wants it: the whole key and nothing else, in lines. A text that is no PEM at
/// all comes back trimmed.
pub(crate) fn lines(text: &str) -> String {
    let text = plain(text);
    rewrapped(&text).unwrap_or_else(|| {
        let mut text = text.trim().replace("\r\n", "\n");
        text.push('\n');
        text
    })
}

/// Without quotes around it, and with breaks where they are spelled out (`\n`).
fn plain(text: &str) -> String {
    let mut text = text.trim_start_matches('\u{feff}').trim();
    for quote in ['"', '\''] {
        let inside = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        text = inside.unwrap_or(text).trim();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        // Neither base64 nor a header has a backslash, so there may be several of them.
        if c != '\\' {
            plain.push(c);
        } else if rest.next_if(|c| matches!(c, 'n' | 'r' | 't')).is_some() {
            plain.push('\n');
        }
    }
    plain
}

fn rewrapped(text: &str) -> Option<String> {
    let (label, rest) = text.trim_start().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (inside, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let mut words = inside.split_whitespace().peekable();
    let headers = headers(&mut words);
    let body: String = words.collect();
    let mut out = format!("-----BEGIN {label}-----\n");
    for header in &headers {
        out.push_str(header);
        out.push('\n');
    }
    if !headers.is_empty() {
        out.push('\n');
    }
    let mut column = 0;
    for c in body.chars() {
        if column == WIDTH {
            out.push('\n');
            column = 0;
        }
        out.push(c);
        column += 1;
    }
    out.push_str(&format!("\n-----END {label}-----\n"));
    Some(out)
}

/// Takes the headers of an encrypted key off the front: `Proc-Type: 4,ENCRYPTED` and `DEK-Info: …`.
fn headers(words: &mut Peekable<SplitWhitespace<'_>>) -> Vec<String> {
    let mut headers = Vec::new();
    while let Some(word) = words.next_if(|word| word.contains(':')) {
        headers.push(match word.strip_suffix(':') {
            Some(name) => format!("{name}: {}", words.next().unwrap_or_default()),
            None => word.replacen(':', ": ", 1),
        });
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENCRYPTED: &str = "-----BEGIN RSA PRIVATE KEY-----\n\
        Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n\
        abcd\n-----END RSA PRIVATE KEY-----\n";

    /// What becomes of lines on their way.
    fn mangled(key: &str) -> Vec<String> {
        let trimmed = key.trim_end();
        vec![
            trimmed.to_owned(),
            key.replace('\n', " "),
            key.replace('\n', "\r\n"),
            key.replace('\n', "\\n"),
            key.replace('\n', "\\\\n"),
            key.replace('\n', "\\r\\n"),
            format!("\"{}\"", trimmed.replace('\n', "\\n")),
            format!("'{key}'\n"),
            key.lines().map(|line| format!("      {line}\n")).collect(),
            key.replace('\n', "\n\n"),
            format!("\u{feff}{key}"),
            format!("{key}\n\n# the key of the deploy user\n"),
            trimmed.replace('\n', ""),
        ]
    }

    #[test]
    fn a_key_comes_back_from_everything_that_is_done_to_lines() {
        let long = "A".repeat(WIDTH * 2 + 7);
        for label in ["OPENSSH PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            let (one, rest) = long.split_at(WIDTH);
            let (two, three) = rest.split_at(WIDTH);
            let key =
                format!("-----BEGIN {label}-----\n{one}\n{two}\n{three}\n-----END {label}-----\n");
            for text in mangled(&key) {
                assert_eq!(lines(&text), key, "{text:?}");
            }
        }
        let encrypted = mangled(ENCRYPTED);
        // Without any break between them, headers run into each other.
        for text in &encrypted[..encrypted.len() - 1] {
            assert_eq!(lines(text), ENCRYPTED, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_pem_is_left_to_whoever_judges_it() {
        assert_eq!(lines(" a\r\nb"), "a\nb\n");
        assert_eq!(lines("-----BEGIN X-----\nab"), "-----BEGIN X-----\nab\n");
        assert_eq!(
            lines("-----BEGIN X-----ab-----END Y-----"),
            "-----BEGIN X-----ab-----END Y-----\n"
        );
    }

    proptest! {
        #[test]
        fn once_is_enough(text in "(-----BEGIN X-----)?[A-Za-z0-9+/=:, \\\\nr\n\"']{0,200}(-----END X-----)?") {
            let once = lines(&text);
            if once.starts_with("-----BEGIN X-----") && once.contains("-----END X-----") {
                prop_assert_eq!(lines(&once), once);
            }
        }
    }
}
