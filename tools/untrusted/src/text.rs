//! Text from outside, and how it is shown.

use std::borrow::Cow;
use std::fmt;

/// The longest line that is shown, in characters. Whatever is behind is counted, not shown.
pub const LINE: usize = 4096;

/// A text from outside: from an engine, a registry, a host, a service, a repository. `Display` and
/// `Debug` show it cleaned and bounded; [`Untrusted::raw`] hands it to code that parses or compares
/// it, or writes it into the document.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Untrusted(String);

impl Untrusted {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Wraps bytes that should be UTF-8; what is not becomes U+FFFD.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text as it came. It must not be shown.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean_line(&self.0))
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", clean_line(&self.0))
    }
}

/// The text without what a terminal would obey: colours and other control sequences (ECMA-48, CSI)
/// are dropped, other control characters and those that turn the direction of writing (Unicode
/// bidirectional algorithm) are shown as `\u{1b}`. Line breaks and tabs stay.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| obeyed(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' => shown.push(c),
            // The line break of DOS.
            '\r' if rest.as_str().starts_with('\n') => {}
            '\u{1b}' | '\u{9b}' => match after_sequence(c, rest.as_str()) {
                Some(behind) => rest = behind.chars(),
                None => shown.extend(c.escape_unicode()),
            },
            c if obeyed(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The text cleaned, on one line of at most [`LINE`] characters: line breaks become spaces.
#[must_use]
pub fn clean_line(text: &str) -> Cow<'_, str> {
    // Before it is cleaned, so that an endless text costs no more than what is shown of it. An
    // escaped character has up to ten, so that four times as many always fill the line.
    let most = text.char_indices().nth(4 * LINE).map_or(text.len(), |(at, _)| at);
    let shown = clean(&text[..most]);
    let shown = match shown.contains('\n') {
        true => Cow::Owned(shown.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")),
        false => shown,
    };
    let Some((end, _)) = shown.char_indices().nth(LINE) else {
        return match text.len() - most {
            0 => shown,
            left => Cow::Owned(format!("{shown}… ({left} bytes more)")),
        };
    };
    let left = shown.len() - end + (text.len() - most);
    Cow::Owned(format!("{}… ({left} bytes more)", &shown[..end]))
}

/// Whether a terminal does something else with this character than to show it. Each is below U+10000.
#[must_use]
pub fn obeyed(c: char) -> bool {
    match c {
        '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        '\u{2028}' | '\u{2029}' | '\u{61c}' => true,
        c => c.is_control(),
    }
}

/// What is behind a control sequence that begins with this character, if one does: parameters of
/// 0x30 to 0x3f, intermediates of 0x20 to 0x2f, and one final character of 0x40 to 0x7e.
fn after_sequence(begin: char, rest: &str) -> Option<&str> {
    let rest = if begin == '\u{9b}' { rest } else { rest.strip_prefix('[')? };
    let rest = rest.trim_start_matches(|c| ('\u{30}'..='\u{3f}').contains(&c));
    let rest = rest.trim_start_matches(|c| ('\u{20}'..='\u{2f}').contains(&c));
    rest.strip_prefix(|c| ('\u{40}'..='\u{7e}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_gone() {
        for (text, shown) in [
            ("plain, ü and 漢\ttab", "plain, ü and 漢\ttab"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "\\u{1b}]0;title\\u{7}x"),
            ("\u{1b}]52;c;cm0=\u{1b}\\", "\\u{1b}]52;c;cm0=\\u{1b}\\"),
            ("a\0b\u{8}c", "a\\u{0}b\\u{8}c"),
            ("a\rb", "a\\u{d}b"),
            ("a\r\nb", "a\nb"),
            ("\u{9b}2Jx\u{90}y", "x\\u{90}y"),
            ("x\u{202e}gnp.exe", "x\\u{202e}gnp.exe"),
            ("\u{1b}[31", "\\u{1b}[31"),
        ] {
            assert_eq!(clean(text), shown, "{text:?}");
        }
        assert_eq!(Untrusted::new("a\nb\u{7}").to_string(), "a b\\u{7}");
        assert_eq!(format!("{:?}", Untrusted::new("\u{1b}[1m\"")), r#""\"""#);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let long = "x".repeat(LINE + 10);
        assert!(clean_line(&long).ends_with("x… (10 bytes more)"));
        let endless = "\u{1b}".repeat(100 * LINE);
        assert!(clean_line(&endless).chars().count() < LINE + 40);
        assert_eq!(clean_line(&"y".repeat(LINE)).len(), LINE);
        let colours = format!("{}end", "\u{1b}[0m".repeat(4 * LINE));
        assert!(clean_line(&colours).ends_with("bytes more)"));
    }

    proptest! {
        #[test]
        fn nothing_obeyed_is_ever_shown(text in any::<String>()) {
            let shown = clean_line(&text);
            prop_assert!(!shown.chars().any(obeyed), "{shown:?}");
            prop_assert!(shown.chars().count() <= LINE + 40);
        }

        #[test]
        fn ordinary_text_stays(text in "[ -~äöü漢\t]{0,80}") {
            prop_assert_eq!(clean_line(&text), text.as_str());
        }
    }
}
