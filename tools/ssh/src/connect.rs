//! From a name to an authenticated session: TCP, handshake, host key, authentication, in this order.
//!
//! All of it blocks, so it runs on the connection's own thread. Whoever waits for it bounds it from outside through
//! [`Progress`]: shutting the socket down makes every blocking call return.

use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustix::net::sockopt;
use ssh2::{HashType, MethodType, Session};

use crate::known_hosts::{Offered, Trust};
use crate::{ConnectOptions, Error, Target, auth};

/// An authenticated session and the socket under it.
pub(crate) struct Established {
    pub(crate) session: Session,
    pub(crate) tcp: TcpStream,
    pub(crate) facts: Facts,
}

/// What was learned about the server.
pub(crate) struct Facts {
    pub(crate) fingerprint: String,
}

/// How far connecting has come, seen from outside, and the means to end it.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<State>>);

struct State {
    stage: &'static str,
    socket: Option<TcpStream>,
    abandoned: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            stage: "looking up the name",
            socket: None,
            abandoned: false,
        })))
    }

    /// What is going on, in words that fit before "took longer than".
    pub(crate) fn stage(&self) -> &'static str {
        self.lock().stage
    }

    /// Makes the thread give up.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        if let Some(socket) = state.socket.take() {
            // A socket that is closed already is what was wanted.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Connecting is done; from now on the socket is the pump's alone.
    pub(crate) fn finish(&self) {
        self.lock().socket = None;
    }

    fn enter(&self, stage: &'static str) {
        self.lock().stage = stage;
    }

    fn hold(&self, tcp: &TcpStream) -> Result<(), Error> {
        let socket = tcp.try_clone().map_err(local("duplicate a socket"))?;
        let mut state = self.lock();
        if state.abandoned {
            let _ = socket.shutdown(Shutdown::Both);
        }
        state.socket = Some(socket);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done, so another thread's panic does not matter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn local(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Local { what, reason: error.to_string() }
}

/// Connects and authenticates, blocking.
pub(crate) fn establish(
    target: &Target,
    options: &ConnectOptions,
    progress: &Progress,
) -> Result<Established, Error> {
    let deadline = Instant::now() + options.timeout;
    let trust = Trust::load(&options.host_keys, target)?;
    let addresses = resolve(target)?;
    let mut refused = None;
    for key_types in trust.attempts() {
        progress.enter("connecting");
        let tcp = connect(target, &addresses, deadline)?;
        tune(&tcp, options.keepalive)?;
        progress.hold(&tcp)?;
        progress.enter("the SSH handshake");
        let session = match handshake(target, &tcp, &key_types, deadline) {
            Ok(session) => session,
            // A host without a key of the types that were asked for; an earlier attempt's answer says more.
            Err(_) if refused.is_some() => break,
            Err(error) => return Err(error),
        };
        match check_host_key(target, &session, &trust) {
            Ok(facts) => {
                progress.enter("authentication");
                auth::authenticate(&session, &target.user, &target.host, &options.credentials)?;
                return Ok(Established { session, tcp, facts });
            }
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::Local {
        what: "choose a host key type",
        reason: "there is none".into(),
    }))
}

fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Error> {
    let found = (target.host.as_str(), target.port).to_socket_addrs();
    let unknown = |reason: &dyn std::fmt::Display| Error::NameUnknown {
        host: target.host.clone(),
        reason: words(reason),
    };
    let addresses: Vec<_> = found.map_err(|error| unknown(&error))?.collect();
    match addresses.is_empty() {
        true => Err(unknown(&"the name has no address")),
        false => Ok(addresses),
    }
}

fn unreachable(target: &Target, reason: &dyn std::fmt::Display) -> Error {
    Error::Unreachable { host: target.host.clone(), port: target.port, reason: words(reason) }
}

/// What the system says, without its numbers and what it was about.
fn words(reason: &dyn std::fmt::Display) -> String {
    let text = reason.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Tries each address; one that keeps silent gets its share of the time that is left and no more.
fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Error> {
    let mut last = unreachable(target, &"the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = remaining(deadline) / others;
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = unreachable(target, &error),
        }
    }
    Err(last)
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The kernel's part: no delay for small packets, and a peer that vanished (a pulled cable) is noticed.
fn tune(tcp: &TcpStream, keepalive: Duration) -> Result<(), Error> {
    tcp.set_nodelay(true).map_err(local("set TCP_NODELAY"))?;
    // Room for several whole SSH packets whenever poll(2) says that there is room; see `Pump::can_send`.
    let _ = sockopt::set_socket_send_buffer_size(tcp, 1 << 20);
    // The rest is a second guard beside the pump's own, and a kernel that lacks one of these does no harm.
    let seconds = Duration::from_secs(keepalive.as_secs().max(1));
    let limit = u32::try_from(keepalive.as_millis().saturating_mul(3)).unwrap_or(u32::MAX);
    let _ = sockopt::set_socket_keepalive(tcp, true);
    let _ = sockopt::set_tcp_keepidle(tcp, seconds);
    let _ = sockopt::set_tcp_keepintvl(tcp, seconds);
    let _ = sockopt::set_tcp_keepcnt(tcp, 2);
    let _ = sockopt::set_tcp_user_timeout(tcp, limit);
    Ok(())
}

fn handshake(
    target: &Target,
    tcp: &TcpStream,
    key_types: &[&str],
    deadline: Instant,
) -> Result<Session, Error> {
    let failed = |error: ssh2::Error| Error::Handshake {
        host: target.host.clone(),
        port: target.port,
        reason: error.message().to_owned(),
    };
    let mut session = Session::new().map_err(failed)?;
    let methods: Vec<&str> = key_types.iter().flat_map(signatures).copied().collect();
    session.method_pref(MethodType::HostKey, &methods.join(",")).map_err(failed)?;
    // A backstop: whoever waits gives up first and shuts the socket down, and names the stage that took too long.
    let limit = remaining(deadline) + Duration::from_secs(5);
    session.set_timeout(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
    session.set_tcp_stream(tcp.try_clone().map_err(local("duplicate a socket"))?);
    session.handshake().map_err(failed)?;
    Ok(session)
}

/// The signature methods of a key type. SHA-1's `ssh-rsa` is left out, as it has been from OpenSSH since 8.8.
fn signatures<'a>(key_type: &'a &'a str) -> &'a [&'a str] {
    match *key_type {
        "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
        _ => std::slice::from_ref(key_type),
    }
}

fn check_host_key(target: &Target, session: &Session, trust: &Trust) -> Result<Facts, Error> {
    let (Some((blob, _)), Some(hash)) =
        (session.host_key(), session.host_key_hash(HashType::Sha256))
    else {
        return Err(Error::Handshake {
            host: target.host.clone(),
            port: target.port,
            reason: "the server showed no host key".into(),
        });
    };
    let offered = Offered { blob, fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)) };
    trust.judge(&offered)?;
    Ok(Facts { fingerprint: offered.fingerprint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_told_in_words() {
        let refused = std::io::Error::from_raw_os_error(111);
        assert_eq!(words(&refused), "connection refused");
        let unknown = "failed to lookup address information: Name or service not known";
        assert_eq!(words(&unknown), "name or service not known");
    }
}
