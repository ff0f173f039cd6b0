//! What is to be built, worked out from the options before the engine hears
//! of anything.

use std::collections::BTreeMap;
use std::env;
use std::path::{Component, Path, PathBuf};

use slipway_untrusted::limit;

use crate::beneath::{Base, Fault};
use crate::error::Error;
use crate::facts::Facts;
use crate::ignore::{self, Matcher};
use crate::options::Options;
use crate::place::Place;

/// A Dockerfile, read.
#[derive(Debug, Default)]
pub(crate) struct Dockerfile {
    /// Where it is, as the user would name it.
    pub(crate) path: PathBuf,
    /// What the engine calls it.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The ignore file of its own, if there is one.
    pub(crate) ignore: Option<Vec<u8>>,
    /// The context's ignore file, if there is one.
    pub(crate) shared_ignore: Option<Vec<u8>>,
    /// What of the context is not sent: by its own ignore file, else by that of the context.
    pub(crate) rules: Matcher,
    /// Its path in the context, if it is there.
    pub(crate) inside: Option<PathBuf>,
}

/// Finds the Dockerfile. That of a directory is read: `--file` from the working directory as docker
/// takes it, else `Dockerfile` or `dockerfile` in the context. That of another context is inside it,
/// where only the engine sees it.
pub(crate) fn dockerfile(options: &Options, place: &Place) -> Result<Dockerfile, Error> {
    match place.directory() {
        Some(directory) => read(options, directory),
        None => {
            let name = options.file.clone().unwrap_or_else(|| "Dockerfile".to_owned());
            Ok(Dockerfile { path: PathBuf::from(&name), name, ..Dockerfile::default() })
        }
    }
}

/// Where a Dockerfile is read.
struct Spot {
    /// As the user would name it.
    path: PathBuf,
    /// Its own directory, where it is not in the context.
    outside: Option<Base>,
    /// Its path below that or below the context.
    below: PathBuf,
}

fn read(options: &Options, context: &Path) -> Result<Dockerfile, Error> {
    let here = Path::new(&options.context);
    let in_context = base(context, here)?;
    let shown = if here == Path::new(".") { Path::new("") } else { here };
    let missing = |path: &Path| {
        let beside = options.file.as_ref().map(|file| shown.join(file));
        let beside = beside.filter(|path| path.is_file());
        Error::DockerfileMissing { path: path.to_owned(), beside }
    };
    let spot = match &options.file {
        Some(file) => {
            spot(Path::new(file), context, here)?.ok_or_else(|| missing(file.as_ref()))?
        }
        None => usual(&in_context, shown),
    };
    let Spot { path, outside, below } = spot;
    let base = outside.as_ref().unwrap_or(&in_context);
    let bytes = base.read(&below, &limit::DOCKERFILE).map_err(|fault| match fault {
        Fault::Missing => missing(&path),
        Fault::TooLarge(why) => {
            Error::Dockerfile { path: path.clone(), line: None, why: why.to_string() }
        }
        fault => Error::of_file(&path, fault),
    })?;
    let text = text(bytes, &path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("Dockerfile").to_owned();
    let own_path = ignore::beside(&path);
    let own = ignore::read(base, &ignore::beside(&below), &own_path)?;
    let shared_path = shown.join(".dockerignore");
    let shared = ignore::read(&in_context, Path::new(".dockerignore"), &shared_path)?;
    // The rules are read here, so that a mistake in them is told by file.
    let rules = match (&own, &shared) {
        (Some(own), _) => ignore::rules(own, &own_path)?,
        (None, Some(shared)) => ignore::rules(shared, &shared_path)?,
        (None, None) => Matcher::default(),
    };
    let inside = outside.is_none().then_some(below);
    Ok(Dockerfile { path, name, text, ignore: own, shared_ignore: shared, rules, inside })
}

fn base(path: &Path, shown: &Path) -> Result<Base, Error> {
    Base::open(path, shown.to_owned())
        .map_err(|source| Error::Unreadable { path: shown.to_owned(), source })
}

/// `Dockerfile` in the context, or `dockerfile` if there is only that.
fn usual(context: &Base, shown: &Path) -> Spot {
    let missing = |name: &str| {
        matches!(context.read(Path::new(name), &limit::DOCKERFILE), Err(Fault::Missing))
    };
    let lower = missing("Dockerfile") && !missing("dockerfile");
    let below = PathBuf::from(if lower { "dockerfile" } else { "Dockerfile" });
    Spot { path: shown.join(&below), outside: None, below }
}

/// Where the file of `--file` is read: below the context if it is in it, by the real path of its
/// directory or by its name; else below its own directory, as docker does. None where there is no
/// such directory.
fn spot(file: &Path, context: &Path, shown: &Path) -> Result<Option<Spot>, Error> {
    let path = file.to_owned();
    let Some(name) = file.file_name() else { return Ok(None) };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let Ok(real) = parent.canonicalize() else { return Ok(None) };
    let by_name = || {
        let (file, context) = (std::path::absolute(file).ok()?, std::path::absolute(shown).ok()?);
        let below = file.strip_prefix(context).ok()?.to_owned();
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        plain.then_some(below)
    };
    let below = real.strip_prefix(context).map(|below| below.join(name)).ok().or_else(by_name);
    Ok(Some(match below {
        Some(below) => Spot { path, outside: None, below },
        None => Spot { path, outside: Some(base(parent, parent)?), below: name.into() },
    }))
}

fn text(bytes: Vec<u8>, path: &Path) -> Result<String, Error> {
    let bad =
        |why: &str| Error::Dockerfile { path: path.to_owned(), line: None, why: why.to_owned() };
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(bad("it is empty"));
    }
    Ok(text)
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
    use std::fs;
    use std::os::unix::fs::symlink;

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

    /// What is read for `--file FILE` in a directory beside the context `c`.
    fn with_file(top: &Path, file: &str) -> Result<Dockerfile, Error> {
        let mut options = options(&top.join("c"));
        options.file = Some(top.join(file).display().to_string());
        dockerfile(&options, &Place::Directory(top.join("c").canonicalize().unwrap()))
    }

    #[test]
    fn a_dockerfile_is_read_where_it_is_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        for directory in ["c/deploy", "other"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        for file in ["c/deploy/D", "c/real", "other/D", "secret"] {
            fs::write(top.join(file), "FROM scratch\n").unwrap();
        }
        for (target, link) in [
            ("deploy/D", "c/near"),
            ("../secret", "c/out"),
            ("../../secret", "c/deploy/out"),
            ("../other", "c/away"),
            ("../secret", "other/out"),
            ("D", "other/near"),
            ("c", "alias"),
        ] {
            symlink(target, top.join(link)).unwrap();
        }
        for (file, inside) in [
            ("c/real", Some("real")),
            ("c/near", Some("near")),
            ("c/deploy/D", Some("deploy/D")),
            ("c/deploy/../real", Some("real")),
            ("alias/real", Some("real")),
            ("other/D", None),
            ("other/near", None),
            ("c/../other/D", None),
        ] {
            let read = with_file(top, file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(read.inside.as_deref(), inside.map(Path::new), "{file}");
        }
        for file in ["c/out", "c/deploy/out", "c/away/D", "other/out"] {
            let told = with_file(top, file).unwrap_err().to_string();
            assert!(told.contains("is a link that leads out of "), "{file}: {told}");
        }
        for file in ["c/none", "none/D", "c/away/none"] {
            assert!(with_file(top, file).is_err(), "{file}");
        }
        assert!(with_file(top, "c/deploy").unwrap_err().to_string().ends_with("is a directory"));
    }

    #[test]
    fn the_dockerfiles_own_rules_go_first_even_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let excluded = || {
            let place = Place::Directory(dir.path().canonicalize().unwrap());
            let read = dockerfile(&options(dir.path()), &place).unwrap();
            ["secret", "other"].map(|path| read.rules.matches(path, None).0)
        };
        write("Dockerfile", "FROM scratch\n");
        assert_eq!(excluded(), [false, false]);
        write(".dockerignore", "secret\n");
        assert_eq!(excluded(), [true, false]);
        write("Dockerfile.dockerignore", "other\n");
        assert_eq!(excluded(), [false, true]);
        write("Dockerfile.dockerignore", "");
        assert_eq!(excluded(), [false, false]);
        fs::remove_file(dir.path().join("Dockerfile.dockerignore")).unwrap();
        symlink("nowhere", dir.path().join("Dockerfile.dockerignore")).unwrap();
        assert_eq!(excluded(), [true, false]);
    }
}
