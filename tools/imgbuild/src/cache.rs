//! `--cache-from` and `--cache-to`: results of steps that are kept outside of the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use slipway_engine::Reference;

use crate::content::Store;
use crate::error::{Error, reason};

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

/// The caches' directories, by the names that the engine has for them.
pub(crate) fn stores<'a>(caches: impl IntoIterator<Item = &'a Cache>) -> BTreeMap<String, Store> {
    let directories = caches.into_iter().filter_map(|cache| match &cache.place {
        Place::Directory(path) => {
            Some((format!("local:{}", path.display()), Store::new(path.clone())))
        }
        Place::Inline | Place::Registry(_) => None,
    });
    directories.collect()
}

/// Finds what there is in the caches' directories; one that has nothing is left out, as with a first
/// build, and is told to `missing`.
pub(crate) fn find(caches: &mut Vec<Cache>, missing: &mut dyn FnMut(&str)) {
    caches.retain_mut(|cache| {
        let Place::Directory(path) = &cache.place else { return true };
        if cache.attributes.contains_key("digest") {
            return true;
        }
        let why = match Store::new(path.clone()).named(cache.name()) {
            Ok(Some(digest)) => {
                cache.attributes.insert("digest".to_owned(), digest);
                return true;
            }
            Ok(None) => "there is nothing in it".to_owned(),
            Err(error) => reason(&error),
        };
        missing(&format!("no cache is taken from {}: {why}", path.display()));
        false
    });
}

/// Notes in the directories what the engine has written; `manifest` is its descriptor.
pub(crate) fn note(caches: &[Cache], manifest: Option<&String>) -> Result<(), Error> {
    let Some(descriptor) = manifest.and_then(|text| serde_json::from_str(text).ok()) else {
        return Ok(());
    };
    let descriptor: serde_json::Value = descriptor;
    for cache in caches {
        if let Place::Directory(path) = &cache.place {
            Store::new(path.clone()).name(cache.name(), descriptor.clone()).map_err(|source| {
                Error::CacheNotKept { path: path.clone(), why: reason(&source) }
            })?;
        }
    }
    Ok(())
}

impl Cache {
    /// What the cache is called in its directory.
    fn name(&self) -> &str {
        self.attributes.get("tag").map_or("latest", String::as_str)
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
    fn what_is_kept_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let mut caches = vec![from(&format!("type=local,src={path}")).unwrap()];
        let mut told = String::new();
        find(&mut caches, &mut |text| told = text.to_owned());
        assert!(caches.is_empty() && told.contains("nothing in it"), "{told}");

        let manifest = r#"{"digest": "sha256:7", "size": 1}"#.to_owned();
        let kept =
            [to(&format!("type=local,dest={path},tag=x")).unwrap(), to("type=inline").unwrap()];
        note(&kept, Some(&manifest)).unwrap();
        let mut caches = vec![from(&format!("type=local,src={path},tag=x")).unwrap()];
        find(&mut caches, &mut |text| panic!("{text}"));
        assert_eq!(caches[0].attributes["digest"], "sha256:7");
        let names: Vec<String> = stores(&caches).into_keys().collect();
        assert_eq!(names, [format!("local:{path}")]);
    }

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
