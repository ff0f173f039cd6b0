//! Keeps what is secret out of what people see: the log, the errors, the evidence.
//!
//! A step may print a secret that it was given, and the engine tells a step's name with the values of
//! its arguments filled in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use slipway_release::Secret;
use slipway_shell::Ui;

/// What stands in the place of a secret.
const STARS: &str = "***";
/// Shorter texts are left: they would be found in everything.
const SHORTEST: usize = 4;
/// A value behind `=` or `:` in a line of a secret file has to be longer, since most of those are
/// settings such as `true`.
const SHORTEST_VALUE: usize = 8;
/// A secret of more lines is a file of many values, such as a bundle of certificates. Its lines are
/// looked up as wholes, since looking for each of them in each line of a log would take too long.
const LINES_SEARCHED: usize = 16;

/// The texts to be hidden.
#[derive(Default)]
pub(crate) struct Mask {
    /// Looked for everywhere; the longest first, since one may hold another.
    anywhere: Vec<String>,
    /// Hidden where they stand alone between blanks.
    words: HashSet<String>,
}

impl Mask {
    /// What is secret in a build: the values of its secrets and of the arguments whose names say so,
    /// passwords in addresses, and those of the registries.
    pub(crate) fn new<'a>(
        secrets: impl Iterator<Item = &'a [u8]>,
        args: &BTreeMap<String, String>,
        passwords: impl IntoIterator<Item = &'a Secret>,
    ) -> Self {
        let mut mask = Self::default();
        for secret in secrets {
            mask.file(&String::from_utf8_lossy(secret));
        }
        for (name, value) in args {
            if looks_secret(name) {
                mask.file(value);
            }
            mask.add(password_of(value), SHORTEST);
        }
        for password in passwords {
            mask.add(Some(password.reveal()), SHORTEST);
        }
        mask.anywhere.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        mask.anywhere.dedup();
        mask
    }

    /// A value that may have lines, of which each is secret.
    fn file(&mut self, text: &str) {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST).collect();
        for line in &lines {
            // `NAME=value`, `name: "value",`: the value may be told alone.
            let value = line.rsplit(['=', ':']).next().unwrap_or_default();
            let value = value.trim_matches(|c: char| c.is_whitespace() || "\"',".contains(c));
            let value = Some(value).filter(|value| value.len() >= SHORTEST_VALUE);
            if lines.len() <= LINES_SEARCHED {
                self.add(Some(line), SHORTEST);
                self.add(value, SHORTEST_VALUE);
            } else {
                let words = line.split_whitespace().chain(value);
                self.words.extend(words.map(str::to_owned));
            }
        }
        self.words.retain(|word| word.len() >= SHORTEST);
    }

    fn add(&mut self, text: Option<&str>, shortest: usize) {
        self.anywhere.extend(text.filter(|text| text.len() >= shortest).map(str::to_owned));
    }

    /// The text without what is secret.
    pub(crate) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shown = Cow::Borrowed(text);
        for secret in &self.anywhere {
            if shown.contains(secret.as_str()) {
                shown = Cow::Owned(shown.replace(secret.as_str(), STARS));
            }
        }
        let alone = |word: &str| self.words.contains(word);
        if !self.words.is_empty() && shown.split_whitespace().any(alone) {
            let hide = |word: &str| {
                if alone(word.trim()) { word.replace(word.trim(), STARS) } else { word.to_owned() }
            };
            shown = Cow::Owned(shown.split_inclusive(char::is_whitespace).map(hide).collect());
        }
        match without_passwords(&shown) {
            Some(without) => Cow::Owned(without),
            None => shown,
        }
    }
}

/// The text with stars for the passwords of addresses, such as that of an ADD; none if it has none.
fn without_passwords(text: &str) -> Option<String> {
    let (mut shown, mut rest, mut found) = (String::new(), text, false);
    while let Some((before, after)) = rest.split_once("://") {
        let ends = |c: char| c == '/' || c.is_whitespace() || "\"'`<>".contains(c);
        let authority = &after[..after.find(ends).unwrap_or(after.len())];
        shown.push_str(before);
        shown.push_str("://");
        rest = after;
        let login = authority.rsplit_once('@').and_then(|(login, _)| login.split_once(':'));
        if let Some((user, password)) = login.filter(|(_, password)| !password.is_empty()) {
            shown.push_str(user);
            shown.push(':');
            shown.push_str(STARS);
            rest = &after[user.len() + 1 + password.len()..];
            found = true;
        }
    }
    shown.push_str(rest);
    found.then_some(shown)
}

/// Whether an argument of this name holds a secret, as far as names tell.
fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let ends = ["TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "CREDENTIAL", "APIKEY"];
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        let word = word.strip_suffix('S').unwrap_or(word);
        word == "KEY" || ends.iter().any(|end| word.ends_with(end))
    })
}

/// Warns of build arguments that are secret by their names.
pub(crate) fn warn(args: &[String], ui: &Ui) {
    let names = args.iter().map(|text| text.split('=').next().unwrap_or_default());
    for name in names.filter(|name| looks_secret(name)) {
        ui.warn(&format!(
            "the build argument {name} will stand in the image's history; give it with --secret"
        ));
    }
}

/// The password in an address such as `https://user:password@host/`.
fn password_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (user, _) = authority.rsplit_once('@')?;
    // A user alone is a token, as those of GitHub are.
    Some(user.split_once(':').map_or(user, |(_, password)| password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secrets: &[&str], args: &[(&str, &str)]) -> Mask {
        let args = args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Mask::new(secrets.iter().map(|secret| secret.as_bytes()), &args, None)
    }

    #[test]
    fn names_that_say_what_they_hold() {
        for name in [
            "NPM_TOKEN",
            "token",
            "GITHUBTOKEN",
            "DB_PASSWORD",
            "SECRET_VALUE",
            "API_KEY",
            "SSH_KEYS",
            "my-secret",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["VERSION", "MONKEY", "KEYBOARD", "SECRETARY", "PYTHON_IMAGE", "TOKENIZER", ""]
        {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn values_are_hidden_wherever_they_stand() {
        let mask = mask(
            &["hunter22\n", "user=jo\n//r.example/:_authToken=npm_0123456789\nalways-auth=true\n"],
            &[
                ("NPM_TOKEN", "s3cr3t"),
                ("INDEX", "https://jo:pa55word@pypi.example/simple"),
                ("COLOR", "blue"),
                ("SHORT_KEY", "abc"),
            ],
        );
        for (text, shown) in [
            ("the token is s3cr3t, or 's3cr3t'", "the token is ***, or '***'"),
            ("hunter22hunter22", "******"),
            ("npm_0123456789", "***"),
            ("user=jo", "***"),
            ("https://jo:pa55word@pypi.example/simple", "https://jo:***@pypi.example/simple"),
            ("it is true that blue is abc", "it is true that blue is abc"),
        ] {
            assert_eq!(mask.hide(text), shown);
        }
        let all = Mask::new(std::iter::empty(), &BTreeMap::new(), Some(&Secret::new("password")));
        assert_eq!(all.hide("a password"), "a ***");
    }

    #[test]
    fn passwords_in_addresses_are_hidden_whoever_gave_them() {
        for (text, shown) in [
            ("ADD https://jo:pa55@x.example/f /f", "ADD https://jo:***@x.example/f /f"),
            ("git clone ssh://git@x.example:22/a", "git clone ssh://git@x.example:22/a"),
            ("\"http://u:p@ss@h\" http://u:@h", "\"http://u:***@h\" http://u:@h"),
            ("a://b:c@d, e://f:g@h", "a://b:***@d, e://f:***@h"),
            ("http://h:80/a@b", "http://h:80/a@b"),
        ] {
            assert_eq!(Mask::default().hide(text), shown);
        }
    }

    #[test]
    fn a_longer_secret_is_hidden_before_one_that_it_holds() {
        let mask = mask(&["secret", "secret-and-more"], &[]);
        assert_eq!(mask.hide("secret-and-more secret"), "*** ***");
    }

    #[test]
    fn a_file_of_many_lines_is_hidden_line_by_line() {
        let lines: Vec<String> = (0..40).map(|n| format!("line{n:04} MIIBszCCA{n}")).collect();
        let mask = mask(&[&lines.join("\n")], &[]);
        assert_eq!(mask.hide("  MIIBszCCA7\tline0007 and so on"), "  ***\t*** and so on");
        assert_eq!(mask.hide("MIIBszCCA77"), "MIIBszCCA77");
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secret in "[a-z]{4,9}", before in ".{0,9}", after in ".{0,9}") {
            let mask = mask(&[&secret], &[]);
            let text = format!("{before}{secret}{after}");
            prop_assert!(!mask.hide(&text).contains(&secret));
        }
    }
}
