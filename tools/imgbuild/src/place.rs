//! Where what is built comes from: a directory, a tar archive, or an address
//! that the engine fetches itself.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use slipway_untrusted::clean_line;
use slipway_untrusted::file::open_regular;

use crate::archive;
use crate::error::{Error, reason};
use crate::git;

/// The build's context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory: its absolute path without links.
    Directory(PathBuf),
    /// A tar archive, compressed or not: a file, a named pipe, or a descriptor as `/dev/fd/3`.
    Archive(PathBuf),
    /// A repository, of which the engine fetches one commit.
    Repository(Repository),
    /// Another address, of a tar archive.
    Address(String),
}

/// `REPOSITORY#REFERENCE:DIRECTORY`, in which all but the first may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The repository's URL.
    pub(crate) url: String,
    /// A branch, a tag or a commit.
    pub(crate) reference: Option<String>,
    pub(crate) directory: Option<String>,
}

impl Repository {
    /// The address in the engine's notation, of this commit where it is known: so nothing that
    /// happens to the branch in the meantime changes what is built.
    pub(crate) fn address(&self, commit: Option<&str>) -> String {
        let reference = commit.or(self.reference.as_deref()).unwrap_or_default();
        let directory = self.directory.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
        if reference.is_empty() && directory.is_empty() {
            return self.url.clone();
        }
        format!("{}#{reference}{directory}", self.url)
    }
}

impl Place {
    /// Reads the argument: an address by its form, else by what is there.
    pub(crate) fn of(text: &str) -> Result<Self, Error> {
        if is_repository(text) {
            return repository(text).map(Self::Repository);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            without_password(text)?;
            return Ok(Self::Address(text.to_owned()));
        }
        let path = PathBuf::from(text);
        let missing = |why: String| Error::ContextMissing { path: path.clone(), why };
        let real = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing("does not exist".to_owned()),
            _ => missing(format!("cannot be used: {}", reason(&error))),
        });
        // The link of a descriptor leads to a name that is no path.
        let Ok(meta) = path.metadata() else { return real.map(Self::Directory) };
        if meta.is_dir() {
            return real.map(Self::Directory);
        }
        // What comes through a pipe is looked at when it is sent.
        if meta.is_file() {
            let mut head = Vec::with_capacity(archive::HEAD);
            let unreadable = |source| Error::Unreadable { path: path.clone(), source };
            let file = open_regular(&path).map_err(unreadable)?;
            file.take(archive::HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
            if !archive::begins(&head) {
                return Err(Error::NoArchive { path });
            }
        }
        Ok(Self::Archive(path))
    }

    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            _ => None,
        }
    }

    /// The name that an image of this gets, if there is one.
    pub(crate) fn name(&self) -> Option<String> {
        let base = match self {
            Self::Directory(path) => path.file_name()?.to_string_lossy().into_owned(),
            Self::Repository(Repository { url, directory, .. }) => {
                let last = |path: &str| {
                    let path = path.trim_end_matches(['/', '.']);
                    path.rsplit(['/', ':'])
                        .next()
                        .filter(|name| !name.is_empty())
                        .map(str::to_owned)
                };
                directory
                    .as_deref()
                    .and_then(last)
                    .or_else(|| last(url.strip_suffix(".git").unwrap_or(url)))?
            }
            Self::Archive(_) | Self::Address(_) => return None,
        };
        Some(base)
    }
}

/// Docker's rule for what is a repository.
pub(crate) fn is_repository(text: &str) -> bool {
    let before = text.split('#').next().unwrap_or(text);
    let http = text.starts_with("http://") || text.starts_with("https://");
    (http && before.ends_with(".git"))
        || ["git://", "ssh://", "git@", "github.com/"].iter().any(|start| text.starts_with(start))
}

fn repository(text: &str) -> Result<Repository, Error> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    without_password(url)?;
    let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let bad = |why: String| Error::BadOption { option: "the context", why };
    // They become arguments of git, and of ssh (git-check-ref-format(1); RFC 3986, section 2).
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if reference.starts_with('-') || reference.contains(odd) {
        let shown = clean_line(reference);
        return Err(bad(format!("`{shown}` is not the name of a branch, a tag or a commit")));
    }
    if url.contains(|c: char| c.is_control() || c.is_whitespace()) || host(url).starts_with('-') {
        return Err(bad(format!("`{}` is not the address of a repository", clean_line(url))));
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let url =
        if url.starts_with("github.com/") { format!("https://{url}") } else { url.to_owned() };
    Ok(Repository { url, reference: some(reference), directory: some(directory) })
}

/// The host of a repository's address, as it is written there.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// What is in an address is told by the process list, the engine's account and the cache's list.
pub(crate) fn without_password(url: &str) -> Result<(), Error> {
    if git::without_credentials(url) == url {
        return Ok(());
    }
    Err(Error::BadOption {
        option: "the context",
        why: format!(
            "{} has a user or a password in its address, which many would see; give a token for git \
             as --secret id=GIT_AUTH_TOKEN,env=NAME, or use ssh with --ssh default",
            git::without_credentials(url)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Repository {
        match Place::of(text).unwrap() {
            Place::Repository(repository) => repository,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_by_their_form() {
        let whole = of("https://example.com/team/web.git#v1.2:deploy/app");
        assert_eq!(whole.url, "https://example.com/team/web.git");
        assert_eq!(whole.reference.as_deref(), Some("v1.2"));
        assert_eq!(whole.directory.as_deref(), Some("deploy/app"));
        assert_eq!(whole.address(None), "https://example.com/team/web.git#v1.2:deploy/app");
        assert_eq!(whole.address(Some("ab")), "https://example.com/team/web.git#ab:deploy/app");
        assert_eq!(
            of("git@example.com:team/web.git").address(None),
            "git@example.com:team/web.git"
        );
        assert_eq!(of("github.com/team/web#:sub").url, "https://github.com/team/web");
        assert_eq!(
            of("github.com/team/web#:sub").address(None),
            "https://github.com/team/web#:sub"
        );
        let address = Place::of("https://example.com/context.tar.gz").unwrap();
        assert_eq!(address, Place::Address("https://example.com/context.tar.gz".into()));
        for bad in [
            "ssh://-oProxyCommand=x/web.git",
            "ssh://git@-oProxyCommand=x/web.git",
            "git@-oProxyCommand=x:web.git",
            "git://example.com/web.git\nhost=evil.example",
            "https://example.com/web.git#--upload-pack=x",
            "https://example.com/web.git#a b",
            "https://example.com/web.git#refs/heads/*",
            "https://example.com/web.git#\u{1b}[2J",
        ] {
            let told = Place::of(bad).unwrap_err().to_string();
            assert!(told.starts_with("the context: ") && !told.contains('\u{1b}'), "{told}");
        }
        for bad in [
            "https://user:pw@example.com/web.git",
            "https://token@example.com/x.tar",
            "git://example.com/web.git#--upload-pack=x",
        ] {
            let told = Place::of(bad).unwrap_err().to_string();
            assert!(!told.contains("pw@") && !told.contains("token@"), "{told}");
        }
    }

    #[test]
    fn files_are_archives() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("context.tar");
        assert!(matches!(Place::of(file.to_str().unwrap()), Err(Error::ContextMissing { .. })));
        std::fs::write(&file, "FROM scratch").unwrap();
        assert!(matches!(Place::of(file.to_str().unwrap()), Err(Error::NoArchive { .. })));
        std::fs::write(&file, [0x1f, 0x8b, 8, 0]).unwrap();
        assert_eq!(Place::of(file.to_str().unwrap()).unwrap(), Place::Archive(file));
        assert!(matches!(Place::of(dir.path().to_str().unwrap()), Ok(Place::Directory(_))));
    }

    #[test]
    fn names_for_images() {
        let name = |text: &str| Place::of(text).unwrap().name();
        assert_eq!(name("https://example.com/team/web.git#v1").as_deref(), Some("web"));
        assert_eq!(name("https://example.com/team/web.git#:apps/api/").as_deref(), Some("api"));
        assert_eq!(name("git@example.com:web.git").as_deref(), Some("web"));
        assert_eq!(name("https://example.com/x.tar"), None);
    }
}
