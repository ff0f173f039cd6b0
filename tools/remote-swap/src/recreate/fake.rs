//! An engine in memory, with containers that behave as their image's name says.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_engine::ApiVersion;
use slipway_engine::bollard::models::ContainerCreateBody;
use slipway_shell::CancellationToken;
use tokio::time::Instant;

use crate::container::{Container, HealthCheck, HealthCheckStatus, Role, Status, label};
use crate::error::HostError;
use crate::front::{Config, Files};
use crate::handover::Order;
use crate::host::{
    About, Ask, Clock, Handed, HealthAnswer, Holder, Host, LocalImage, Machine, Platform, Probe,
    Remotely, Result,
};
use crate::job::Job;
use crate::publish::Publish;
use crate::slot::Slot;
use crate::values::Restart;
use crate::volumes::Volume;

/// What goes wrong, counted in calls from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// This call fails and does nothing.
    Refuse(usize),
    /// This call does its work, and the answer is an error.
    Unanswered(usize),
    /// From this call on nothing is done any more, as if this tool or its host was cut off.
    Cut(usize),
    /// As before, but this call itself is done still.
    Gone(usize),
    /// At this call the tool is told to end.
    Signal(usize),
    /// Right before this call the engine is restarted, and connections to it are made anew.
    Restart(usize),
}

pub(crate) struct Fake {
    pub(crate) containers: RefCell<Vec<Container>>,
    pub(crate) volumes: RefCell<Vec<Volume>>,
    /// The environment of each container, by its id.
    pub(crate) environments: RefCell<HashMap<String, Vec<String>>>,
    /// What the names of the images hold that were removed, where no image can be pulled.
    pub(crate) pruned: RefCell<Option<String>>,
    pub(crate) fault: Cell<Fault>,
    pub(crate) calls: Cell<usize>,
    /// Ids that were changed in any way.
    pub(crate) touched: RefCell<Vec<String>>,
    pub(crate) cancelled: CancellationToken,
    /// Everything that was called, to tell which call it was that failed.
    pub(crate) journal: RefCell<Vec<String>>,
    /// When the signal came.
    pub(crate) signalled: Cell<Option<Instant>>,
    /// Whether the host takes orders.
    pub(crate) orders: Cell<bool>,
    clock: Cell<i64>,
    /// What the fronts hold, by the containers' ids.
    pub(crate) fronts: RefCell<HashMap<String, FrontDisk>>,
    pub(crate) network: Cell<bool>,
    /// A name that means another image by now.
    pub(crate) moved: RefCell<Option<String>>,
    /// Whether clients take all connections of the front.
    pub(crate) full: Cell<bool>,
    /// Whether the front runs with another configuration than its disk has.
    pub(crate) left_behind: Cell<bool>,
    /// How often the port was asked for a release that dies of it.
    pub(crate) asked: Cell<u32>,
    /// What the host tells of itself.
    pub(crate) api: Cell<ApiVersion>,
    pub(crate) skew: Cell<SignedDuration>,
    pub(crate) free: Cell<Option<u64>>,
    /// What the registry tells of an image whose name has `unpulled` in it.
    pub(crate) remotely: RefCell<Remotely>,
    pulled: Cell<bool>,
    /// Of what was pulled or run.
    pub(crate) image_names: RefCell<HashSet<String>>,
    pub(crate) removed_images: RefCell<Vec<String>>,
}

/// A front's files, and what it has in memory while it runs.
#[derive(Clone)]
pub(crate) struct FrontDisk {
    pub(crate) files: Files,
    pub(crate) memory: Option<(Config, Slot)>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            containers: RefCell::default(),
            volumes: RefCell::default(),
            environments: RefCell::default(),
            pruned: RefCell::default(),
            fault: Cell::new(Fault::None),
            calls: Cell::new(0),
            touched: RefCell::default(),
            cancelled: CancellationToken::new(),
            journal: RefCell::default(),
            signalled: Cell::new(None),
            orders: Cell::new(true),
            clock: Cell::new(1_000),
            fronts: RefCell::default(),
            network: Cell::new(false),
            asked: Cell::new(0),
            moved: RefCell::default(),
            full: Cell::new(false),
            left_behind: Cell::new(false),
            api: Cell::new(ApiVersion { major: 1, minor: 41 }),
            skew: Cell::default(),
            free: Cell::new(Some(1 << 40)),
            remotely: RefCell::default(),
            pulled: Cell::default(),
            image_names: RefCell::default(),
            removed_images: RefCell::default(),
        }
    }

    /// Another host that is just so.
    pub(crate) fn copy(&self) -> Self {
        Self {
            containers: self.containers.clone(),
            clock: self.clock.clone(),
            fronts: self.fronts.clone(),
            network: self.network.clone(),
            moved: self.moved.clone(),
            full: self.full.clone(),
            left_behind: self.left_behind.clone(),
            image_names: self.image_names.clone(),
            ..Self::new()
        }
    }

    /// The same host with another fault, seen by a fresh process.
    pub(crate) fn again(self, fault: Fault) -> Self {
        Self {
            fault: Cell::new(fault),
            calls: Cell::new(0),
            cancelled: CancellationToken::new(),
            journal: RefCell::default(),
            ..self
        }
    }

    /// A container of somebody else's.
    pub(crate) fn stranger(&self, publish: &[Publish]) {
        let mut one = crate::plan::tests::container(1, Role::Release, Status::Running, true);
        one.id = "stranger".into();
        one.name = "blog".into();
        one.labels.clear();
        one.publish = publish.to_vec();
        self.containers.borrow_mut().push(one);
    }

    /// The reference that answers at the public port, if one does and is well.
    pub(crate) fn serving(&self) -> Option<String> {
        let probe = match self.passes_to() {
            Some(id) => self.answer_of(|one| one.id == id),
            None => self.answer_of(|one| one.role() == Role::Release && !one.publish.is_empty()),
        };
        match probe {
            Probe::Answer { status: 200, body } => Some(body),
            _ => None,
        }
    }

    /// The name of the release that runs at the public port, whether it is well or not; `-` if none
    /// does.
    pub(crate) fn released(&self) -> String {
        let all = self.containers.borrow();
        let one = all.iter().find(|one| one.is_up() && !one.publish.is_empty());
        let reference = one.and_then(|one| one.label(label::REFERENCE)).unwrap_or("-");
        reference.trim_start_matches("r.example/").split('@').next().unwrap().to_owned()
    }

    /// Counts a call, and fails it if its turn has come. Answers whether the work is to be done
    /// although the answer is lost.
    fn turn(&self, what: &str) -> Result<bool> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        self.journal.borrow_mut().push(what.to_owned());
        match self.fault.get() {
            Fault::Refuse(n) if n == call => Err(refused()),
            Fault::Cut(n) if call >= n => Err(HostError::Lost { reason: "cut".into() }),
            Fault::Gone(n) if call > n => Err(HostError::Lost { reason: "cut".into() }),
            Fault::Unanswered(n) | Fault::Gone(n) if n == call => Ok(true),
            Fault::Signal(n) => {
                if n == call {
                    self.cancelled.cancel();
                    self.signalled.set(Some(Instant::now()));
                }
                Ok(false)
            }
            Fault::Restart(n) if n == call => {
                self.restart_engine();
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// All ends, and what is meant to comes back, the oldest first: who finds its port taken stays
    /// down for good.
    fn restart_engine(&self) {
        let mut all = self.containers.borrow_mut();
        for one in all.iter_mut().filter(|one| one.is_up()) {
            one.status = Status::Stopped;
        }
        for disk in self.fronts.borrow_mut().values_mut() {
            disk.memory = None;
        }
        let mut back: Vec<_> = all.iter().filter(|one| one.kept_alive).cloned().collect();
        back.sort_by_key(|one| one.created);
        for one in back {
            let _ = self.starts(&mut all, &one.id);
        }
    }

    pub(crate) async fn act<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Vec<Container>) -> Result<T>,
    ) -> Result<T> {
        // A point at which a signal can take effect, as with every real call.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let unanswered = self.turn(what)?;
        let done = work(&mut self.containers.borrow_mut());
        match (unanswered, self.fault.get()) {
            (false, _) => done,
            (true, Fault::Gone(_)) => Err(HostError::Lost { reason: "cut".into() }),
            (true, _) => Err(refused()),
        }
    }

    /// Whether the last call was one whose answer is lost, but not its work.
    pub(crate) fn is_unanswered(&self) -> bool {
        let last = self.calls.get() - 1;
        matches!(self.fault.get(), Fault::Unanswered(n) | Fault::Gone(n) if n == last)
    }

    async fn change(&self, what: &str, id: &str, work: impl FnOnce(&mut Container)) -> Result<()> {
        self.act(&format!("{what} {id}"), |all| {
            self.touched.borrow_mut().push(id.to_owned());
            let one = all.iter_mut().find(|one| one.id == id).ok_or_else(refused)?;
            work(one);
            Ok(())
        })
        .await
    }

    /// What the engine does when it is told to start a container.
    fn starts(&self, all: &mut [Container], id: &str) -> Result<()> {
        self.touched.borrow_mut().push(id.to_owned());
        let one = all.iter().find(|one| one.id == id).ok_or_else(refused)?.clone();
        let taken = |other: &Container| {
            let port = || other.publish.iter().any(|a| one.publish.iter().any(|b| a.collides(b)));
            other.id != id && other.is_up() && (port() || other.address == one.address)
        };
        if all.iter().any(taken) {
            return Err(refused());
        }
        for one in all.iter_mut().filter(|one| one.id == id) {
            let crashes = one.label(label::REFERENCE).is_some_and(|name| name.contains("crash"));
            one.status = if crashes { Status::Stopped } else { Status::Running };
            one.exit_code = if crashes { 7 } else { 0 };
            if one.role() == Role::Task {
                // What the command says it does.
                let text = one.error.take().unwrap_or_default();
                one.exit_code = text.trim_start_matches("exit ").parse().unwrap_or_default();
                one.status = if text == "sleep" { Status::Running } else { Status::Stopped };
            }
        }
        Ok(())
    }

    pub(crate) fn answer_of(&self, which: impl Fn(&Container) -> bool) -> Probe {
        let all = self.containers.borrow();
        let running = all.iter().find(|one| one.status == Status::Running && which(one));
        let Some(one) = running else { return Probe::Silent { reason: "refused".into() } };
        let reference = one.label(label::REFERENCE).unwrap_or_default().to_owned();
        let sick = reference.contains("sick")
            || (reference.contains("trap") && one.role() == Role::Release && one.slot().is_none());
        Probe::Answer { status: if sick { 503 } else { 200 }, body: reference }
    }
}

pub(crate) fn refused() -> HostError {
    let source = slipway_engine::Error::Api { status: 500, message: "refused".into() };
    HostError::Engine { doing: "a call", source }
}

fn image_id(reference: &str) -> String {
    format!("id of {reference}")
}

impl Fake {
    /// The image that a name means, which may be another one than before.
    fn image_now(&self, reference: &str) -> String {
        let moved = self.moved.borrow().as_deref() == Some(reference);
        image_id(&if moved { format!("new {reference}") } else { reference.to_owned() })
    }
}

impl Host for Fake {
    async fn containers(&self, app: &str) -> Result<Vec<Container>> {
        self.act("list", |all| {
            Ok(all.iter().filter(|one| one.label(label::APP) == Some(app)).cloned().collect())
        })
        .await
    }

    async fn holders(&self) -> Result<Vec<Holder>> {
        self.act("ports", |all| {
            let up = all.iter().filter(|one| one.is_up() && !one.publish.is_empty());
            Ok(up
                .map(|one| Holder {
                    id: one.id.clone(),
                    name: one.name.clone(),
                    publish: one.publish.clone(),
                })
                .collect())
        })
        .await
    }

    async fn listens(&self, _: IpAddr, _: u16) -> Result<bool> {
        self.act("listens", |_| Ok(false)).await
    }

    async fn platform(&self) -> Result<Platform> {
        self.act("platform", |_| Ok(Platform { os: "linux".into(), architecture: "amd64".into() }))
            .await
    }

    async fn about(&self) -> Result<About> {
        self.act("about", |_| {
            let now = Timestamp::now();
            let told = now + self.skew.get();
            Ok(About {
                api: self.api.get(),
                version: "19.03.15".into(),
                root: "/var/lib/docker".into(),
                clock: Some(Clock { asked: now, told, answered: now }),
                proxied: false,
                machine: Machine::default(),
            })
        })
        .await
    }

    async fn free(&self, _: &str) -> Option<u64> {
        self.act("free", |_| Ok(self.free.get())).await.ok().flatten()
    }

    async fn registry(&self, _: &Job, _: &Platform, _: bool) -> Remotely {
        self.act("registry", |_| Ok(self.remotely.borrow().clone())).await.unwrap_or_default()
    }

    async fn image(&self, reference: &str) -> Result<Option<LocalImage>> {
        self.act("image", |_| {
            let pruned = self.pruned.borrow();
            let pruned = pruned.as_ref().is_some_and(|name| reference.contains(name.as_str()));
            let unpulled = reference.contains("unpulled") && !self.pulled.get();
            Ok((!unpulled && !pruned).then(|| LocalImage {
                id: self.image_now(reference),
                os: "linux".into(),
                architecture: "amd64".into(),
                repo_digests: vec![reference.to_owned()],
                created: None,
            }))
        })
        .await
    }

    async fn image_names(&self) -> Result<HashMap<String, String>> {
        self.act("image names", |_| {
            let names = self.image_names.borrow();
            Ok(names.iter().map(|name| (name.clone(), image_id(name))).collect())
        })
        .await
    }

    async fn images_in_use(&self) -> Result<HashSet<String>> {
        self.act("images", |all| Ok(all.iter().map(|one| one.image_id.clone()).collect())).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.act(&format!("remove image {reference}"), |all| {
            assert!(all.iter().all(|one| one.image_id != image_id(reference)), "it is used");
            self.image_names.borrow_mut().remove(reference);
            self.removed_images.borrow_mut().push(reference.to_owned());
            Ok(())
        })
        .await
    }

    async fn pull(&self, _: &Job, _: &mut dyn FnMut(String)) -> Result<()> {
        self.act("pull", |_| {
            if self.pruned.borrow().is_some() {
                return Err(refused());
            }
            self.pulled.set(true);
            Ok(())
        })
        .await
    }

    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String> {
        self.act(&format!("create {name}"), |all| {
            let clock = self.clock.get() + 1;
            self.clock.set(clock);
            let host = body.host_config.unwrap_or_default();
            let mut publish: Vec<Publish> = Vec::new();
            for (key, bindings) in host.port_bindings.unwrap_or_default() {
                for binding in bindings.unwrap_or_default() {
                    let text = format!("{}:{key}", binding.host_port.unwrap_or_default());
                    publish.push(text.parse().unwrap());
                }
            }
            let labels = body.labels.unwrap_or_default();
            let id = format!("c{clock}");
            self.touched.borrow_mut().push(id.clone());
            let environment = body.env.clone().unwrap_or_default();
            self.environments.borrow_mut().insert(id.clone(), environment);
            let mut one = crate::plan::tests::container(0, Role::Release, Status::Created, false);
            one.image_id = self.image_now(&labels[label::REFERENCE]);
            self.image_names.borrow_mut().insert(labels[label::REFERENCE].clone());
            let networks = body.networking_config.and_then(|config| config.endpoints_config);
            let wanted = networks
                .into_iter()
                .flatten()
                .find_map(|(_, endpoint)| endpoint.ipam_config?.ipv4_address?.parse().ok());
            let any = IpAddr::V4(Ipv4Addr::from(u32::try_from(clock).unwrap()));
            one.address = wanted.or(Some(any));
            one.created = Timestamp::from_second(clock).unwrap();
            one.name = name.to_owned();
            one.id = id.clone();
            one.publish = publish;
            let checked = labels[label::REFERENCE].contains("checked");
            one.healthcheck =
                checked.then_some(HealthCheck { status: HealthCheckStatus::Healthy, output: None });
            one.labels = labels;
            one.error = body.entrypoint.and_then(|words| words.into_iter().next_back());
            all.push(one);
            Ok(id)
        })
        .await
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>> {
        self.act(&format!("inspect {id}"), |all| Ok(all.iter().find(|one| one.id == id).cloned()))
            .await
    }

    /// All of it is one call: what happens to the client in the middle does not matter.
    async fn hand_over(&self, order: &Order<'_>, begun: &mut dyn FnMut()) -> Result<Handed> {
        self.act(&format!("{order:?}"), |all| {
            if !self.orders.get() {
                return Ok(Handed::Refused);
            }
            begun();
            let stop = |all: &mut Vec<Container>, id: &str| {
                self.touched.borrow_mut().push(id.to_owned());
                if let Some(one) = all.iter_mut().find(|one| one.id == id && one.is_up()) {
                    one.status = Status::Stopped;
                }
            };
            Ok(match *order {
                Order::Exchange { old, new, .. } => {
                    stop(all, old);
                    if self.starts(all, new).is_ok() {
                        Handed::Done
                    } else if self.starts(all, old).is_ok() {
                        Handed::Undone
                    } else {
                        Handed::Failed
                    }
                }
                Order::Restore { new, old, .. } => {
                    all.retain(|one| one.id != new);
                    match self.starts(all, old) {
                        Ok(()) => Handed::Done,
                        Err(_) => Handed::Failed,
                    }
                }
            })
        })
        .await
    }

    async fn start(&self, id: &str) -> Result<()> {
        self.act(&format!("start {id}"), |all| self.starts(all, id)).await
    }

    async fn stop(&self, id: &str, _: i32) -> Result<()> {
        self.change("stop", id, |one| {
            if one.is_up() {
                one.status = Status::Stopped;
            }
        })
        .await
    }

    async fn kill(&self, id: &str) -> Result<()> {
        self.change("kill", id, |one| one.status = Status::Stopped).await
    }

    async fn remove(&self, id: &str, _: bool) -> Result<()> {
        self.act(&format!("remove {id}"), |all| {
            self.touched.borrow_mut().push(id.to_owned());
            all.retain(|one| one.id != id);
            Ok(())
        })
        .await
    }

    async fn set_restart(&self, id: &str, restart: Option<Restart>) -> Result<()> {
        self.change("policy", id, |one| one.kept_alive = restart.is_some()).await
    }

    async fn log(&self, _: &str, _: usize) -> Result<Vec<String>> {
        self.act("log", |_| Ok(vec!["the end".into()])).await
    }

    async fn follow(&self, _: &str, each: &mut dyn FnMut(String)) -> Result<()> {
        self.act("follow", |_| Ok(())).await?;
        each("migrating".to_owned());
        Ok(())
    }

    async fn health(
        &self,
        ip: IpAddr,
        port: u16,
        ask: &Ask,
        limit: Duration,
    ) -> Result<HealthAnswer> {
        let probe = self.probe(ip, port, "", limit).await?;
        let Probe::Answer { body, .. } = &probe else { return Ok(probe.into()) };
        let speaks = if body.contains("greeter") { Ask::Connection } else { ask.clone() };
        Ok(match (ask, speaks) {
            (Ask::Connection, _) => HealthAnswer { healthy: true, ..HealthAnswer::default() },
            (_, Ask::Connection) => HealthAnswer {
                not_http: true,
                ..Probe::Silent { reason: "not an HTTP answer".into() }.into()
            },
            _ => probe.into(),
        })
    }

    async fn probe(&self, ip: IpAddr, port: u16, _: &str, _: Duration) -> Result<Probe> {
        self.act("probe", |_| Ok(())).await?;
        Ok(match ip.is_loopback() {
            true if self.passes_to().is_some() => {
                let id = self.passes_to();
                self.answer_of(|one| Some(&one.id) == id.as_ref())
            }
            true => self.answer_of(|one| one.publish.iter().any(|own| own.host_port == port)),
            false => self.answer_of(|one| one.address == Some(ip)),
        })
    }
}
