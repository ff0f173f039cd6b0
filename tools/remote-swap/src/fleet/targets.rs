//! Which hosts there are, and how to get to them.

use std::net::{IpAddr, SocketAddr};

use slipway_release::Failure;
use slipway_ssh::{ConnectOptions, Login, Target};

use super::usage;
use crate::env::Lookup;
use crate::error::SwapError;
use crate::job::Job;
use crate::options::{HealthKind, Options};
use crate::publish::{Protocol, Publish};

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
    let login = Login {
        identity: &options.identity,
        identity_env: options.identity_env.as_deref(),
        passphrase_env: options.identity_passphrase_env.as_deref(),
        known_hosts: options.known_hosts.as_deref(),
        host_key: &options.host_key,
        timeout: options.connect_timeout.0,
    };
    login.options(lookup)
}

/// The published port that tells of the application's health, or else the first one.
fn telling(job: &Job) -> Option<&Publish> {
    let tcp = || job.spec.publish.iter().filter(|one| one.protocol == Protocol::Tcp);
    let health = tcp().find(|one| Some(one.container_port) == job.spec.health.port);
    health.or_else(|| tcp().next())
}

/// Where the application answers on the host itself, if nobody else reaches it.
pub(crate) fn local_url(job: &Job) -> Option<String> {
    let one = telling(job)?;
    let ip = one.ip.filter(IpAddr::is_loopback)?;
    let kind = job.health_kind().map(HealthKind::as_str);
    as_asked(Some(format!("http://{}", SocketAddr::new(ip, one.host_port))), kind)
}

/// Where people reach the application on this host, if they do.
pub(crate) fn url(target: &Target, job: &Job) -> Option<String> {
    let one = telling(job)?;
    let host = match one.ip {
        Some(ip) if ip.is_loopback() => return None,
        Some(ip) if !ip.is_unspecified() => ip.to_string(),
        _ => target.host.clone(),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let kind = job.health_kind().map(HealthKind::as_str);
    as_asked(Some(format!("http://{host}:{}", one.host_port)), kind)
}

/// The address as what its health is asked by has it; none where nothing is to be asked.
pub(crate) fn as_asked(url: Option<String>, health: Option<&str>) -> Option<String> {
    let url = url?;
    let (_, place) = url.split_once("://")?;
    match health {
        Some("none") => None,
        Some("tcp" | "container") => Some(format!("tcp://{place}")),
        Some("https") => Some(format!("https://{place}")),
        _ => Some(format!("http://{place}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;
    use slipway_release::Code;

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
        let asked = |kind| as_asked(Some("http://h:80".to_owned()), Some(kind));
        assert_eq!(asked("https").as_deref(), Some("https://h:80"));
        assert_eq!(asked("tcp").as_deref(), Some("tcp://h:80"));
        assert_eq!(asked("container").as_deref(), Some("tcp://h:80"));
        assert_eq!(asked("none"), None);
        let local = |publish: &str| local_url(&job(&[&format!("--publish={publish}")]));
        assert_eq!(local("127.0.0.1:80:5000").as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(local("[::1]:80:5000").as_deref(), Some("http://[::1]:80"));
        assert_eq!(local("8000:5000"), None);
        assert_eq!(local("127.0.0.1:80:5000/udp"), None);
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
