//! The forms of values that name something: ids, digests, names, hosts, addresses.
//!
//! A section's field of such a form is checked where the document is read, so that nothing is asked
//! of an engine, a registry or a host with a value that could mean something else there: an id with
//! `../` in it would be another path of the Engine API. The error tells what was expected and does
//! not quote the value, which may be a secret that stands in the wrong place.

use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error};

use crate::Reference;
use crate::reference::{is_host, is_image, is_lower_hex, is_repository, is_tag};

/// A form of text.
pub(crate) trait Form {
    /// What is expected, for people.
    const EXPECTED: &'static str;
    /// Whether a text has the form.
    fn admits(text: &str) -> bool;
}

/// A text that was found to have the form.
struct Checked<F>(String, PhantomData<F>);

impl<'de, F: Form> Deserialize<'de> for Checked<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match F::admits(&text) {
            true => Ok(Self(text, PhantomData)),
            false => Err(D::Error::custom(format_args!("expected {}", F::EXPECTED))),
        }
    }
}

/// Reads a field that has to be there.
pub(crate) fn one<'de, F: Form, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Checked::<F>::deserialize(deserializer).map(|checked| checked.0)
}

/// Reads a field that may be `null`.
pub(crate) fn optional<'de, F: Form, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Option::<Checked<F>>::deserialize(deserializer).map(|checked| checked.map(|it| it.0))
}

/// Reads a list of them.
pub(crate) fn all<'de, F: Form, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let checked = Vec::<Checked<F>>::deserialize(deserializer)?;
    Ok(checked.into_iter().map(|it| it.0).collect())
}

macro_rules! forms {
    ($($(#[doc = $doc:literal])+ $name:ident: $expected:literal, $admits:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) struct $name;

            impl Form for $name {
                const EXPECTED: &'static str = $expected;
                fn admits(text: &str) -> bool {
                    let admits: fn(&str) -> bool = $admits;
                    admits(text)
                }
            }
        )+
    };
}

forms! {
    /// The digest of an image's configuration or of a manifest (OCI image specification, "Digests").
    Digest: "a digest: `sha256:` and 64 lowercase hexadecimal digits", is_sha256;
    /// A registry (distribution specification; RFC 1123, section 2.1).
    Host: "a host name with an optional port from 1 to 65535, such as registry.example:5000", is_host;
    /// A repository (distribution specification, "Pulling manifests").
    Repository: "a repository name: lowercase letters and digits, separated by `.`, `_`, `__`, `-` or `/`",
        is_repository;
    /// A tag (distribution specification, "Pulling manifests").
    Tag: "a tag: at most 128 letters, digits, `_`, `.` and `-`, which does not begin with `.` or `-`", is_tag;
    /// An image's name.
    Named: "an image name, such as team/web:1", |text| text.parse::<Reference>().is_ok();
    /// An image in a registry, whatever happens to its tags.
    Pinned: "an image by digest: HOST/REPOSITORY@sha256:…", is_pinned;
    /// What an engine calls the image of a container: a name or an id.
    EngineImage: "an image name or id", is_image;
    /// `os/architecture[/variant]` (OCI image index specification).
    Platform: "a platform, such as linux/amd64", is_platform;
    /// The name of an application or a container, and their ids (`RestrictedNameChars` of moby).
    Name: "a name: at most 255 letters, digits, `_`, `.` and `-`, which begins with a letter or a digit",
        is_name;
    /// An AWS region.
    Region: "an AWS region, such as eu-central-1", is_region;
    /// An AWS account.
    Account: "an AWS account: twelve digits",
        |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    /// Where something answers.
    Url: "a URL, such as http://app.example:8000/", is_url;
    /// The path of a URL.
    Path: "a path that begins with `/`, without spaces",
        |text| text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    /// A deploy host, as SSH is told it.
    Login: "a host, such as deploy@app.example:22", is_word;
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(is_lower_hex)
}

fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| is_hex(hex, 64))
}

fn is_pinned(text: &str) -> bool {
    text.parse::<Reference>().is_ok_and(|it| it.domain().is_some() && it.digest().is_some())
}

fn is_platform(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    (2..=3).contains(&text.split('/').count()) && text.split('/').all(part)
}

fn is_name(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Only the form that any URL with a host has: which schemes can be asked is for the tool to say.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(letter)
        && !host.is_empty()
        && is_word(text)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests;
