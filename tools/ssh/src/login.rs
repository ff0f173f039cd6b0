//! How a tool logs in, as its options say it: the same ones for every tool that does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_release::{Code, Failure, Secret};

use crate::options::{ConnectOptions, Credential, HostKeyPolicy, default_credentials};

/// How soon a silent host is asked for a sign of life: in the middle of a switch a connection
/// that is lost has to be noticed soon.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// The options of a login, as they were given.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// `--identity`: files of private keys.
    pub identity: &'a [String],
    /// `--identity-env`: the variable that holds one.
    pub identity_env: Option<&'a str>,
    /// `--identity-passphrase-env`: the variable that holds the passphrase of these keys.
    pub passphrase_env: Option<&'a str>,
    /// `--known-hosts`: a file of host keys.
    pub known_hosts: Option<&'a str>,
    /// `--host-key`: fingerprints in place of such a file.
    pub host_key: &'a [String],
    /// `--connect-timeout`.
    pub timeout: Duration,
}

impl Login<'_> {
    /// What they mean; `lookup` reads a variable of the environment.
    ///
    /// # Errors
    /// When a file or a variable that was named is not there, or options exclude each other.
    pub fn options(
        &self,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions, Failure> {
        let variable = |option: &str, name: &str| {
            lookup(name).filter(|value| !value.trim().is_empty()).ok_or_else(|| {
                usage(format!("{option} {name}: the environment has no such variable"))
            })
        };
        let phrase = self.passphrase_env.map(|name| variable("--identity-passphrase-env", name));
        // As ssh(1) reads it: a line's end is not part of it.
        let phrase = phrase.transpose()?;
        let phrase = phrase.map(|phrase| Secret::new(phrase.trim_end_matches(['\r', '\n'])));
        let mut credentials: Vec<Credential> = self
            .identity
            .iter()
            .map(|path| Credential::KeyFile { path: PathBuf::from(path), passphrase: None })
            .collect();
        if let Some(name) = self.identity_env {
            let pem = Secret::new(variable("--identity-env", name)?);
            let label = name.to_owned();
            credentials.push(Credential::KeyMemory { pem, label, passphrase: None });
        }
        if credentials.is_empty() {
            credentials = default_credentials();
        }
        for credential in &mut credentials {
            match credential {
                Credential::KeyFile { passphrase, .. }
                | Credential::KeyMemory { passphrase, .. } => passphrase.clone_from(&phrase),
                Credential::Agent { .. } => {}
            }
        }
        let host_keys = match (self.host_key, self.known_hosts) {
            ([], None) => HostKeyPolicy::default(),
            ([], Some(file)) => HostKeyPolicy::KnownHosts(vec![named_file(file)?]),
            (keys, None) => HostKeyPolicy::Fingerprints(keys.to_vec()),
            (_, Some(_)) => {
                return Err(usage("--host-key and --known-hosts exclude each other".to_owned()));
            }
        };
        Ok(ConnectOptions { host_keys, credentials, timeout: self.timeout, keepalive: KEEPALIVE })
    }
}

fn usage(message: String) -> Failure {
    Failure::new(Code::Usage, message)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn login<'a>() -> Login<'a> {
        let timeout = Duration::from_secs(1);
        let (identity, host_key) = (&[], &[]);
        Login {
            identity,
            identity_env: None,
            passphrase_env: None,
            known_hosts: None,
            host_key,
            timeout,
        }
    }

    #[test]
    fn the_passphrase_is_for_each_private_key() {
        let identity = ["a".to_owned(), "b".to_owned()];
        let login = Login {
            identity: &identity,
            identity_env: Some("KEY"),
            passphrase_env: Some("PHRASE"),
            ..login()
        };
        let options = login.options(&|name| Some(format!("value of {name}"))).unwrap();
        let phrases: Vec<_> = options
            .credentials
            .iter()
            .map(|credential| match credential {
                Credential::KeyFile { passphrase, .. }
                | Credential::KeyMemory { passphrase, .. } => passphrase.as_ref().unwrap().reveal(),
                Credential::Agent { .. } => panic!("no agent was named"),
            })
            .collect();
        assert_eq!(phrases, ["value of PHRASE"; 3]);
        let unset = login.options(&|name| (name == "KEY").then(|| "x".to_owned())).unwrap_err();
        assert!(unset.message.contains("--identity-passphrase-env PHRASE"), "{}", unset.message);
    }

    #[test]
    fn ways_to_log_in_that_cannot_work() {
        let failure = |login: Login<'_>| login.options(&|_| None).unwrap_err();
        let missing = failure(Login { known_hosts: Some("/does/not/exist"), ..login() });
        assert_eq!(missing.code, Code::FileUnreadable);
        let keys = ["SHA256:x".to_owned()];
        let both = failure(Login { known_hosts: Some("x"), host_key: &keys, ..login() });
        assert_eq!(both.code, Code::Usage);
        let unset = failure(Login { identity_env: Some("KEY"), ..login() });
        assert!(unset.message.contains("KEY"), "{}", unset.message);
    }
}
