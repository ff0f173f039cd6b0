//! What a caller may choose about a connection.

use std::path::PathBuf;
use std::time::Duration;

use slipway_release::Secret;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Which host keys are trusted.
    pub host_keys: HostKeyPolicy,
    /// What to prove the user's identity with, tried in this order.
    pub credentials: Vec<Credential>,
    /// The limit for the whole of connecting (name lookup, TCP, handshake, authentication), and for opening a stream.
    pub timeout: Duration,
    /// A server that has been silent for this long is asked for a sign of life; without one for two more of these, the
    /// connection counts as lost.
    pub keepalive: Duration,
}

impl Default for ConnectOptions {
    /// The user's and the system's known_hosts, [`default_credentials`], 20 s to connect, loss noticed within 20 s.
    fn default() -> Self {
        Self {
            host_keys: HostKeyPolicy::default(),
            credentials: default_credentials(),
            timeout: Duration::from_secs(20),
            keepalive: Duration::from_secs(5),
        }
    }
}

/// Which host keys are trusted. There is no third way: an unknown key is refused.
#[derive(Clone, Debug)]
pub enum HostKeyPolicy {
    /// Keys listed for the host in these files, of the format in sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; a missing file is
    /// an empty one. Plain, wildcard, negated, `[host]:port` and hashed names count, and so does `@revoked`;
    /// `@cert-authority` lines are passed over, since host certificates are not supported.
    KnownHosts(Vec<PathBuf>),
    /// Exactly the keys with these fingerprints (`SHA256:…`, as `ssh-keygen -l` prints them), of any type.
    Fingerprints(Vec<String>),
}

impl Default for HostKeyPolicy {
    /// `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`.
    fn default() -> Self {
        let user = ssh_directory().map(|directory| directory.join("known_hosts"));
        let system = PathBuf::from("/etc/ssh/ssh_known_hosts");
        Self::KnownHosts(user.into_iter().chain([system]).collect())
    }
}

/// One way to prove the user's identity.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Every key that the agent behind this socket holds, in its order.
    Agent {
        /// The agent's socket, usually the value of `SSH_AUTH_SOCK`.
        socket: PathBuf,
    },
    /// A private key in a file that nobody but its owner can read.
    KeyFile {
        /// The private key's file.
        path: PathBuf,
        /// What the key is encrypted with, if it is.
        passphrase: Option<Secret>,
    },
    /// A private key held in memory, such as one from an environment variable.
    KeyMemory {
        /// The key's text, in OpenSSH's or a PEM format.
        pem: Secret,
        /// What to call it in messages: where it came from.
        label: String,
        /// What the key is encrypted with, if it is.
        passphrase: Option<Secret>,
    },
}

/// What `ssh` tries without configuration: the agent, if `SSH_AUTH_SOCK` names one, then those of `~/.ssh/id_ed25519`,
/// `id_ecdsa` and `id_rsa` that exist.
#[must_use]
pub fn default_credentials() -> Vec<Credential> {
    let agent = std::env::var_os("SSH_AUTH_SOCK")
        .filter(|socket| !socket.is_empty())
        .map(|socket| Credential::Agent { socket: socket.into() });
    let files = ssh_directory().into_iter().flat_map(|directory| {
        ["id_ed25519", "id_ecdsa", "id_rsa"]
            .map(|name| directory.join(name))
            .into_iter()
            .filter(|path| path.exists())
            .map(|path| Credential::KeyFile { path, passphrase: None })
    });
    agent.into_iter().chain(files).collect()
}

fn ssh_directory() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".ssh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_stays_out_of_debug() {
        let credential = Credential::KeyMemory {
            pem: Secret::new("canary-key"),
            label: "DEPLOY_KEY".to_owned(),
            passphrase: Some(Secret::new("canary-phrase")),
        };
        let shown = format!("{credential:?}");
        assert!(shown.contains("DEPLOY_KEY") && !shown.contains("canary"), "{shown}");
    }
}
