//! `--cache-from` and `--cache-to`: results of steps that are kept outside of the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use slipway_engine::Reference;

use crate::error::Error;

/// A place for cached results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    pub(crate) place: Place,
    /// Further keys, as the engine takes them: `mode`, `compression`, `ignore-error`, …
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the image that is built, for one who pulls it.
    Inline,
    /// Beside images in a registry.
    Registry(String),
    /// In a directory on this side.
    Directory(PathBuf),
}

impl Place {
    /// The engine's word for it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Registry(_) => "registry",
            Self::Directory(_) => "local",
        }
    }
}

/// One `--cache-from`.
pub(crate) fn from(text: &str) -> Result<Cache, Error> {
    parse("--cache-from", text, "src", false)
}

/// One `--cache-to`.
pub(crate) fn to(text: &str) -> Result<Cache, Error> {
    parse("--cache-to", text, "dest", true)
}

/// An image's name alone, or `type=…` with comma-separated `key=value`.
fn parse(option: &'static str, text: &str, directory: &str, inline: bool) -> Result<Cache, Error> {
    let bad = |why: String| Error::BadOption { option, why };
    let reference = |name: &str| match name.parse::<Reference>() {
        Ok(_) => Ok(Place::Registry(name.to_owned())),
        Err(error) => Err(bad(error.to_string())),
    };
    if !text.contains('=') {
        return Ok(Cache { place: reference(text)?, attributes: BTreeMap::new() });
    }
    let mut attributes = BTreeMap::new();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| {
            bad(format!("`{field}` is not key=value, as in type=registry,ref=NAME"))
        })?;
        attributes.insert(key.trim().to_ascii_lowercase(), value.to_owned());
    }
    let kind = attributes.remove("type").unwrap_or_default();
    let mut take = |key: &str| {
        attributes
            .remove(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| bad(format!("type={kind} needs {key}=")))
    };
    let place = match kind.as_str() {
        "inline" if inline => Place::Inline,
        "registry" => reference(&take("ref")?)?,
        "local" => Place::Directory(take(directory)?.into()),
        _ if inline => return Err(bad(format!("`{text}` has no type=inline, registry or local"))),
        _ => return Err(bad(format!("`{text}` has no type=registry or type=local"))),
    };
    Ok(Cache { place, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_notation() {
        let registry = |name: &str| Place::Registry(name.to_owned());
        assert_eq!(from("r.io/web:cache").unwrap().place, registry("r.io/web:cache"));
        assert_eq!(from("type=registry,ref=web").unwrap().place, registry("web"));
        assert_eq!(to("type=inline").unwrap().place, Place::Inline);
        let local = to("type=local,dest=/c,mode=max").unwrap();
        assert_eq!(local.place, Place::Directory("/c".into()));
        assert_eq!(local.attributes["mode"], "max");
        assert_eq!(from("type=local,src=c").unwrap().place, Place::Directory("c".into()));
        for bad in ["", "Web", "type=inline", "type=gha", "type=registry", "ref=web", "type=local,"]
        {
            assert!(from(bad).is_err(), "{bad}");
        }
        assert!(to("type=local,src=c").is_err());
    }
}
