//! What is waited for: the targets that were given, or those that the document names.

use slipway_probe::Target;
use slipway_release::{Deploy, Document, Failure, HostOutcome, Outcome};
use slipway_untrusted::Untrusted;

use crate::Options;
use crate::error::Error;

/// One thing to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    /// How it is called; never with a user or a password.
    pub(crate) name: String,
    pub(crate) target: Target,
    /// The host that it is reached through, where it is its own that nobody else reaches.
    pub(crate) through: Option<slipway_ssh::Target>,
}

/// All that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Goals {
    pub(crate) goals: Vec<Goal>,
    /// Hosts that were deployed to and have nothing that could be asked.
    pub(crate) silent: Vec<String>,
}

impl Goals {
    /// The targets that were given go before the document's.
    pub(crate) fn new(options: &Options, document: &Document) -> Result<Self, Failure> {
        if options.target.is_empty() {
            return Self::deployed(document);
        }
        let goal = |given: &crate::Text<Target>| {
            let target = given.value.clone();
            let secret = matches!(&target, Target::Http(url) if url.login.is_some());
            let name = if secret { target.to_string() } else { given.text.clone() };
            Goal { name, target, through: None }
        };
        Ok(Self { goals: options.target.iter().map(goal).collect(), silent: Vec::new() })
    }

    /// Those of the document.
    pub(crate) fn deployed(document: &Document) -> Result<Self, Failure> {
        Ok(deployed(document.get()?)?)
    }
}

/// The targets of the document: where the release was deployed to, or served already.
fn deployed(deploy: Option<Deploy>) -> Result<Goals, Error> {
    let Some(deploy) = deploy else {
        return Err(Error::NoTarget { reason: "no target is given and nothing was deployed" });
    };
    let mut found = Goals::default();
    for (index, host) in deploy.hosts.iter().enumerate() {
        if !matches!(host.outcome, Some(Outcome::Deployed | Outcome::Unchanged)) {
            continue;
        }
        match goal(index, host, deploy.health_path.as_deref())? {
            Some(goal) => found.goals.push(goal),
            None => found.silent.push(Untrusted::new(&*host.host).to_string()),
        }
    }
    if found.goals.is_empty() && found.silent.is_empty() {
        let reason = "no target is given and no host was deployed to";
        return Err(Error::NoTarget { reason });
    }
    Ok(found)
}

/// What is asked of one host.
fn goal(index: usize, host: &HostOutcome, path: Option<&str>) -> Result<Option<Goal>, Error> {
    let place = |field: &str| format!("deploy.hosts[{index}].{field}");
    let (field, url, through) = match (&host.url, &host.local_url) {
        (Some(url), _) => ("url", url, None),
        (None, Some(url)) => {
            let through = ssh_host(&host.host)
                .map_err(|reason| Error::BadUrl { place: place("host"), reason })?;
            ("local_url", url, Some(through))
        }
        (None, None) => return Ok(None),
    };
    let bad = |reason: String| Error::BadUrl { place: place(field), reason };
    let mut target: Target = url.parse().map_err(|error: slipway_probe::FormError| {
        bad(Untrusted::new(error.to_string()).to_string())
    })?;
    // What this machine or the host has behind sockets is nothing that a document may ask.
    let local = match &target {
        Target::Http(url) if url.socket.is_none() => url.address.is_loopback(),
        Target::Tcp(address) | Target::Tls(address) => address.is_loopback(),
        _ => {
            return Err(
                bad("only http, https, h2c, tcp and tls lead to an application".to_owned()),
            );
        }
    };
    if through.is_some() && !local {
        return Err(bad("it is not a loopback address".to_owned()));
    }
    if let (Target::Http(url), Some(path)) = (&mut target, path) {
        url.set_path(path).map_err(|error| Error::BadUrl {
            place: "deploy.health_path".to_owned(),
            reason: Untrusted::new(error.to_string()).to_string(),
        })?;
    }
    Ok(Some(Goal { name: target.to_string(), target, through }))
}

/// A host to log in to; what is wrong is told without a password that the text may hold.
pub(crate) fn ssh_host(text: &str) -> Result<slipway_ssh::Target, String> {
    let login = text.rsplit_once('@').map_or("", |(login, _)| login);
    if login.trim_start_matches("ssh://").contains(':') {
        return Err("SSH takes no password here: write USER@HOST[:PORT], and give a key".to_owned());
    }
    text.parse().map_err(|error: slipway_ssh::Error| Untrusted::new(error.to_string()).to_string())
}

#[cfg(test)]
mod tests;
