//! Which hosts there are, and how to get to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_release::{Code, Failure};
use slipway_ssh::{ConnectOptions, Credential, HostKeyPolicy, Target, default_credentials};

use super::usage;
use crate::env::Lookup;
use crate::error::SwapError;
use crate::job::Job;
use crate::options::Options;
use crate::publish::Protocol;

/// How soon a silent host is asked for a sign of life: in the middle of a switch a connection
/// that is lost has to be noticed soon.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// The hosts, in order.
pub(super) fn targets(hosts: &[String]) -> Result<Vec<Target>, Failure> {
    if hosts.is_empty() {
        return Err(usage("no host is given".to_owned()).hint("give --host USER@HOST"));
    }
    let mut targets = Vec::<Target>::new();
    for text in hosts {
        let target: Target = text
            .parse()
            .map_err(|error: slipway_ssh::Error| SwapError::Host(error.into()).failure("--host"))?;
        if targets.contains(&target) {
            return Err(usage(format!("--host {target} is given twice")));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// How all of them are connected to.
pub(super) fn connect_options(
    options: &Options,
    lookup: Lookup<'_>,
) -> Result<ConnectOptions, Failure> {
    let mut credentials: Vec<Credential> = options
        .identity
        .iter()
        .map(|path| Credential::KeyFile { path: PathBuf::from(path), passphrase: None })
        .collect();
    if let Some(name) = &options.identity_env {
        let pem = lookup(name).filter(|pem| !pem.trim().is_empty()).ok_or_else(|| {
            usage(format!("--identity-env {name}: the environment has no such variable"))
        })?;
        credentials.push(Credential::KeyMemory {
            pem: pem.into(),
            label: name.clone(),
            passphrase: None,
        });
    }
    if credentials.is_empty() {
        credentials = default_credentials();
    }
    let host_keys = match (&options.host_key[..], &options.known_hosts) {
        ([], None) => HostKeyPolicy::default(),
        ([], Some(file)) => HostKeyPolicy::KnownHosts(vec![named_file(file)?]),
        (keys, None) => HostKeyPolicy::Fingerprints(keys.to_vec()),
        (_, Some(_)) => {
            return Err(usage("--host-key and --known-hosts exclude each other".to_owned()));
        }
    };
    let timeout = options.connect_timeout.0;
    Ok(ConnectOptions { host_keys, credentials, timeout, keepalive: KEEPALIVE })
}

/// A file of known hosts that was named: one that is missing is a slip, not an empty one.
fn named_file(path: &str) -> Result<PathBuf, Failure> {
    if Path::new(path).exists() {
        return Ok(PathBuf::from(path));
    }
    let message = format!("--known-hosts {path}: there is no such file");
    Err(Failure::new(Code::FileUnreadable, message)
        .hint("ssh-keyscan HOST prints its lines; compare them with the host's own keys"))
}

/// Where people reach the application on this host, if they do.
pub(crate) fn url(target: &Target, job: &Job) -> Option<String> {
    let tcp = || job.spec.publish.iter().filter(|one| one.protocol == Protocol::Tcp);
    let health = tcp().find(|one| Some(one.container_port) == job.spec.health.port);
    let one = health.or_else(|| tcp().next())?;
    let host = match one.ip {
        Some(ip) if ip.is_loopback() => return None,
        Some(ip) if !ip.is_unspecified() => ip.to_string(),
        _ => target.host.clone(),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some(format!("http://{host}:{}", one.host_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;
    use crate::spec::tests::options;

    fn failure_of(args: &[&str]) -> Failure {
        connect_options(&options(args), &|_| None).unwrap_err()
    }

    #[test]
    fn ways_to_log_in_that_cannot_work() {
        let missing = failure_of(&["--known-hosts=/does/not/exist"]);
        assert_eq!(missing.code, Code::FileUnreadable);
        let both = failure_of(&["--known-hosts=x", "--host-key=SHA256:x"]);
        assert_eq!(both.code, Code::Usage);
        let unset = failure_of(&["--identity-env=KEY"]);
        assert!(unset.message.contains("KEY"), "{}", unset.message);
    }

    #[test]
    fn the_address_is_one_that_others_can_reach() {
        let url = |publish: &str, host: &str| {
            url(&host.parse().unwrap(), &job(&[&format!("--publish={publish}")]))
        };
        assert_eq!(url("8000:5000", "a@h").as_deref(), Some("http://h:8000"));
        assert_eq!(url("8000:5000", "a@[::1]:2222").as_deref(), Some("http://[::1]:8000"));
        assert_eq!(url("10.0.0.7:80:5000", "a@h").as_deref(), Some("http://10.0.0.7:80"));
        assert_eq!(url("127.0.0.1:80:5000", "a@h"), None);
        assert_eq!(url("80:5000/udp", "a@h"), None);
    }

    #[test]
    fn hosts_are_read_before_any_is_touched() {
        assert_eq!(targets(&[]).unwrap_err().code, Code::Usage);
        let bad = targets(&["a@h".into(), "a@h:x".into()]).unwrap_err();
        assert_eq!(bad.code, Code::Usage);
        assert!(bad.message.contains("a@h:x"), "{}", bad.message);
        let twice = targets(&["a@h".into(), "a@h:22".into()]).unwrap_err();
        assert!(twice.message.contains("twice"), "{}", twice.message);
    }
}
