//! The connection against OpenSSH's own server, agent and key generator, on loopback.

// Without the attribute clippy takes the helpers for production code.
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod host_keys;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod sshd;
#[cfg(test)]
mod streams;
