//! Waiting until a container is healthy, or known not to become so.

use std::net::IpAddr;
use std::time::Duration;

use slipway_shell::CancellationToken;
use tokio::time::Instant;

use crate::container::{Container, HealthCheckStatus, Status};
use crate::error::HostError;
use crate::evidence::check_state;
use crate::host::{Ask, HealthAnswer, Host, Probe};
use crate::job::Waits;
use crate::options::HealthKind;
use crate::publish::{Protocol, Publish};
use crate::spec::Health;

/// The first pause between two tries; each next one is half as long again, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// How long one try may take.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// See [`Gate::settled`].
pub(crate) const SETTLED: Duration = Duration::from_secs(5);

/// Where a container is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// At an address of the host.
    Host(IpAddr, u16),
    /// At the container's own address.
    Container(u16),
    /// At an address that is the container's own as long as it runs.
    Slot(IpAddr, u16),
    /// Nowhere: it serves no port that is known.
    Nowhere,
}

impl Where {
    /// Where a release is asked that serves: as its users do, through the published port.
    pub(crate) fn released(health: &Health, publish: &[Publish]) -> Self {
        let Some(port) = health.port else { return Self::Nowhere };
        let through =
            publish.iter().find(|one| one.protocol == Protocol::Tcp && one.container_port == port);
        match through {
            Some(one) => Self::Host(one.local_address(), one.host_port),
            None => Self::Container(port),
        }
    }

    /// Where a candidate is asked.
    pub(crate) fn candidate(health: &Health) -> Self {
        health.port.map_or(Self::Nowhere, Self::Container)
    }
}

/// What the image's HEALTHCHECK counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing.
    Ignored,
    /// It has to pass, if there is one.
    IfThere,
    /// It has to pass, and there has to be one.
    Required,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) at: Where,
    /// By what the port there is asked; nothing where it is asked nothing.
    pub(crate) ask: Option<Ask>,
    pub(crate) check: Check,
    /// Whether a port that gives no HTTP answer is left to the HEALTHCHECK.
    pub(crate) lenient: bool,
    /// The container's own port.
    pub(crate) port: Option<u16>,
    /// How often it was restarted before; once more is one too many.
    pub(crate) restarts: i64,
    /// How long a container that can be asked nothing has to run to count as healthy.
    pub(crate) settled: Duration,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
}

impl Gate {
    /// `healthcheck` says whether the HEALTHCHECK of an image that has one has to pass beside the
    /// answers of a port.
    pub(crate) fn new(at: Where, health: &Health, healthcheck: bool, waits: &Waits) -> Self {
        use HealthKind::{Container, Http, Https, None as Nothing, Tcp};
        let kind = health.kind.or((at != Where::Nowhere).then_some(Http));
        let http = |tls| Ask::Http { path: health.path.clone(), tls };
        let beside = if healthcheck { Check::IfThere } else { Check::Ignored };
        let (ask, check) = match kind {
            Some(Http) => (Some(http(false)), beside),
            Some(Https) => (Some(http(true)), beside),
            Some(Tcp) => (Some(Ask::Connection), beside),
            Some(Container) => (None, Check::Required),
            Some(Nothing) => (None, Check::Ignored),
            None => (None, Check::IfThere),
        };
        Self {
            at,
            ask,
            check,
            lenient: health.kind.is_none() && healthcheck,
            port: health.port,
            restarts: 0,
            settled: SETTLED,
            timeout: waits.health_timeout,
            interval: waits.health_interval,
        }
    }

    /// What health is told by, as far as it is known before the container is seen.
    fn kind(&self, container: &Container) -> HealthKind {
        match &self.ask {
            Some(Ask::Http { tls: false, .. }) => HealthKind::Http,
            Some(Ask::Http { tls: true, .. }) => HealthKind::Https,
            Some(Ask::Connection) => HealthKind::Tcp,
            None if self.check == Check::Ignored => HealthKind::None,
            None if container.healthcheck.is_none() => HealthKind::None,
            None => HealthKind::Container,
        }
    }
}

/// How an interruption ends the waiting.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub(crate) cancelled: &'a CancellationToken,
    /// How long to go on after that.
    pub(crate) then: Duration,
}

/// Why a gate did not open.
#[derive(Debug)]
pub(crate) enum Closed {
    /// The container ended or was restarted.
    Exited,
    /// Its HEALTHCHECK was to tell, and the image has none.
    Unchecked,
    /// It is gone: somebody removed it.
    Gone,
    /// It did not become healthy in time.
    Late,
    /// The tool was told to end.
    Interrupted,
    /// The host could not be asked.
    Host(HostError),
}

impl From<HostError> for Closed {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

/// What was seen in the end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) container: Option<Container>,
    pub(crate) probe: Option<Probe>,
    /// When it gave its first good answer.
    pub(crate) first_good: Option<Instant>,
    /// By what its health was told, once it was.
    pub(crate) kind: Option<HealthKind>,
}

impl Seen {
    /// What keeps it from being healthy, in a few words.
    pub(crate) fn reason(&self) -> String {
        match &self.probe {
            Some(Probe::Answer { status, .. }) if !(200..300).contains(status) => {
                return format!("the last answer was status {status}");
            }
            Some(Probe::Silent { reason }) => return format!("the last try: {reason}"),
            _ => {}
        }
        let check = self.container.as_ref().and_then(|container| container.healthcheck.as_ref());
        match check {
            Some(check) if check.status != HealthCheckStatus::Healthy => {
                format!("its HEALTHCHECK is {}", check_state(check.status))
            }
            None if self.probe.is_none() => "it did not run long enough".to_owned(),
            _ => "it was not asked in time".to_owned(),
        }
    }
}

/// Waits at the gate for the container. What was seen is there in either case.
pub(crate) async fn wait<H: Host>(
    host: &H,
    id: &str,
    gate: &Gate,
    patience: Patience<'_>,
) -> (Seen, Result<(), Closed>) {
    let mut seen = Seen::default();
    let begun = Instant::now();
    let timeout = async {
        let end = begun + gate.timeout;
        tokio::select! {
            () = tokio::time::sleep_until(end) => Closed::Late,
            () = patience.cancelled.cancelled() => {
                tokio::time::sleep_until(end.min(Instant::now() + patience.then)).await;
                Closed::Interrupted
            }
        }
    };
    let result = tokio::select! {
        biased;
        result = tries(host, id, gate, begun, &mut seen) => result,
        closed = timeout => Err(closed),
    };
    (seen, result)
}

async fn tries<H: Host>(
    host: &H,
    id: &str,
    gate: &Gate,
    begun: Instant,
    seen: &mut Seen,
) -> Result<(), Closed> {
    let mut gate = gate.clone();
    let mut pause = FIRST_PAUSE.min(gate.interval);
    loop {
        let mut healthy = gate.ask.is_none();
        // Through a published port the answer is asked for first: it is what users wait for.
        if let (Where::Host(ip, port), Some(ask)) = (&gate.at, &gate.ask) {
            healthy = probe(host, (*ip, *port), ask, &gate, seen).await?.healthy;
        }
        let container = host.inspect(id).await?.ok_or(Closed::Gone)?;
        let ended = container.status != Status::Running || container.restarts > gate.restarts;
        let address = container.address;
        let has_check = container.healthcheck.is_some();
        let kind = gate.kind(&container);
        seen.container = Some(container);
        if ended {
            return Err(Closed::Exited);
        }
        if gate.check == Check::Required && !has_check {
            return Err(Closed::Unchecked);
        }
        // Where nobody is any more, a connection is not refused: it is waited for.
        let own = match gate.at {
            Where::Container(port) => address.map(|ip| (ip, port)),
            Where::Slot(ip, port) => Some((ip, port)),
            // A published port may be the engine's own proxy, which accepts whatever is behind it.
            Where::Host(..) if healthy && gate.ask == Some(Ask::Connection) => {
                address.zip(gate.port)
            }
            Where::Host(..) | Where::Nowhere => None,
        };
        if let (Some(place), Some(ask)) = (own, &gate.ask) {
            let answer = probe(host, place, ask, &gate, seen).await?;
            healthy = answer.healthy;
            if answer.not_http && gate.lenient && has_check {
                // What its port answers is no reason of anything from here on.
                gate = Gate { ask: None, check: Check::Required, ..gate };
                seen.probe = None;
                continue;
            }
        }
        if healthy && is_open(&gate, seen, begun.elapsed()) {
            seen.kind = Some(kind);
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(gate.interval);
    }
}

async fn probe<H: Host>(
    host: &H,
    (ip, port): (IpAddr, u16),
    ask: &Ask,
    gate: &Gate,
    seen: &mut Seen,
) -> Result<HealthAnswer, HostError> {
    let answer = host.health(ip, port, ask, PROBE_LIMIT.min(gate.timeout)).await?;
    if answer.healthy && seen.first_good.is_none() {
        seen.first_good = Some(Instant::now());
    }
    seen.probe.clone_from(&answer.probe);
    Ok(answer)
}

/// Whether what was seen of a container suffices, whose port has given a good answer if it is asked.
fn is_open(gate: &Gate, seen: &Seen, running: Duration) -> bool {
    let check = seen.container.as_ref().and_then(|container| container.healthcheck.as_ref());
    match (gate.check, check) {
        (Check::IfThere | Check::Required, Some(check)) => {
            check.status == HealthCheckStatus::Healthy
        }
        (Check::Required, None) => false,
        // Where nothing else tells, time does.
        (Check::IfThere, None) | (Check::Ignored, _) => {
            gate.ask.is_some() || running >= gate.settled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(port: Option<u16>) -> Health {
        Health { kind: None, path: "/health".into(), port }
    }

    #[test]
    fn a_release_is_asked_where_its_users_ask() {
        let publish: Vec<Publish> =
            ["8000:5000", "127.0.0.1:9000:9001"].iter().map(|text| text.parse().unwrap()).collect();
        let at = |port| Where::released(&health(port), &publish);
        assert_eq!(at(Some(5000)), Where::Host("127.0.0.1".parse().unwrap(), 8000));
        assert_eq!(at(Some(9001)), Where::Host("127.0.0.1".parse().unwrap(), 9000));
        assert_eq!(at(Some(7000)), Where::Container(7000));
        assert_eq!(at(None), Where::Nowhere);
    }
}
