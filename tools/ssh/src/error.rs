//! Everything that can go wrong between here and a stream on the host, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use slipway_release::{Code, Failure};
use slipway_untrusted::{TooLarge, Untrusted};

/// Why there is no connection or no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text does not name a user on a host.
    #[error("{input:?} is not a host to connect to: {reason}")]
    BadTarget {
        /// What was given.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pinned fingerprint that cannot match any key.
    #[error("{input:?} is not a host key fingerprint")]
    BadFingerprint {
        /// What was given.
        input: String,
    },
    /// The name has no address.
    #[error("cannot find {host}: {reason}")]
    NameUnknown {
        /// The host as given.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// No address of the host accepts a TCP connection.
    #[error("cannot reach {host} port {port}: {reason}")]
    Unreachable {
        /// The host as given.
        host: String,
        /// The port that was tried.
        port: u16,
        /// The last address's failure.
        reason: String,
    },
    /// The deadline passed.
    #[error("{what} ({host}) took longer than {limit:?}")]
    Timeout {
        /// The host as given.
        host: String,
        /// What was going on.
        what: String,
        /// The limit that was set.
        limit: Duration,
    },
    /// What listens there ended the conversation before keys were agreed on.
    #[error("no SSH handshake with {host} port {port}: {reason}")]
    Handshake {
        /// The host as given.
        host: String,
        /// The port of the server.
        port: u16,
        /// What libssh2 says of it.
        reason: String,
    },
    /// No trusted key is known for the host.
    #[error("the host key of {host} is not known: it offers {algorithm} {fingerprint}")]
    HostKeyUnknown {
        /// The host as known_hosts would name it.
        host: String,
        /// The offered key's type.
        algorithm: String,
        /// The offered key's SHA-256 fingerprint.
        fingerprint: String,
    },
    /// Another key is known for the host than the one it offers.
    #[error(
        "the host key of {host} is not the one in {known}: it offers {algorithm} {fingerprint}"
    )]
    HostKeyMismatch {
        /// The host as known_hosts names it.
        host: String,
        /// The offered key's type.
        algorithm: String,
        /// The offered key's SHA-256 fingerprint.
        fingerprint: String,
        /// Where the other key stands: `file:line`, or the pinned fingerprints.
        known: String,
    },
    /// The offered key is marked `@revoked`.
    #[error("the host key that {host} offers is revoked in {known}: {fingerprint}")]
    HostKeyRevoked {
        /// The host as known_hosts names it.
        host: String,
        /// The offered key's SHA-256 fingerprint.
        fingerprint: String,
        /// Where it is revoked: `file:line`.
        known: String,
    },
    /// A known_hosts file is larger than any that is read.
    #[error("{}: {reason}", path.display())]
    KnownHostsTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        reason: TooLarge,
    },
    /// A known_hosts file exists and cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    KnownHostsUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The server accepted none of the credentials.
    #[error("{host} does not let {user} in: {}", tried_list(tried))]
    AuthenticationFailed {
        /// The login name.
        user: String,
        /// The host as given.
        host: String,
        /// What was tried and how each ended.
        tried: Vec<String>,
        /// The methods that the server allows.
        server_methods: String,
    },
    /// The private key needs a passphrase and none was given.
    #[error("the private key {key} is encrypted and no passphrase was given")]
    KeyEncrypted {
        /// The key's file or label.
        key: String,
    },
    /// The passphrase does not open the private key.
    #[error("the passphrase does not open the private key {key}")]
    PassphraseWrong {
        /// The key's file or label.
        key: String,
    },
    /// There is no private key where one was said to be.
    #[error("cannot read the private key {key}: {reason}")]
    KeyUnreadable {
        /// The key's file or label.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The private key is of a kind that cannot be used here.
    #[error("the private key {key} cannot be used: {reason}")]
    KeyUnsupported {
        /// The key's file or label.
        key: String,
        /// Why not.
        reason: String,
    },
    /// Others than the owner can read the private key.
    #[error("the private key {} is open to others (mode {mode:04o})", path.display())]
    KeyPermissions {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The agent does not answer.
    #[error("cannot use the SSH agent at {}: {reason}", socket.display())]
    AgentUnavailable {
        /// The agent's socket.
        socket: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The server does not forward this for the user.
    #[error("{host} refuses to forward to {to}: {reason}")]
    ForwardingRefused {
        /// The host as given.
        host: String,
        /// The socket's path or `host:port`.
        to: String,
        /// The server's reason.
        reason: String,
    },
    /// The server could not connect to the socket or port. For a Unix socket OpenSSH gives the same answer when it does
    /// not want to (`AllowStreamLocalForwarding no`).
    #[error("{host} cannot connect to {to}: {reason}")]
    ConnectRefused {
        /// The host as given.
        host: String,
        /// The socket's path or `host:port`.
        to: String,
        /// The server's reason.
        reason: String,
    },
    /// The login shell on the host does not run commands as they are sent.
    #[error("{host} did not run a command: {reason}{}", printed_first(printed))]
    ShellFailed {
        /// The host as given.
        host: String,
        /// What was seen instead.
        reason: &'static str,
        /// What the shell printed, if anything.
        printed: Untrusted,
    },
    /// The server does not start a command.
    #[error("{host} refuses to run a command: {reason}")]
    SessionRefused {
        /// The host as given.
        host: String,
        /// The server's reason.
        reason: String,
    },
    /// The connection is gone, and with it every stream.
    #[error("the SSH connection to {host} was lost: {reason}")]
    ConnectionLost {
        /// The host as given.
        host: String,
        /// How it went.
        reason: String,
    },
    /// This machine refused something (a thread, a descriptor).
    #[error("cannot {what}: {reason}")]
    Local {
        /// What was wanted.
        what: &'static str,
        /// What the system says.
        reason: String,
    },
}

fn printed_first(printed: &Untrusted) -> String {
    if printed.is_empty() { String::new() } else { format!("; it printed: {printed}") }
}

fn tried_list(tried: &[String]) -> String {
    if tried.is_empty() {
        return "there was nothing to try (no agent, no key)".to_owned();
    }
    format!("tried {}", tried.join(", "))
}

impl Error {
    /// Whether connecting may succeed a moment later: the host is restarting, or its sshd has as many connections that
    /// have not logged in as it bears (MaxStartups).
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Handshake { .. }
                | Self::ConnectionLost { .. }
        )
    }

    /// As it is told to people, with the names of the options of [`Login`](crate::Login).
    #[must_use]
    pub fn failure(&self, message: String) -> Failure {
        let code = self.code();
        let retryable = matches!(code, Code::HostUnreachable | Code::ConnectionLost);
        let failure = Failure::new(code, message).retryable(retryable);
        match self.hint() {
            Some(hint) => failure.hint(match self {
                Self::HostKeyUnknown { .. } => format!("{hint} with --host-key"),
                Self::KeyEncrypted { .. } => {
                    format!("name the variable that holds its passphrase with --identity-passphrase-env, or {hint}")
                }
                Self::PassphraseWrong { .. } => {
                    format!("look at the variable that --identity-passphrase-env names; {hint}")
                }
                Self::AuthenticationFailed { .. } => {
                    format!("{hint}; --identity FILE or --identity-env NAME gives another key")
                }
                _ => hint,
            }),
            None => failure,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::BadTarget { .. } | Self::BadFingerprint { .. } => Code::Usage,
            Self::NameUnknown { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Handshake { .. } => Code::HostUnreachable,
            Self::HostKeyUnknown { .. } => Code::HostKeyUnknown,
            Self::HostKeyMismatch { .. } | Self::HostKeyRevoked { .. } => Code::HostKeyMismatch,
            Self::KnownHostsUnreadable { .. } => Code::FileUnreadable,
            Self::KnownHostsTooLarge { .. } => Code::FileTooLarge,
            Self::AuthenticationFailed { .. } => Code::SshAuthFailed,
            Self::KeyEncrypted { .. }
            | Self::PassphraseWrong { .. }
            | Self::KeyUnreadable { .. }
            | Self::KeyUnsupported { .. }
            | Self::KeyPermissions { .. }
            | Self::AgentUnavailable { .. } => Code::SshKeyUnusable,
            Self::ForwardingRefused { .. }
            | Self::SessionRefused { .. }
            | Self::ShellFailed { .. } => Code::SshForwardingRefused,
            Self::ConnectRefused { .. } => Code::EngineUnreachable,
            Self::ConnectionLost { .. } => Code::ConnectionLost,
            Self::Local { .. } => Code::Internal,
        }
    }

    /// What to do next, in plain words.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BadTarget { .. } => "write user@host, user@host:port or ssh://user@host:port, an IPv6 address in brackets".into(),
            Self::BadFingerprint { .. } => {
                "write it as `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it on the host: SHA256: and 43 characters".into()
            }
            Self::NameUnknown { .. } => {
                "check how the host is written, and whether this machine's resolver knows it".into()
            }
            Self::Unreachable { host, port, .. } => {
                format!("check that sshd runs on {host} and that port {port} is open to this machine (security group, firewall)")
            }
            Self::Timeout { .. } => "check that the host answers; an overloaded or firewalled one keeps silent".into(),
            Self::Handshake { .. } => {
                "check that an SSH server listens on that port; one that is busy closes early (MaxStartups), then try again".into()
            }
            Self::HostKeyUnknown { host, fingerprint, .. } => format!(
                "compare {fingerprint} with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host, then add the line that {} prints to known_hosts, or pin the fingerprint",
                keyscan(host)
            ),
            Self::HostKeyMismatch { known, .. } => format!(
                "either the host was set up anew or somebody is in between; compare with the host's own key, and only then correct {known}"
            ),
            Self::HostKeyRevoked { known, .. } => format!("do not connect; whoever wrote {known} no longer trusts this key"),
            Self::KnownHostsTooLarge { .. } => "name a file with the keys of these hosts alone, or pin a key".into(),
            Self::KnownHostsUnreadable { path, .. } => format!("make {} a file that this user can read", path.display()),
            Self::AuthenticationFailed { user, server_methods, .. } => match server_methods.contains("publickey") {
                false => format!("the server takes no keys for {user}, only {server_methods}"),
                true => format!("check that the public key stands in ~{user}/.ssh/authorized_keys on the host"),
            },
            Self::KeyEncrypted { .. } => "add it to an agent with `ssh-add KEY`".into(),
            Self::PassphraseWrong { .. } => "`ssh-keygen -y -f KEY` tells whether it is the right one".into(),
            Self::KeyUnreadable { .. } => "give a private key as ssh-keygen writes it, whole, with its BEGIN and END lines".into(),
            Self::KeyUnsupported { .. } => "put it into an agent with `ssh-add KEY`, or use an ed25519, ecdsa or rsa key as ssh-keygen writes it".into(),
            Self::KeyPermissions { path, .. } => format!("chmod 600 {}", path.display()),
            Self::AgentUnavailable { .. } => "start an agent, or unset SSH_AUTH_SOCK".into(),
            Self::ForwardingRefused { .. } => {
                "the server's AllowTcpForwarding, PermitOpen, DisableForwarding or the key's options in authorized_keys forbid it".into()
            }
            Self::ConnectRefused { to, .. } if to.starts_with('/') => format!(
                "check on the host that {to} exists, that something listens on it, that the user may open it (the docker group for Docker's), and that sshd's AllowStreamLocalForwarding is not no"
            ),
            Self::ConnectRefused { .. } => "check on the host that something listens there".into(),
            Self::SessionRefused { .. } => {
                "the server's MaxSessions (10 unless set) may be reached, or the key may be bound to forwarding only".into()
            }
            Self::ShellFailed { .. } => {
                "look on the host at the login shell of the user, at what its start file (~/.bashrc, ~/.zshenv, ~/.cshrc, ~/.config/fish/config.fish) does where nobody is at the keyboard (exit, exec, waiting for input), and at sshd's ForceCommand".into()
            }
            Self::ConnectionLost { .. } => "run it again; if it happens again look into the host's sshd log".into(),
            Self::Local { .. } => return None,
        })
    }
}

fn keyscan(host: &str) -> String {
    match host.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:")) {
        Some((host, port)) => format!("`ssh-keyscan -p {port} {host}`"),
        None => format!("`ssh-keyscan {host}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_for_an_unknown_key_names_the_port_where_there_is_one() {
        let unknown = |host: &str| Error::HostKeyUnknown {
            host: host.into(),
            algorithm: "ssh-ed25519".into(),
            fingerprint: "SHA256:x".into(),
        };
        assert!(unknown("[h]:2222").hint().unwrap().contains("`ssh-keyscan -p 2222 h`"));
        assert!(unknown("h").hint().unwrap().contains("`ssh-keyscan h`"));
    }

    #[test]
    fn a_message_is_one_fragment() {
        let error = Error::AuthenticationFailed {
            user: "d".into(),
            host: "h".into(),
            tried: vec![],
            server_methods: "publickey".into(),
        };
        assert_eq!(
            error.to_string(),
            "h does not let d in: there was nothing to try (no agent, no key)"
        );
    }
}
