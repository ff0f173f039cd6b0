//! Logging Docker in and out, and telling what was done to its configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use slipway_release::{Document, Failure, OtherRegistry, Registry};
use slipway_shell::{Context, Ui};

use crate::cache::Cache;
use crate::docker::{self, Credentials, Kept};
use crate::host::target;
use crate::{Error, Options};

/// Gives the logins of the document's section to Docker.
pub(crate) async fn add(
    options: &Options,
    registry: &Registry,
    context: &Context,
) -> Result<(), Error> {
    let directory = docker::directory(options.docker_directory())?;
    let own = registry.host.as_deref().and_then(|host| registry.of_host(host));
    for login in own.iter().chain(&registry.others) {
        add_one(&directory, login, &context.ui).await?;
    }
    Ok(())
}

async fn add_one(directory: &Path, login: &OtherRegistry, ui: &Ui) -> Result<(), Error> {
    let OtherRegistry { host, username: Some(username), password: Some(password), .. } = login
    else {
        return Ok(());
    };
    let file = directory.join("config.json");
    let path = file.display();
    match docker::login(directory, &Credentials { host, username, password }).await? {
        Kept::File => {
            let until = login.expires_at.as_ref();
            let until = until.map(|at| format!(", valid until {at}")).unwrap_or_default();
            ui.say(&format!(
                "{host}: login written to {path}, unencrypted{until}; `ecrlogin logout` removes it"
            ));
            let others =
                std::fs::metadata(&file).is_ok_and(|file| file.permissions().mode() & 0o044 != 0);
            if others {
                ui.warn(&format!("{path} can be read by other users: chmod 600 it"));
            }
        }
        Kept::Helper(helper) => {
            ui.say(&format!("{host}: login given to docker-credential-{helper}"));
        }
        Kept::Ours => ui.say(&format!(
            "{host}: docker asks ecrlogin itself, by {path}; no login needs to be written"
        )),
    }
    Ok(())
}

/// Takes logins out of Docker's configuration, the cache and the document: of the registries that
/// the options name, else of those of the document, else of all of Amazon ECR.
pub(crate) async fn remove(
    options: &Options,
    document: &mut Document,
    context: &Context,
) -> Result<(), Failure> {
    let given: Option<Registry> = document.get()?;
    let mut registry = given.clone().unwrap_or_default();
    let hosts = remove_all(options, &registry, context).await?;
    let out = |host: &str| hosts.iter().any(|known| known == host);
    if registry.host.as_deref().is_some_and(out) {
        registry = Registry { username: None, password: None, expires_at: None, ..registry };
    }
    for other in registry.others.iter_mut().filter(|other| out(&other.host)) {
        (other.username, other.password, other.expires_at) = (None, None, None);
    }
    if given.is_some() {
        document.set(&registry);
    }
    Ok(())
}

/// Answers of which registries.
async fn remove_all(
    options: &Options,
    registry: &Registry,
    context: &Context,
) -> Result<Vec<String>, Error> {
    let directory = docker::directory(options.docker_directory())?;
    let path = directory.join("config.json");
    let path = path.display();
    let cache = Cache::open(&context.ui);
    // Others have logins of other kinds there, which this tool has not made.
    if let Some(host) = options.registry.iter().find(|host| target(host).is_none()) {
        return Err(Error::NotEcr { host: host.clone() });
    }
    let given = options.registry.iter().map(|host| docker::host_of(host).to_owned());
    let mut hosts: Vec<String> = given.collect();
    if hosts.is_empty() {
        hosts.extend(registry.host.clone());
        hosts.extend(registry.others.iter().map(|other| other.host.clone()));
    }
    // Nor has the document a say in those.
    let named = hosts.len();
    hosts.retain(|host| target(host).is_some());
    let mut such = "";
    if named == 0 {
        hosts = docker::read(&directory)?.ecr_logins();
        hosts.extend(cache.list().into_iter().map(|(host, _)| host));
        // Of a document all are meant: what chose the image's registry did not choose the others.
        let all = hosts.len();
        hosts.retain(|host| options.means(host));
        such = if all == 0 { "" } else { "such " };
    }
    hosts.sort_unstable();
    hosts.dedup();
    if hosts.is_empty() {
        context.ui.say(&format!("no {such}login to Amazon ECR is in {path}"));
    }
    for host in &hosts {
        cache.forget(host)?;
        let was = docker::logout(&directory, host).await?;
        let done = if was { "login removed from" } else { "no login is in" };
        context.ui.say(&format!("{host}: {done} {path}"));
    }
    Ok(hosts)
}
