//! What is to be built, worked out from the options before the engine hears
//! of anything.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use slipway_engine::Reference;

use crate::context::fingerprint;
use crate::error::{Error, reason};
use crate::git::Revision;
use crate::ignore;
use crate::options::Options;

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

/// The context's absolute path without links.
pub(crate) fn context(options: &Options) -> Result<PathBuf, Error> {
    let path = PathBuf::from(&options.context);
    let missing = |why: String| Error::ContextMissing { path: path.clone(), why };
    let real = path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing("does not exist".to_owned()),
        _ => missing(format!("cannot be used: {}", reason(&error))),
    })?;
    if real.is_dir() { Ok(real) } else { Err(missing("is not a directory".to_owned())) }
}

/// Finds and reads the Dockerfile: `--file` from the working directory as
/// docker takes it, else `Dockerfile` or `dockerfile` in the context.
pub(crate) fn dockerfile(options: &Options, context: &Path) -> Result<Dockerfile, Error> {
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

/// The names and the version of the image.
#[derive(Debug, PartialEq)]
pub(crate) struct Names {
    /// Every name, each with a tag; the first is the release's.
    pub(crate) all: Vec<Reference>,
}

impl Names {
    pub(crate) fn work_out(
        options: &Options,
        context: &Path,
        dockerfile: &Path,
        revision: Option<&Revision>,
    ) -> Result<Self, Error> {
        let mut given: Vec<Reference> = Vec::new();
        let default = [default_name(context)];
        for text in if options.tag.is_empty() { &default[..] } else { &options.tag } {
            let name: Reference =
                text.parse().map_err(|error: slipway_engine::ParseReferenceError| {
                    Error::BadOption { option: "--tag", why: error.to_string() }
                })?;
            if name.digest().is_some() {
                return Err(Error::BadOption {
                    option: "--tag",
                    why: format!("`{text}` has a digest, which only a registry gives"),
                });
            }
            given.push(name);
        }
        let mut version = None;
        let mut all: Vec<Reference> = Vec::new();
        for name in given {
            let name = if name.tag().is_some() {
                name
            } else {
                let version = match &version {
                    Some(known) => known,
                    None => version.insert(automatic_tag(context, dockerfile, revision)?),
                };
                name.with_tag(version)
                    .map_err(|error| Error::BadOption { option: "--tag", why: error.to_string() })?
            };
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Ok(Self { all })
    }

    /// The first tag.
    pub(crate) fn version(&self) -> &str {
        self.all.first().and_then(Reference::tag).unwrap_or_default()
    }
}

/// The tag that git and the directory's state make.
fn automatic_tag(
    context: &Path,
    dockerfile: &Path,
    revision: Option<&Revision>,
) -> Result<String, Error> {
    let state = || fingerprint(context, &ignore::rules(context, dockerfile)?);
    Ok(match revision {
        Some(Revision { commit, dirty: false, .. }) => short(commit, 12).to_owned(),
        Some(Revision { commit, dirty: true, .. }) => {
            format!("{}-dirty-{}", short(commit, 12), short(&state()?, 8))
        }
        None => format!("src-{}", short(&state()?, 12)),
    })
}

fn short(hex: &str, digits: usize) -> &str {
    hex.get(..digits).unwrap_or(hex)
}

/// The directory's name in the letters that an image's name may have.
fn default_name(context: &Path) -> String {
    let base =
        context.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let runs = base.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let name = runs.filter(|run| !run.is_empty()).collect::<Vec<_>>().join("-");
    // Long names, and 64 hexadecimal digits, which would be an id, are cut.
    let name = name.get(..60).unwrap_or(&name).trim_end_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

/// Name and value pairs of `--build-arg`, with those that are always given.
pub(crate) fn build_args(
    options: &Options,
    version: &str,
    revision: Option<&Revision>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut args = BTreeMap::from([("SLIPWAY_VERSION".to_owned(), version.to_owned())]);
    if let Some(revision) = revision {
        args.insert("SLIPWAY_REVISION".to_owned(), revision.commit.clone());
    }
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

/// The labels of the OCI image specification that git knows, and the user's.
pub(crate) fn labels(
    options: &Options,
    version: &str,
    revision: Option<&Revision>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut labels =
        BTreeMap::from([("org.opencontainers.image.version".to_owned(), version.to_owned())]);
    if let Some(revision) = revision {
        labels.insert("org.opencontainers.image.revision".to_owned(), revision.commit.clone());
        if let Some(source) = &revision.source {
            labels.insert("org.opencontainers.image.source".to_owned(), source.clone());
        }
    }
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
    use proptest::prelude::*;

    fn options(context: &Path) -> Options {
        Options::of(context)
    }

    fn revision(dirty: bool) -> Revision {
        Revision {
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            dirty,
            committed_at: None,
            source: Some("https://x/y".into()),
        }
    }

    fn texts(names: &Names) -> Vec<String> {
        names.all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_from_git_and_from_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("My App_2");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), "FROM scratch").unwrap();
        let file = context.join("Dockerfile");
        let names = |options: &Options, revision: Option<&Revision>| {
            Names::work_out(options, &context, &file, revision).unwrap()
        };
        let mut options = options(&context);

        let clean = names(&options, Some(&revision(false)));
        assert_eq!(texts(&clean), ["my-app-2:0123456789ab"]);
        let dirty = texts(&names(&options, Some(&revision(true))));
        let suffix = dirty[0].strip_prefix("my-app-2:0123456789ab-dirty-").unwrap();
        assert_eq!(suffix.len(), 8);
        let outside = texts(&names(&options, None));
        assert_eq!(outside[0].strip_prefix("my-app-2:src-").unwrap().len(), 12);

        options.tag = vec!["web".into(), "r.io/team/web:1.2".into(), "web".into()];
        let given = names(&options, Some(&revision(false)));
        assert_eq!(texts(&given), ["web:0123456789ab", "r.io/team/web:1.2"]);
        assert_eq!(given.version(), "0123456789ab");

        for bad in [
            "Web:1",
            "web:",
            "web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            options.tag = vec![bad.into()];
            assert!(Names::work_out(&options, &context, &file, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn arguments_and_labels_of_the_user_go_first() {
        let mut options = options(Path::new("."));
        let args = build_args(&options, "v1", Some(&revision(false))).unwrap();
        assert_eq!(args["SLIPWAY_VERSION"], "v1");
        assert_eq!(args["SLIPWAY_REVISION"].len(), 40);
        options.build_arg = vec!["SLIPWAY_VERSION=mine".into(), "A=b=c".into(), "PATH".into()];
        let args = build_args(&options, "v1", None).unwrap();
        assert_eq!((args["SLIPWAY_VERSION"].as_str(), args["A"].as_str()), ("mine", "b=c"));
        assert!(!args["PATH"].is_empty());
        for bad in ["NO_SUCH_VARIABLE_HERE", "=x"] {
            options.build_arg = vec![bad.into()];
            assert!(build_args(&options, "v1", None).is_err(), "{bad}");
        }
        options.label = vec!["org.opencontainers.image.version=9".into(), "empty".into()];
        let labels = labels(&options, "v1", Some(&revision(true))).unwrap();
        assert_eq!(labels["org.opencontainers.image.version"], "9");
        assert_eq!(labels["org.opencontainers.image.source"], "https://x/y");
        assert_eq!(labels["empty"], "");
    }

    #[test]
    fn missing_things_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(&dir.path().join("nope"));
        assert!(matches!(context(&options), Err(Error::ContextMissing { .. })));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        options.context = file.display().to_string();
        assert!(context(&options).unwrap_err().to_string().contains("is not a directory"));
        options.context = dir.path().display().to_string();
        let real = context(&options).unwrap();
        assert!(matches!(dockerfile(&options, &real), Err(Error::DockerfileMissing { .. })));
        fs::write(dir.path().join("Dockerfile"), " \n").unwrap();
        assert!(dockerfile(&options, &real).unwrap_err().to_string().contains("empty"));
    }

    proptest! {
        #[test]
        fn any_directory_has_a_name(name in "[^/\0]{1,80}") {
            let reference: Reference = default_name(&Path::new("/x").join(&name)).parse().unwrap();
            prop_assert!(reference.domain().is_none());
        }
    }
}
