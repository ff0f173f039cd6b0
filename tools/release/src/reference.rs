//! Image references by the grammar of `distribution/reference`.

use std::fmt;
use std::str::FromStr;

/// A parsed image reference, kept as it was written.
///
/// `name` without a domain means Docker Hub: [`Reference::registry`] and
/// [`Reference::repository`] apply that rule, `Display` does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {why}")]
pub struct ParseReferenceError {
    /// What was read.
    pub text: String,
    /// The part that is wrong, as a fragment.
    pub why: &'static str,
}

const HUB: &str = "docker.io";
/// `RepositoryNameTotalLengthMax` of distribution.
const NAME_MAX: usize = 255;
/// The longest name of a host (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 253;

impl Reference {
    /// The registry's host and port as written, if one was.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The registry's host and port; `docker.io` when none was written.
    pub fn registry(&self) -> &str {
        match self.domain.as_deref() {
            None | Some("index.docker.io") => HUB,
            Some(domain) => domain,
        }
    }

    /// The repository below the registry, as written.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and repository in full: `docker.io/library/x` for `x`.
    pub fn repository(&self) -> String {
        let registry = self.registry();
        let prefix = if registry == HUB && !self.path.contains('/') { "library/" } else { "" };
        format!("{registry}/{prefix}{}", self.path)
    }

    /// Domain and path as written, without tag and digest.
    pub fn name(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{domain}/{}", self.path),
            None => self.path.clone(),
        }
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, `algorithm:hex`, if one was written.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same name with this tag and no digest.
    ///
    /// # Errors
    /// When `tag` is not a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError { text: tag.to_owned(), why: BAD_TAG });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name with this digest and no tag.
    ///
    /// # Errors
    /// When `digest` is not a digest.
    pub fn with_digest(&self, digest: &str) -> Result<Self, ParseReferenceError> {
        if !is_digest(digest) {
            return Err(ParseReferenceError { text: digest.to_owned(), why: BAD_DIGEST });
        }
        Ok(Self { tag: None, digest: Some(digest.to_owned()), ..self.clone() })
    }
}

const BAD_TAG: &str = "a tag has letters, digits, `_`, `.` and `-`, does not begin with `.` or `-`, and has at most 128 characters";
const BAD_DIGEST: &str = "a digest is `sha256:` and 64 lowercase hexadecimal digits";

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why| ParseReferenceError { text: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest
            && !is_digest(digest)
        {
            return Err(fail(BAD_DIGEST));
        }
        // A colon behind the last slash begins a tag; before it, a port.
        let name_start = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[name_start..].find(':') {
            Some(at) => (&rest[..name_start + at], Some(&rest[name_start + at + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(fail(BAD_TAG));
        }
        let (domain, path) = split_domain(name);
        if let Some(domain) = domain
            && !is_host(domain)
        {
            return Err(fail("the registry is not a host name with an optional port"));
        }
        check_path(path).map_err(fail)?;
        if name.len() > NAME_MAX {
            return Err(fail("the name has more than 255 characters"));
        }
        if domain.is_none() && path.len() == 64 && path.bytes().all(is_lower_hex) {
            return Err(fail("64 hexadecimal digits are an image id, not a name"));
        }
        Ok(Self {
            domain: domain.map(str::to_owned),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(domain) = &self.domain {
            write!(f, "{domain}/")?;
        }
        f.write_str(&self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether an engine may be asked for an image by this text: a name, an id or the beginning of one.
/// Nothing of this form leads to another path of the Engine API.
#[must_use]
pub fn is_image(text: &str) -> bool {
    text.parse::<Reference>().is_ok() || (text.len() == 64 && text.bytes().all(is_lower_hex))
}

/// The rule of `splitDockerDomain`: the first component is a domain only when
/// it cannot be a path component of Docker Hub.
fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

/// Whether a text is a host name or an address, an IPv6 one in brackets, with an optional port.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_ok = match text.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => host.len() <= HOST_MAX && host.split('.').all(is_label),
    };
    host_ok && port.is_none_or(is_port)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether a text is a repository's path in a registry.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    text.len() <= NAME_MAX && check_path(text).is_ok()
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the repository name is empty");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("a repository name must be lowercase");
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(
            "a repository name has lowercase letters and digits, separated by `.`, `_`, `__` or `-`",
        )
    }
}

fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    // What stands between two alphanumeric runs must be one separator.
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

/// Whether a text is a tag.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

pub(crate) fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

/// Whether a text is a digest, by SHA-2 of any length.
#[must_use]
pub fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(is_lower_hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|e: ParseReferenceError| panic!("{e}"))
    }

    const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_of_every_shape() {
        let cases = [
            ("app", None, "docker.io", "docker.io/library/app", None),
            ("app:1", None, "docker.io", "docker.io/library/app", Some("1")),
            ("org/app", None, "docker.io", "docker.io/org/app", None),
            ("localhost/app:x", Some("localhost"), "localhost", "localhost/app", Some("x")),
            (
                "localhost:5000/app",
                Some("localhost:5000"),
                "localhost:5000",
                "localhost:5000/app",
                None,
            ),
            ("[::1]:5000/a/b:t", Some("[::1]:5000"), "[::1]:5000", "[::1]:5000/a/b", Some("t")),
            (
                "index.docker.io/app",
                Some("index.docker.io"),
                "docker.io",
                "docker.io/library/app",
                None,
            ),
            (
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app:v1.0_x-1",
                Some("123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app",
                Some("v1.0_x-1"),
            ),
            ("a__b.c---d", None, "docker.io", "docker.io/library/a__b.c---d", None),
        ];
        for (text, domain, registry, repository, tag) in cases {
            let reference = parse(text);
            assert_eq!(reference.domain(), domain, "{text}");
            assert_eq!(reference.registry(), registry, "{text}");
            assert_eq!(reference.repository(), repository, "{text}");
            assert_eq!(reference.tag(), tag, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn an_engine_is_asked_for_names_and_ids_only() {
        for text in ["web", "web:1", "r.example:5000/a/web", D, &D[7..], "3fde06d11d08"] {
            assert!(is_image(text), "{text}");
        }
        for text in ["", "../containers/json?x=", "web?x", "web/..", "a%2f..", "web#", "a b"] {
            assert!(!is_image(text), "{text}");
        }
    }

    #[test]
    fn digests() {
        let both = parse(&format!("r.io/app:1@{D}"));
        assert_eq!((both.tag(), both.digest()), (Some("1"), Some(D)));
        let by_digest = both.with_digest(D).unwrap();
        assert_eq!(by_digest.to_string(), format!("r.io/app@{D}"));
        assert_eq!(by_digest.with_tag("2").unwrap().to_string(), "r.io/app:2");
        assert!(both.with_tag("-").is_err() && both.with_digest("sha256:12").is_err());
    }

    #[test]
    fn texts_that_are_no_references() {
        let id = &D["sha256:".len()..];
        let long = "a".repeat(256);
        for text in [
            "",
            ":tag",
            "app:",
            "app@",
            "app@sha256:12",
            "App",
            "r.io/App",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a._b",
            "app:.x",
            "app:x y",
            "r.io:/a",
            "r.io:x/a",
            "-r.io/a",
            "[::1/a",
            "[x]:1/a",
            "[::1]x/a",
            "r.io:0/a",
            "r.io:99999/a",
            "r.io:+1/a",
            "a b",
            "app:1:2",
            "https://r.io/app",
            "r.io/app\n",
            id,
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
        assert!(format!("app:{}", "t".repeat(128)).parse::<Reference>().is_ok());
        assert!(format!("app:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_built_by_the_grammar_parses_back(
            domain in proptest::option::of("[a-z0-9]{1,8}(\\.[a-z0-9]{1,5}){1,3}(:[1-9][0-9]{0,3})?"),
            path in "[a-z0-9]{1,6}((_|__|\\.|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,3}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in proptest::option::of("sha256:[0-9a-f]{64}"),
        ) {
            let mut text = domain.as_ref().map(|d| format!("{d}/")).unwrap_or_default();
            text.push_str(&path);
            if let Some(tag) = &tag { text.push_str(&format!(":{tag}")); }
            if let Some(digest) = &digest { text.push_str(&format!("@{digest}")); }
            // Without a domain a first component `localhost` would be one.
            prop_assume!(domain.is_some() || !path.starts_with("localhost/"));
            // `a.b/c` without a domain reads `a.b` as the domain, by design.
            let first_has_dot = path.split('/').next().is_some_and(|f| f.contains('.')) && path.contains('/');
            prop_assume!(domain.is_some() || !first_has_dot);
            let parsed: Reference = text.parse().unwrap();
            prop_assert_eq!(parsed.to_string(), text);
            prop_assert_eq!(parsed.domain(), domain.as_deref());
            prop_assert_eq!(parsed.path(), path);
            prop_assert_eq!(parsed.tag(), tag.as_deref());
            prop_assert_eq!(parsed.digest(), digest.as_deref());
        }

        #[test]
        fn any_text_either_fails_or_prints_back(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
