//! What is to be built, worked out from the options before the engine hears
//! of anything.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::facts::Facts;
use crate::ignore;
use crate::options::Options;
use crate::place::Place;

/// A Dockerfile, read.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    /// Where it is, as the user would name it.
    pub(crate) path: PathBuf,
    /// What the engine calls it.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The ignore file of its own, if there is one.
    pub(crate) ignore: Option<Vec<u8>>,
}

/// Finds the Dockerfile. That of a directory is read: `--file` from the working directory as docker
/// takes it, else `Dockerfile` or `dockerfile` in the context. That of another context is inside it,
/// where only the engine sees it.
pub(crate) fn dockerfile(options: &Options, place: &Place) -> Result<Dockerfile, Error> {
    match place.directory() {
        Some(directory) => read(options, directory),
        None => {
            let name = options.file.clone().unwrap_or_else(|| "Dockerfile".to_owned());
            let path = PathBuf::from(&name);
            Ok(Dockerfile { path, name, text: String::new(), ignore: None })
        }
    }
}

fn read(options: &Options, context: &Path) -> Result<Dockerfile, Error> {
    let shown = Path::new(&options.context);
    let path = match &options.file {
        Some(file) => PathBuf::from(file),
        None => {
            let shown = if shown == Path::new(".") { Path::new("") } else { shown };
            let lower = shown.join("dockerfile");
            let usual = shown.join("Dockerfile");
            if !usual.exists() && lower.exists() { lower } else { usual }
        }
    };
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            let beside =
                options.file.as_ref().map(|file| shown.join(file)).filter(|path| path.is_file());
            Error::DockerfileMissing { path: path.clone(), beside }
        }
        _ => Error::Unreadable { path: path.clone(), source: error },
    })?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Dockerfile {
        path: path.clone(),
        line: None,
        why: "it is not UTF-8 text".to_owned(),
    })?;
    if text.trim().is_empty() {
        return Err(Error::Dockerfile { path, line: None, why: "it is empty".to_owned() });
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("Dockerfile").to_owned();
    // The rules are read here too, so that a mistake in them is told by file.
    ignore::rules(context, &path)?;
    let mut own = path.clone().into_os_string();
    own.push(".dockerignore");
    Ok(Dockerfile { name, text, ignore: fs::read(own).ok(), path })
}

/// Name and value pairs of `--build-arg`, with those that are always given.
pub(crate) fn build_args(
    options: &Options,
    facts: &Facts,
) -> Result<BTreeMap<String, String>, Error> {
    let mut args = facts.build_args();
    for text in &options.build_arg {
        let bad = |why: String| Error::BadOption { option: "--build-arg", why };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = env::var(text)
                    .map_err(|_| bad(format!("the variable {text} is not set or not text")))?;
                (text.as_str(), value)
            }
        };
        if name.is_empty() {
            return Err(bad("a name is missing".to_owned()));
        }
        args.insert(name.to_owned(), value);
    }
    Ok(args)
}

/// The labels that follow from the source, and the user's.
pub(crate) fn labels(options: &Options, facts: &Facts) -> Result<BTreeMap<String, String>, Error> {
    let mut labels = facts.labels();
    for text in &options.label {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            return Err(Error::BadOption { option: "--label", why: "a key is missing".to_owned() });
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(context: &Path) -> Options {
        Options::of(context)
    }

    #[test]
    fn arguments_and_labels_of_the_user_go_first() {
        let mut options = options(Path::new("."));
        let facts = Facts { version: "v1".into(), ..Facts::default() };
        options.build_arg = vec!["SLIPWAY_VERSION=mine".into(), "A=b=c".into(), "PATH".into()];
        let args = build_args(&options, &facts).unwrap();
        assert_eq!((args["SLIPWAY_VERSION"].as_str(), args["A"].as_str()), ("mine", "b=c"));
        assert!(!args["PATH"].is_empty());
        for bad in ["NO_SUCH_VARIABLE_HERE", "=x"] {
            options.build_arg = vec![bad.into()];
            assert!(build_args(&options, &facts).is_err(), "{bad}");
        }
        options.label = vec!["org.opencontainers.image.version=9".into(), "empty".into()];
        let labels = labels(&options, &facts).unwrap();
        assert_eq!(labels["org.opencontainers.image.version"], "9");
        assert_eq!(labels["empty"], "");
    }

    #[test]
    fn missing_things_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        let real = Place::Directory(dir.path().to_owned());
        assert!(matches!(dockerfile(&options, &real), Err(Error::DockerfileMissing { .. })));
        fs::write(dir.path().join("Dockerfile"), " \n").unwrap();
        assert!(dockerfile(&options, &real).unwrap_err().to_string().contains("empty"));
    }
}
