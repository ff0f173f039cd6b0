//! `--secret`: values that a step may read and that are in no layer.
//!
//! To BuildKit a secret's value is no part of a step: a step that is cached,
//! or that another build runs at the same moment, is shared whatever its
//! secret holds. Who needs it to run again puts something that differs into
//! the step, such as a build argument.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use slipway_release::Secret;
use slipway_untrusted::limit::BUILD_SECRET;
use slipway_untrusted::{TooLarge, file};

use crate::error::Error;

/// The secrets of one build.
#[derive(Default)]
pub(crate) struct Secrets(BTreeMap<String, Vec<u8>>);

impl Secrets {
    pub(crate) fn get(&self, id: &str) -> Option<&[u8]> {
        self.0.get(id).map(Vec::as_slice)
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(Vec::as_slice)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads all of them now, so that a missing one is told before anything begins. It may wait, as a
    /// file may be a pipe.
    pub(crate) fn load(specs: &[String]) -> Result<Self, Error> {
        let mut secrets = BTreeMap::new();
        for spec in specs {
            let Spec { id, source } = Spec::parse(spec)?;
            let value = source.read(&id)?;
            if secrets.insert(id.clone(), value).is_some() {
                return Err(Error::BadOption {
                    option: "--secret",
                    why: format!("the id `{id}` is given twice"),
                });
            }
        }
        Ok(Self(secrets))
    }
}

/// One `--secret`, in docker's notation.
#[derive(Debug, PartialEq)]
struct Spec {
    id: String,
    source: Source,
}

#[derive(Debug, PartialEq)]
enum Source {
    File(PathBuf),
    Variable(String),
}

impl Spec {
    /// Docker's rules: comma-separated `key=value`; `src` and `source` are the
    /// same; without a source the id names a variable if there is one of that
    /// name, else a file.
    fn parse(spec: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::BadOption { option: "--secret", why };
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in spec.split(',') {
            // The whole text may hold a value given by mistake: only keys are told.
            let (key, value) = field.split_once('=').ok_or_else(|| {
                bad("each part must be key=value, such as id=token,env=TOKEN".to_owned())
            })?;
            let value = value.to_owned();
            match key.trim().to_ascii_lowercase().as_str() {
                "id" => id = Some(value),
                "src" | "source" => file = Some(value),
                "env" => variable = Some(value),
                "type" => kind = Some(value),
                _ => return Err(bad("it knows the keys id, src, env and type".to_owned())),
            }
        }
        let id = id
            .or_else(|| variable.clone())
            .filter(|id| !id.is_empty())
            .ok_or_else(|| bad("the id is missing".to_owned()))?;
        let source = match (kind.as_deref(), file, variable) {
            (_, Some(_), Some(_)) => return Err(bad(format!("`{id}` has both src and env"))),
            (None | Some("file"), Some(path), None) => Source::File(path.into()),
            (None | Some("env"), None, Some(name)) => Source::Variable(name),
            (Some("env"), Some(name), None) => Source::Variable(name),
            (Some("env"), None, None) => Source::Variable(id.clone()),
            (Some("file"), None, None) => Source::File((&id).into()),
            (None, None, None) if env::var_os(&id).is_some() => Source::Variable(id.clone()),
            (None, None, None) => Source::File((&id).into()),
            (Some(_), ..) => return Err(bad(format!("the type of `{id}` must be file or env"))),
        };
        Ok(Self { id, source })
    }
}

impl Source {
    fn read(&self, id: &str) -> Result<Vec<u8>, Error> {
        let missing = |why: String| Error::SecretMissing { id: id.to_owned(), why };
        let too_large = |origin: &str, _: TooLarge| {
            missing(format!("{origin} has more than 500 KiB, which BuildKit does not take"))
        };
        let (value, origin) = match self {
            Self::File(path) => {
                let origin = format!("the file {}", path.display());
                let value = file::read(path, &BUILD_SECRET);
                let value = value.map_err(|error| match error.downcast::<TooLarge>() {
                    Ok(large) => too_large(&origin, large),
                    Err(source) => {
                        missing(Error::Unreadable { path: path.clone(), source }.to_string())
                    }
                })?;
                (value, origin)
            }
            Self::Variable(name) => {
                use std::os::unix::ffi::OsStringExt;
                let value = env::var_os(name)
                    .ok_or_else(|| missing(format!("the variable {name} is not set")))?;
                let (value, origin) = (value.into_vec(), format!("the variable {name}"));
                BUILD_SECRET
                    .admit(value.len() as u64)
                    .map_err(|large| too_large(&origin, large))?;
                (value, origin)
            }
        };
        if value.is_empty() {
            return Err(missing(format!("{origin} is empty")));
        }
        Ok(value)
    }
}

/// Reads one `--secret`'s notation, and nothing else.
pub(crate) fn check(text: &str) {
    let _spec = Spec::parse(text);
}

/// A registry's credentials, for a base image in it. Without a name the password is a token.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) host: String,
    pub(crate) username: String,
    pub(crate) password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn dockers_notation() {
        let file = |id: &str, path: &str| Spec { id: id.into(), source: Source::File(path.into()) };
        let variable =
            |id: &str, name: &str| Spec { id: id.into(), source: Source::Variable(name.into()) };
        let parse = |spec: &str| Spec::parse(spec).unwrap();
        assert_eq!(parse("id=a,src=b"), file("a", "b"));
        assert_eq!(parse("source=b,id=a,type=file"), file("a", "b"));
        assert_eq!(parse("id=a,env=B"), variable("a", "B"));
        assert_eq!(parse("env=B"), variable("B", "B"));
        assert_eq!(parse("type=env,id=B"), variable("B", "B"));
        assert_eq!(parse("id=no-such-variable"), file("no-such-variable", "no-such-variable"));
        assert_eq!(parse("id=PATH"), variable("PATH", "PATH"));
        for bad in ["", "a", "src=b", "id=,src=b", "id=a,src=b,env=C", "id=a,mode=1", "id=a,type=x"]
        {
            assert!(Spec::parse(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn an_error_does_not_repeat_what_was_given() {
        let error = Spec::parse("id=a,hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn missing_empty_and_double_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "").unwrap();
        let spec = format!("id=a,src={}", path.display());
        let load = |specs: &[&str]| {
            Secrets::load(&specs.iter().map(|&s| s.to_owned()).collect::<Vec<_>>())
        };
        let told = |specs: &[&str]| load(specs).err().unwrap().to_string();
        assert!(told(&[&spec]).contains("is empty"));
        assert!(told(&["id=a,src=/no/such/file"]).contains("/no/such/file"));
        assert!(told(&["id=a,env=NO_SUCH_VARIABLE_HERE"]).contains("NO_SUCH_VARIABLE_HERE"));
        fs::write(&path, "value").unwrap();
        assert_eq!(load(&[&spec]).unwrap().get("a"), Some(&b"value"[..]));
        assert!(told(&[&spec, &spec]).contains("twice"));
        let most = usize::try_from(BUILD_SECRET.bytes).unwrap();
        fs::write(&path, vec![b'x'; most]).unwrap();
        assert_eq!(load(&[&spec]).unwrap().get("a").unwrap().len(), most);
        fs::write(&path, vec![b'x'; most + 1]).unwrap();
        assert!(told(&[&spec]).contains("500 KiB"));
        assert!(told(&["id=a,src=/dev/zero"]).contains("500 KiB"));
    }
}
