//! `--build-context`: further sources, which the Dockerfile uses by their names.

use std::path::PathBuf;

use slipway_engine::Reference;

use crate::error::{Error, reason};
use crate::place;

const OPTION: &str = "--build-context";

/// One `--build-context`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The name as the frontend looks it up.
    pub(crate) name: String,
    pub(crate) source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Directory(PathBuf),
    /// An image or a repository: what the engine fetches itself.
    Address(String),
}

impl Named {
    /// Reads `NAME=SOURCE`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::BadOption { option: OPTION, why };
        let (name, source) = text
            .split_once('=')
            .filter(|(name, source)| !name.is_empty() && !source.is_empty())
            .ok_or_else(|| {
                bad(format!(
                    "`{text}` is not NAME=DIRECTORY, NAME=docker-image://IMAGE or NAME=URL"
                ))
            })?;
        let name = lookup(name).map_err(|why| bad(format!("`{name}` is no name: {why}")))?;
        let source = if let Some(image) = source.strip_prefix("docker-image://") {
            image.parse::<Reference>().map_err(|error| bad(error.to_string()))?;
            Source::Address(source.to_owned())
        } else if place::is_repository(source)
            || source.starts_with("http://")
            || source.starts_with("https://")
        {
            place::without_password(source)?;
            Source::Address(source.to_owned())
        } else if let Some((scheme, _)) = source.split_once("://") {
            return Err(bad(format!(
                "a source of {scheme}:// is not among docker-image, git and http"
            )));
        } else {
            let path = PathBuf::from(source);
            let real = path.canonicalize();
            let real = real.map_err(|error| bad(format!("{source}: {}", reason(&error))))?;
            if !real.is_dir() {
                return Err(bad(format!("{source} is not a directory")));
            }
            Source::Directory(real)
        };
        Ok(Self { name, source })
    }

    /// What the session calls the directory: never as it calls the context itself.
    pub(crate) fn directory(&self) -> String {
        format!("_{}", self.name)
    }
}

/// The frontend looks for the short form of an image's name, without `:latest`.
fn lookup(name: &str) -> Result<String, String> {
    let parsed: Reference =
        name.parse().map_err(|error: slipway_engine::ParseReferenceError| error.to_string())?;
    if parsed.digest().is_some() {
        return Err("it has a digest".to_owned());
    }
    let path = match parsed.domain() {
        None | Some("docker.io") => parsed.path().trim_start_matches("library/").to_owned(),
        Some(domain) => format!("{domain}/{}", parsed.path()),
    };
    Ok(match parsed.tag() {
        None | Some("latest") => path,
        Some(tag) => format!("{path}:{tag}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_short() {
        for (given, short) in [
            ("base", "base"),
            ("alpine:latest", "alpine"),
            ("docker.io/library/python:3-slim", "python:3-slim"),
            ("r.io/team/web:latest", "r.io/team/web"),
        ] {
            assert_eq!(lookup(given).unwrap(), short);
        }
        assert!(lookup("Web").is_err());
    }

    #[test]
    fn sources_by_their_form() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let of = |text: &str| Named::parse(text).map(|named| named.source);
        assert_eq!(of(&format!("a={}", dir.path().display())).unwrap(), Source::Directory(real));
        for address in [
            "docker-image://r.io/web:1",
            "https://example.com/web.git#v1",
            "https://example.com/x.tar",
        ] {
            assert_eq!(of(&format!("a={address}")).unwrap(), Source::Address(address.into()));
        }
        for bad in [
            "",
            "a",
            "a=",
            "=x",
            "a=/no/such/directory",
            "a=docker-image://Web",
            "a=oci-layout://x",
            "a=https://u:p@x/y.git",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
