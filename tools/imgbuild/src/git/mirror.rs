//! A git directory of our own in the place of a repository's.
//!
//! Git obeys the configuration of the directory that it is given. So it is given one that has links
//! to what holds facts (objects, references, the index) and a configuration that has only what
//! [`Config`] lets through: there are no hooks, no programs, no addresses, and nothing is included.
//! A list of settings to turn off would have to know of each that git will ever have.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use slipway_untrusted::file::open_regular;
use slipway_untrusted::limit::{GIT_FILE, GIT_OUTPUT};
use tempfile::TempDir;
use tokio::process::Command;

use super::checkout::{Checkout, head};
use super::config::Config;
use super::environment::{Git, is_outside};
use super::first_reason;
use crate::program;

/// What all work trees share. Alternates of `objects` are followed: what is read there is asked for
/// by its hash, and nothing of it runs.
const COMMON: &[&str] =
    &["objects", "packed-refs", "refs", "reftable", "shallow", "info/attributes", "info/exclude"];
/// What each has for itself. `sharedindex.*` belongs to it as well.
const OWN: &[&str] = &["index", "refs", "reftable", "info/sparse-checkout"];
/// How the parts of a split index begin (git-update-index(1), "Split index").
const SHARED_INDEX: &str = "sharedindex.";

/// A repository as git may see it.
#[derive(Debug)]
pub(crate) struct Mirror<'a> {
    git: &'a Git,
    top: PathBuf,
    pub(crate) config: Config,
    /// Whether repositories of submodules are kept in it.
    pub(crate) has_modules: bool,
    directory: TempDir,
}

impl<'a> Mirror<'a> {
    /// Makes one of the repository of a work tree.
    ///
    /// # Errors
    /// Why the repository cannot be read.
    pub(crate) async fn of(git: &'a Git, checkout: &Checkout) -> Result<Self, String> {
        let mut config = Config::default();
        read(git, &checkout.common.join("config"), &mut config).await?;
        if config.worktree_config {
            read(git, &checkout.git.join("config.worktree"), &mut config).await?;
        }
        if let Some(extension) = config.unknown_extension() {
            return Err(format!("the repository has an extension that is not known: {extension}"));
        }
        checkout.belongs(&config)?;
        let unread = |error: io::Error| format!("{}: {error}", checkout.git.display());
        let head = head(&checkout.git)
            .map_err(|error| format!("{}: {error}", checkout.git.join("HEAD").display()))?;
        let directory = fill(checkout, &head, &config.text()).map_err(unread)?;
        let has_modules = [&checkout.git, &checkout.common]
            .iter()
            .any(|path| path.join("modules").symlink_metadata().is_ok());
        Ok(Self { git, top: checkout.top.clone(), config, has_modules, directory })
    }

    /// The git that reads it.
    pub(crate) fn git(&self) -> &Git {
        self.git
    }

    /// A command in a directory of the work tree.
    pub(crate) fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let git_directory = self.directory.path().join("own");
        let mut command = self.git.command_in(directory, &git_directory, &self.top);
        command.args(arguments);
        command
    }
}

/// Reads a file of configuration; one that is not there says nothing.
async fn read(git: &Git, path: &Path, config: &mut Config) -> Result<(), String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let text = match open_regular(path).and_then(|file| GIT_FILE.read(file)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let mut command = git.command();
    command.args(["config", "--file", "-", "--no-includes", "--list", "-z"]);
    let ended = program::output(&mut command, &text, &GIT_OUTPUT).await;
    let ended = ended.map_err(|error| failed(error.to_string()))?;
    if !ended.success {
        return Err(failed(first_reason(&ended.told)));
    }
    config.read(&ended.output);
    Ok(())
}

fn fill(checkout: &Checkout, head: &str, config: &str) -> io::Result<TempDir> {
    let directory = place(&checkout.top)?;
    let (own, common) = (directory.path().join("own"), directory.path().join("common"));
    for part in [&own, &common] {
        fs::create_dir_all(part.join("info"))?;
        fs::write(part.join("HEAD"), format!("{head}\n"))?;
    }
    fs::write(own.join("commondir"), "../common\n")?;
    fs::write(common.join("config"), config)?;
    link(&checkout.common, &common, COMMON)?;
    link(&checkout.git, &own, OWN)?;
    for entry in fs::read_dir(&checkout.git)? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with(SHARED_INDEX) {
            symlink(checkout.git.join(&name), own.join(&name))?;
        }
    }
    Ok(directory)
}

fn link(from: &Path, to: &Path, names: &[&str]) -> io::Result<()> {
    for name in names {
        if from.join(name).exists() {
            symlink(from.join(name), to.join(name))?;
        }
    }
    Ok(())
}

/// A private directory outside of the work tree, of which it would be a new file.
fn place(top: &Path) -> io::Result<TempDir> {
    let usual = std::env::temp_dir();
    let place = [&usual, Path::new("/tmp"), Path::new("/var/tmp")]
        .into_iter()
        .find(|path| path.is_dir() && is_outside(path, Some(top)));
    let place = place.ok_or_else(|| io::Error::other("there is no temporary directory"))?;
    tempfile::Builder::new().prefix("slipway-git-").tempdir_in(place)
}
