//! Making Docker ask this tool for logins, and no longer.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use slipway_release::{Document, Failure};
use slipway_shell::{Context, Ui};

use crate::docker::{self, DockerError, HELPER, HelperChange, is_ours};
use crate::login::Login;
use crate::token::{self, Target};
use crate::wanted::{self, Named};
use crate::{Error, Options};

/// Makes the helper a program that Docker finds, and names it for the registries: those of the
/// options, that of the document, or the caller's own, for which AWS is asked.
pub(crate) async fn install(
    options: &Options,
    document: &Document,
    context: &Context,
) -> Result<(), Failure> {
    let registry = document.get()?.unwrap_or_default();
    let wanted = wanted::wanted(options, Named::of(document, &registry)?)?;
    let login = Login::new(options);
    let limit = options.timeout;
    let hosts = tokio::time::timeout(limit.0, hosts(&wanted.asked, &login));
    let hosts = hosts.await.map_err(|_| Error::Deadline { limit, doing: login.last_doing() })??;
    Ok(install_for(options, &hosts, &context.ui).await?)
}

/// The host names of the registries; of the caller's own it is asked for.
async fn hosts(targets: &[Target], login: &Login) -> Result<Vec<String>, Error> {
    let mut hosts = Vec::new();
    for target in targets {
        hosts.push(match &target.host {
            Some(host) => host.clone(),
            None => token::fetch(target, login).await?.host,
        });
    }
    Ok(hosts)
}

async fn install_for(options: &Options, hosts: &[String], ui: &Ui) -> Result<(), Error> {
    let name = helper_name(options.profile.as_deref())?;
    let program = std::env::current_exe().map_err(|source| DockerError::Link {
        path: PathBuf::from(format!("docker-credential-{name}")),
        reason: format!("it is not known where ecrlogin is: {source}"),
    })?;
    let link = link(&program, &name, options.helper_dir.as_deref(), ui)?;
    look_for(&link, ui);
    let directory = docker::directory(options.docker_directory())?;
    for host in hosts {
        name_in(&directory, host, &name, ui).await?;
    }
    Ok(())
}

/// Names the helper for a registry in Docker's configuration.
async fn name_in(directory: &Path, host: &str, name: &str, ui: &Ui) -> Result<(), Error> {
    let path = directory.join("config.json");
    let path = path.display();
    let change =
        |config: &mut docker::Config| (config.set_helper(host, name), config.has_password(host));
    let (change, password) = docker::edit(directory, change).await?;
    ui.say(&match change {
        HelperChange::None => format!("{host}: {path} names {name} in credHelpers already"),
        HelperChange::Added => format!("{host}: {path} now names {name} in credHelpers"),
        HelperChange::Replaced(old) => {
            format!("{host}: {path} now names {name} in credHelpers, where it named {old}")
        }
    });
    if password {
        ui.warn(&format!(
            "{path} still has a password for {host}, which docker uses no more: `ecrlogin logout --registry {host}` removes it"
        ));
    }
    Ok(())
}

/// Takes the helper out of Docker's configuration: for the registries of the options, else for all.
pub(crate) async fn remove(options: &Options, context: &Context) -> Result<(), Error> {
    let directory = docker::directory(options.docker_directory())?;
    let path = directory.join("config.json");
    let own = options.profile.as_deref().map(|profile| helper_name(Some(profile))).transpose()?;
    let is_meant = |helper: &str| own.as_ref().map_or_else(|| is_ours(helper), |own| own == helper);
    let config = docker::read(&directory)?;
    let mut hosts = config.hosts_of(is_meant);
    hosts.retain(|host| options.means(host));
    if hosts.is_empty() {
        let such = if config.hosts_of(is_ours).is_empty() { "" } else { "such " };
        context.ui.say(&format!("{} names ecrlogin for no {such}registry", path.display()));
        return Ok(());
    }
    docker::edit(&directory, |config| hosts.iter().for_each(|host| config.remove_helper(host)))
        .await?;
    for host in hosts {
        context.ui.say(&format!("{host}: {} no longer names ecrlogin", path.display()));
    }
    Ok(())
}

/// The helper's name in Docker's configuration. A helper gets no arguments, so a profile is a part of
/// its name.
fn helper_name(profile: Option<&str>) -> Result<String, DockerError> {
    let Some(profile) = profile else { return Ok(HELPER.to_owned()) };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if profile.is_empty() || !profile.chars().all(plain) {
        return Err(DockerError::Profile { profile: profile.to_owned() });
    }
    Ok(format!("{HELPER}-{profile}"))
}

/// Makes the link by which the program is the helper, unless it is there.
fn link(
    program: &Path,
    name: &str,
    directory: Option<&str>,
    ui: &Ui,
) -> Result<PathBuf, DockerError> {
    let home = program.parent().unwrap_or(Path::new("."));
    let directory = directory.map_or(home, Path::new);
    let path = directory.join(format!("docker-credential-{name}"));
    let failed = |reason: String| DockerError::Link { path: path.clone(), reason };
    if is_same(&path, program) {
        ui.say(&format!("{} is there already", path.display()));
        return Ok(path);
    }
    // Beside the program, a relative link: both may be moved together.
    let target = match program.file_name() {
        Some(name) if directory == home => Path::new(name),
        _ => program,
    };
    if path.is_symlink() && !path.exists() {
        fs::remove_file(&path).map_err(|error| failed(error.to_string()))?;
    }
    match symlink(target, &path) {
        Ok(()) => {
            ui.say(&format!("made {}, a link to {}", path.display(), program.display()));
            Ok(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(failed("something else is there".to_owned()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// Warns where Docker would find another program by that name, or none.
fn look_for(link: &Path, ui: &Ui) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = link.file_name().unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join(name));
    match programs.find(|program| program.exists()) {
        Some(first) if is_same(&first, link) => {}
        Some(first) => ui.warn(&format!(
            "docker finds {} first, which is another program: take it away, or put {} before it in PATH",
            first.display(),
            link.parent().unwrap_or(link).display(),
        )),
        None => ui.warn(&format!(
            "docker does not find it: {} is not in PATH",
            link.parent().unwrap_or(link).display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Ui {
        Ui::new("ecrlogin", Box::new(io::sink()), false)
    }

    #[test]
    fn a_profile_is_a_part_of_the_name() {
        assert_eq!(helper_name(None).unwrap(), "ecrlogin");
        assert_eq!(helper_name(Some("prod.eu-1_a")).unwrap(), "ecrlogin-prod.eu-1_a");
        for wrong in ["", "a/b", "a b", "é"] {
            assert!(helper_name(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_link_is_made_once_and_replaces_nothing_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("ecrlogin");
        fs::write(&program, "").unwrap();
        let made = link(&program, "ecrlogin", None, &quiet()).unwrap();
        assert_eq!(fs::read_link(&made).unwrap(), Path::new("ecrlogin"));
        assert_eq!(link(&program, "ecrlogin", None, &quiet()).unwrap(), made);

        let elsewhere = directory.path().join("bin");
        fs::create_dir(&elsewhere).unwrap();
        symlink("gone", elsewhere.join("docker-credential-ecrlogin")).unwrap();
        let made = link(&program, "ecrlogin", elsewhere.to_str(), &quiet()).unwrap();
        assert_eq!(fs::read_link(&made).unwrap(), program);
        fs::write(elsewhere.join("docker-credential-ecrlogin-x"), "other").unwrap();
        assert!(link(&program, "ecrlogin-x", elsewhere.to_str(), &quiet()).is_err());
        fs::hard_link(&program, elsewhere.join("docker-credential-ecrlogin-y")).unwrap();
        assert!(link(&program, "ecrlogin-y", elsewhere.to_str(), &quiet()).is_ok());
    }
}
