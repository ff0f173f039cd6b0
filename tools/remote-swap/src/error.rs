//! What can go wrong on a host, and what it is called in the document.

use std::time::Duration;

use slipway_engine::RegistryFault;
use slipway_release::{Code, Failure, exit};
use slipway_untrusted::clean_line;

use crate::preflight::Refused;
use crate::record::Impossible;

/// A call to a host failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// The connection could not be made, or a stream could not be opened.
    #[error(transparent)]
    Ssh(#[from] slipway_ssh::Error),
    /// The connection broke, and could not be made again.
    #[error("{reason}")]
    Lost { reason: String },
    /// A call did not end in time.
    #[error("{doing} took longer than {} s", limit.as_secs())]
    Deadline { doing: &'static str, limit: Duration },
    /// The engine or the registry refused.
    #[error("{doing}: {source}")]
    Engine { doing: &'static str, source: slipway_engine::Error },
    /// The engine's socket is there, and the user may not open it.
    #[error("the user may not use {socket}")]
    EngineDenied { socket: String },
    /// Nothing listens at the engine's socket.
    #[error("no engine listens at {socket}")]
    EngineDown { socket: String },
    /// An engine listens, and the SSH server does not forward to it.
    #[error("the SSH server does not forward to {socket}, nor does the docker client there: {why}")]
    NotForwarded { socket: String, why: String },
    /// The socket cannot be opened, and the host runs no command that would tell why.
    #[error("{error}; and {why}")]
    Unclear { error: Box<slipway_ssh::Error>, why: Box<slipway_ssh::Error> },
    /// It is another program that speaks the engine's language.
    #[error("what listens at {endpoint} is Podman, and remote-swap needs Docker")]
    Podman { endpoint: String },
}

/// A deploy on one host failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwapError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("port {port} of the host is held by {by}")]
    PortInUse { port: u16, by: String },
    #[error("the image is for {image} and the host is {host}")]
    Architecture { image: String, host: String },
    #[error("the host has {found} under {reference}")]
    Digest { reference: String, found: String },
    #[error("the {what} cannot be {done}: {}", source.reason())]
    Container { what: &'static str, done: &'static str, source: HostError },
    #[error("the {what} ended with exit code {exit_code}{}", if *oom { " (out of memory)" } else { "" })]
    Exited { what: &'static str, exit_code: i64, oom: bool },
    #[error("the release command ended with exit code {exit_code}{}", if *oom { " (out of memory)" } else { "" })]
    ReleaseCommand { exit_code: i64, oom: bool },
    #[error("the release command took longer than {} s", limit.as_secs_f32())]
    ReleaseCommandLate { limit: Duration },
    #[error("the {what} has no HEALTHCHECK that could tell whether it is healthy")]
    Unchecked { what: &'static str },
    #[error("the {what} was removed by somebody")]
    Gone { what: &'static str },
    #[error("the {what} did not become healthy within {} s: {reason}", limit.as_secs_f32())]
    Unhealthy { what: &'static str, limit: Duration, reason: String },
    #[error("the front cannot be {what}: {reason}")]
    Front { what: &'static str, reason: String },
    #[error("the front's image {image} cannot be had: {source}")]
    FrontImage { image: String, source: HostError },
    #[error("{app} is served through {front} here, which owns the port")]
    HasFront { app: String, front: String },
    #[error("--adopt {name}: {reason}")]
    Adopt { name: String, reason: &'static str },
    #[error("the published port does not answer from the new container: {reason}")]
    NotThroughPort { reason: String },
    #[error("the new container did not hold: {reason}")]
    DidNotHold { reason: String },
    #[error("{cause}; the old container or the new one serves, and both are healthy")]
    Undecided { cause: Box<SwapError> },
    #[error("another deploy of {app} is under way on this host")]
    Overtaken { app: String },
    #[error("the old container was told to stop and still runs")]
    Stays,
    #[error("another deploy of {app} is under way on this host: {held}")]
    Locked { app: String, held: String },
    #[error(transparent)]
    LockLost(#[from] crate::lock::Lost),
    #[error(transparent)]
    Impossible(#[from] Impossible),
    #[error("interrupted")]
    Interrupted,
    #[error("{cause}; the old container could not be put back: {why}")]
    NotRestored { cause: Box<SwapError>, why: String },
    #[error("{cause}; the old container was told to stop, and what serves now is not known")]
    Unknown { cause: Box<SwapError> },
}

impl HostError {
    /// Whether the way to the engine is gone, so that nothing can be asked until it is back: the
    /// connection broke, or the engine itself was restarted.
    pub(crate) fn is_lost(&self) -> bool {
        use slipway_engine::Error as Engine;
        use slipway_ssh::Error as Ssh;
        match self {
            Self::Lost { .. } | Self::EngineDown { .. } => true,
            Self::Ssh(error) => {
                matches!(error, Ssh::ConnectionLost { .. } | Ssh::ConnectRefused { .. })
            }
            Self::Engine { source, .. } => {
                matches!(source, Engine::Unreachable { .. } | Engine::Interrupted { .. })
            }
            _ => false,
        }
    }

    /// Whether a new connection may be had a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        // A name that was known is known again when its server answers again.
        let unnamed = matches!(self, Self::Ssh(slipway_ssh::Error::NameUnknown { .. }));
        let unreached = unnamed || self.may_pass_while_connecting();
        // A socket that is not there now and listens a moment later looks like one that is not
        // forwarded.
        let unclear = matches!(self, Self::Deadline { .. } | Self::NotForwarded { .. });
        unreached || unclear || self.is_lost()
    }

    /// Whether another attempt to connect may succeed a moment later. An engine that is not there is
    /// no reason to wait before anything is begun.
    pub(crate) fn may_pass_while_connecting(&self) -> bool {
        matches!(self, Self::Ssh(error) if error.may_pass())
    }

    /// The reason alone, where what was being done is told already.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Engine { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }

    pub(crate) fn failure(&self, message: String) -> Failure {
        match self {
            Self::Ssh(error) => error.failure(message),
            Self::Lost { .. } => Failure::new(Code::ConnectionLost, message)
                .hint("run it again: what was left behind is put right first")
                .retryable(true),
            Self::Deadline { .. } => Failure::new(Code::DeadlineExceeded, message)
                .hint("look at the load and the disk of the host")
                .retryable(true),
            Self::Engine { source, .. } => engine_failure(source, message),
            Self::EngineDenied { .. } => Failure::new(Code::EngineDenied, message)
                .hint("on the host: sudo usermod -aG docker USER, then connect anew"),
            Self::EngineDown { .. } => Failure::new(Code::EngineUnreachable, message)
                .hint("on the host: sudo systemctl start docker; another path is given with --docker-socket"),
            Self::Unclear { error, why } => match why.hint() {
                Some(hint) => error.failure(message).hint(hint),
                None => error.failure(message),
            },
            Self::Podman { .. } => Failure::new(Code::EngineUnsupported, message)
                .hint("on the host: install Docker 20.10 or newer; --docker-socket names its socket"),
            Self::NotForwarded { .. } => Failure::new(Code::SshForwardingRefused, message)
                .hint("on the host: sshd needs AllowTcpForwarding, and AllowStreamLocalForwarding or the docker client, for this user"),
        }
    }
}

impl SwapError {
    /// Whether it is the way to the engine that is gone.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Host(error)
            | Self::Container { source: error, .. }
            | Self::FrontImage { source: error, .. } => error.is_lost(),
            _ => false,
        }
    }

    /// As it is told to people. `place` is the host.
    pub(crate) fn failure(&self, place: &str) -> Failure {
        // Much of it is in the words of the host, its engine and its containers.
        let message = clean_line(&format!("{place}: {self}")).into_owned();
        match self {
            Self::Host(error) => error.failure(message),
            Self::Refused(refused) => refused.failure(message),
            Self::PortInUse { .. } => Failure::new(Code::PortInUse, message)
                .hint("stop what holds the port, or publish another one with --publish"),
            Self::Architecture { .. } => Failure::new(Code::ArchMismatch, message)
                .hint("build for the host: imgbuild --platform"),
            Self::Digest { .. } => Failure::new(Code::DigestMismatch, message),
            Self::Container { source, .. } => container_failure(source, message),
            Self::Exited { .. } => Failure::new(Code::CandidateExited, message)
                .hint("error.evidence.log_tail holds the end of its log"),
            Self::ReleaseCommand { .. } => Failure::new(Code::ReleaseCommandFailed, message)
                .hint("nothing was switched; error.evidence.log_tail holds the end of its output"),
            Self::ReleaseCommandLate { .. } => Failure::new(Code::ReleaseCommandFailed, message)
                .hint("nothing was switched; --release-timeout gives it more time"),
            Self::Gone { .. } => Failure::new(Code::ContainerFailed, message)
                .hint("another deploy of the same application may be under way"),
            Self::Overtaken { .. } => Failure::new(Code::ContainerFailed, message)
                .hint("let the other one end, then run it again")
                .retryable(true),
            Self::Front { .. } => Failure::new(Code::FrontFailed, message)
                .hint("docker logs of the container APP-front-… on the host tells more; --strategy recreate does without a front"),
            Self::FrontImage { source, .. } => Failure { message, ..source.failure(String::new()) }
                .hint("--front-image names another one, such as a copy in a registry that the host can reach"),
            Self::HasFront { front, .. } => Failure::new(Code::PortInUse, message).hint(format!(
                "deploy with --strategy blue-green; or give the front up on the host, which takes the application down until the next deploy: docker rm -f {front}"
            )),
            Self::Adopt { .. } => Failure::new(Code::Usage, message)
                .hint("name the container that publishes the port now; docker ps on the host lists them"),
            Self::NotThroughPort { .. } | Self::DidNotHold { .. } => {
                Failure::new(Code::Unhealthy, message)
                    .hint("error.evidence holds the last answer and the end of its log")
            }
            Self::Undecided { cause } => Failure { message, ..cause.failure(place) }
                .hint("run it again as soon as the host answers: it finishes what was begun")
                .retryable(true),
            Self::Locked { .. } => Failure::new(Code::Locked, message)
                .hint("--wait-lock 5m waits longer; remote-swap lock break ends a deploy that hangs")
                .retryable(true),
            Self::LockLost(_) => Failure::new(Code::LockLost, message)
                .hint("remote-swap lock tells who deploys now; run it again when that is done")
                .retryable(true),
            Self::Unhealthy { reason, .. } => Failure::new(Code::Unhealthy, message)
                .hint(unhealthy_hint(reason)),
            Self::Unchecked { .. } => Failure::new(Code::Unhealthy, message)
                .hint("give the image a HEALTHCHECK, or ask for something else: --health http, https, tcp or none"),
            Self::Stays => Failure::new(Code::ContainerFailed, message)
                .hint("look whether the engine of the host was restarted, then run it again")
                .retryable(true),
            Self::Impossible(error) => impossible(error, message),
            Self::Interrupted => Failure::new(Code::Interrupted, message).retryable(true),
            Self::NotRestored { .. } => Failure::new(Code::RestoreFailed, message)
                .hint("the application is down: look at the host with docker ps -a and docker logs, or deploy a release that works"),
            Self::Unknown { cause } => {
                let mut failure = Failure { message, ..cause.failure(place) };
                failure.exit = exit::NEEDS_PERSON;
                failure.hint("run it again as soon as the host answers: what was left behind is put right first")
            }
        }
    }
}

/// What to do about a container that did not become healthy.
fn unhealthy_hint(reason: &str) -> &'static str {
    if reason.contains("not an HTTP answer") {
        return "--strategy recreate with --health tcp asks for a connection only, --health https speaks TLS, and with a HEALTHCHECK in the image --health container asks that";
    }
    "error.evidence holds the last answer and the end of its log; --health, --health-path and --health-timeout say what is waited for"
}

/// A rollback that cannot be done: nothing was changed.
fn impossible(error: &Impossible, message: String) -> Failure {
    let failure = Failure::new(Code::RollbackImpossible, message);
    match error {
        Impossible::Nothing { .. } => {
            failure.hint("nothing was changed; --app and --host say where it should be")
        }
        Impossible::NoEarlier { .. } | Impossible::Unknown { .. } => failure.hint(
            "nothing was changed; remote-swap status lists the releases, and a saved document of an earlier release can be deployed",
        ),
        Impossible::Moved { .. } => failure.hint("nothing was changed; remote-swap status tells who deployed it"),
        Impossible::Spec { .. } => {
            failure.hint("nothing was changed; deploy that release anew, with its options")
        }
        Impossible::Sent { .. } => failure.hint(
            "nothing was changed; send that very image again, with imgpush --to, or go back further with --to",
        ),
        Impossible::Image { retryable, .. } => failure
            .hint("nothing was changed; give a document with credentials, as in ecrlogin < saved.json | remote-swap rollback")
            .retryable(*retryable),
    }
}

/// A container that cannot be created or started: the engine tells the reason in words only.
fn container_failure(source: &HostError, message: String) -> Failure {
    let HostError::Engine { source: engine, .. } = source else {
        return source.failure(message);
    };
    let text = engine.to_string();
    if text.contains("port is already allocated") || text.contains("address already in use") {
        return Failure::new(Code::PortInUse, message)
            .hint("stop what holds the port, or publish another one with --publish");
    }
    match engine {
        slipway_engine::Error::Unreachable { .. }
        | slipway_engine::Error::PermissionDenied { .. }
        | slipway_engine::Error::Interrupted { .. }
        | slipway_engine::Error::DiskFull { .. }
        | slipway_engine::Error::AddressPool { .. }
        | slipway_engine::Error::TooLarge(_) => engine_failure(engine, message),
        _ => Failure::new(Code::ContainerFailed, message).hint(
            engine
                .advice()
                .unwrap_or("the reason is the engine's own; look at the options of the container"),
        ),
    }
}

fn engine_failure(error: &slipway_engine::Error, message: String) -> Failure {
    use slipway_engine::Error as E;
    let (code, hint) = match error {
        E::Unreachable { .. } | E::Interrupted { .. } => (
            Code::EngineUnreachable,
            "look whether docker runs on the host: systemctl status docker",
        ),
        E::PermissionDenied { .. } => {
            (Code::EngineDenied, "on the host: sudo usermod -aG docker USER, then connect anew")
        }
        E::DiskFull { .. } => {
            (Code::DiskFull, "on the host: docker system df tells what takes the space")
        }
        E::Registry { fault, .. } => registry_code(*fault),
        E::Protocol { .. } => (
            Code::EngineError,
            "is it really a Docker engine that listens there? --docker-socket names another one",
        ),
        _ => (error.code(), error.hint()),
    };
    Failure::new(code, message).hint(hint).retryable(error.transient())
}

fn registry_code(fault: RegistryFault) -> (Code, &'static str) {
    use RegistryFault as F;
    match fault {
        F::Unauthorized | F::Denied => (
            Code::RegistryDenied,
            "the host pulls with the credentials of the document: ecrlogin gets fresh ones, as in ecrlogin < saved.json | remote-swap",
        ),
        F::RepositoryNotFound => (Code::RepositoryNotFound, "look at the reference's repository"),
        F::ManifestUnknown => {
            (Code::ManifestNotFound, "imgpush has to push the image first, to this very registry")
        }
        F::PlatformMissing => (Code::ArchMismatch, "build for the host: imgbuild --platform"),
        F::Unreachable | F::Tls => (
            Code::RegistryUnreachable,
            "the host itself has to reach the registry and to trust its certificate",
        ),
        _ => (Code::RegistryError, "the reason is the registry's own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(message: &str) -> HostError {
        let source = slipway_engine::Error::Api { status: 500, message: message.to_owned() };
        HostError::Engine { doing: "starting the container", source }
    }

    #[test]
    fn a_port_that_is_taken_is_told_from_other_failures_of_a_start() {
        let code = |text: &str| {
            let error = SwapError::Container {
                what: "new container",
                done: "started",
                source: engine(text),
            };
            error.failure("h").code
        };
        // Docker 20.10 in the words of its two port drivers.
        assert_eq!(
            code(
                "driver failed programming external connectivity: Bind for 0.0.0.0:8000 failed: port is already allocated"
            ),
            Code::PortInUse
        );
        assert_eq!(
            code(
                "Error starting userland proxy: listen tcp4 0.0.0.0:8000: bind: address already in use"
            ),
            Code::PortInUse
        );
        assert_eq!(
            code("OCI runtime create failed: executable file not found"),
            Code::ContainerFailed
        );
    }

    #[test]
    fn what_an_engine_lacks_has_its_way_out() {
        let hint = |text: &str| {
            let source = slipway_engine::Error::AddressPool { message: text.to_owned() };
            let host = HostError::Engine { doing: "creating the network", source };
            SwapError::Host(host).failure("h").hint.unwrap()
        };
        let hint = hint("could not find an available, non-overlapping IPv4 address pool");
        assert!(hint.contains("docker network prune"), "{hint}");
        let error = SwapError::Container {
            what: "new container",
            done: "started",
            source: engine("iptables: No chain/target/match by that name."),
        };
        let failure = error.failure("h");
        assert_eq!(failure.code, Code::ContainerFailed);
        assert!(failure.hint.unwrap().contains("restart the engine"));
    }

    #[test]
    fn nothing_of_a_host_is_obeyed_by_a_terminal() {
        let by = format!("the container \u{1b}]0;x\u{7}{}", "y".repeat(1 << 20));
        let message = SwapError::PortInUse { port: 1, by }.failure("h").message;
        assert!(!message.contains('\u{1b}') && message.len() < 5000, "{message}");
    }

    #[test]
    fn what_needs_a_person_exits_with_six() {
        let cause = || Box::new(SwapError::Host(HostError::Lost { reason: "reset".into() }));
        let unknown = SwapError::Unknown { cause: cause() }.failure("h");
        assert_eq!((unknown.code, unknown.exit), (Code::ConnectionLost, exit::NEEDS_PERSON));
        let broken = SwapError::NotRestored { cause: cause(), why: "gone".into() }.failure("h");
        assert_eq!((broken.code, broken.exit), (Code::RestoreFailed, exit::NEEDS_PERSON));
        assert!(broken.message.starts_with("h: reset; the old"));
    }
}
