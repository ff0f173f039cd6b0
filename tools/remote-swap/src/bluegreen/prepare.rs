//! Everything before the front is turned: whatever fails here, what serves serves on.

use std::net::IpAddr;
use std::time::Duration;

use slipway_engine::bollard::models::{ContainerCreateBody, NetworkingConfig};
use slipway_shell::CancellationToken;
use tokio::time::Instant;

use super::{
    FRONT, FrontIntent, FrontWork, Layout, Prepared, Ready, Scene, front_failed, front_of,
};
use crate::body;
use crate::container::{Container, HealthCheckStatus, Role, Status, label};
use crate::error::SwapError;
use crate::front::{
    self, Backend, Config, DEFAULT_IMAGE, Files, Front, FrontHost, Network, PortMapping,
};
use crate::gate::{self, Gate, Patience, Where};
use crate::host::LocalImage;
use crate::provenance;
use crate::prune;
use crate::recreate::{Failed, HURRY, Swap, millis, short, why};
use crate::release_command;
use crate::slot::Slot;

/// How long to look whether something that should be healthy is.
const GLANCE: Duration = Duration::from_secs(3);

impl<H: FrontHost> Swap<'_, H> {
    pub(super) async fn prepare_slot(&mut self) -> Result<Prepared, Failed> {
        let scene = self.scene().await?;
        let scene = self.put_in_order(scene).await?;
        if let Some(live) = &scene.layout.live
            && self.is_unchanged(live, &scene).await?
        {
            self.replaces(live);
            self.confirm(live, &scene).await?;
            self.say(&format!("{} serves already", short(&self.job.reference)));
            return Ok(Prepared::Unchanged(Box::new(live.clone())));
        }
        let live = scene.layout.live.as_ref();
        live.iter().for_each(|live| self.replaces(live));
        let adopted = self.adopted(&scene).await?;
        let holder = scene.front.as_ref().map(|front| &front.container);
        let holder = holder.or(adopted.as_ref()).or(live).cloned();
        provenance::refuse_older(self.job, live).map_err(SwapError::from)?;
        let image = self.image(holder.as_ref()).await?;
        release_command::run(self.host, self.place, self.job, self.ui).await?;
        let network = match self.host.network(&self.job.app).await? {
            Some(network) => network,
            None => self.host.create_network(&self.job.app).await?,
        };
        let slot = scene.layout.spare();
        let new = self.start_in(slot, &network).await?;
        let work = self.front_work(&scene, &network, slot, holder).await?;
        let new = self.prove_in(slot, &new, &network, &work).await?;
        Ok(Prepared::Ready(Box::new(Ready {
            layout: scene.layout,
            image,
            new,
            slot,
            work,
            adopted,
        })))
    }

    /// Reads what is there.
    pub(super) async fn scene(&self) -> Result<Scene, SwapError> {
        let all = self.host.containers(&self.job.app).await?;
        let mut front = None;
        if let Some(container) = front_of(&all) {
            front = Some(self.read_front(container.clone()).await?);
        }
        let at = front.as_ref().map(|front| (front.container.id.as_str(), front.live));
        Ok(Scene { layout: Layout::of(all, at), front })
    }

    async fn read_front(&self, container: Container) -> Result<Front, SwapError> {
        let files = self.host.files(&container.id).await?;
        let network = self.host.network(&self.job.app).await?;
        let read = files.as_ref().and_then(|files| {
            let address = network.as_ref()?.subnet.front();
            Some((address, Config::parse(&files.config)?, files.live()?))
        });
        let Some((address, config, live)) = read else {
            let reason = format!("{} does not hold what was put there", container.name);
            return Err(front_failed("read", reason));
        };
        Ok(Front { container, address, config, live })
    }

    /// Brings what an earlier deploy left unfinished to one of its ends.
    async fn put_in_order(&self, mut scene: Scene) -> Result<Scene, Failed> {
        if let Some(front) = &mut scene.front
            && !front.container.is_up()
        {
            let step = self.step("starting the front, which is stopped");
            self.host.start(&front.container.id).await?;
            front.container.status = Status::Running;
            step.done("started");
        }
        self.choose(&mut scene).await?;
        let layout = &mut scene.layout;
        for leftover in std::mem::take(&mut layout.leftovers) {
            self.say(&format!("removing {}, left behind by an earlier deploy", leftover.name));
            self.dismiss(&leftover.id, leftover.role() != Role::Release).await?;
        }
        for old in std::mem::take(&mut layout.draining) {
            self.say(&format!("stopping {}, which an earlier deploy replaced", old.name));
            self.host.set_restart(&old.id, None).await?;
            self.stop_idle(&old).await?;
            layout.kept.insert(0, Container { status: Status::Stopped, kept_alive: false, ..old });
        }
        Ok(scene)
    }

    /// Turns the front to what is healthy, where that is not what it passes to: a deploy was cut
    /// short after the switch, and the new container has died since.
    async fn choose(&self, scene: &mut Scene) -> Result<(), Failed> {
        let Some(front) = &mut scene.front else { return Ok(()) };
        let layout = &mut scene.layout;
        let other = match (&layout.live, &layout.refuge) {
            (None, Some(refuge)) => refuge.clone(),
            (Some(live), _) => {
                let Some(old) = layout.draining.iter().find(|one| one.slot().is_some()) else {
                    return Ok(());
                };
                if self.is_well(live, front).await {
                    return Ok(());
                }
                old.clone()
            }
            (None, None) => return Ok(()),
        };
        let Some(slot) = other.slot() else { return Ok(()) };
        if !self.is_well(&other, front).await {
            // Neither is: then the one that was switched to stays where it is.
            layout.leftovers.extend(layout.refuge.take());
            return Ok(());
        }
        let step = self.step(&format!("going back to {}: what replaced it is down", other.name));
        self.host.set_restart(&other.id, Some(self.job.spec.restart)).await?;
        self.turn(front, slot).await?;
        step.done("it serves");
        front.live = slot;
        layout.refuge = None;
        layout.draining.retain(|one| one.id != other.id);
        layout.leftovers.extend(layout.live.replace(other));
        layout.slot = Some(slot);
        Ok(())
    }

    /// Whether a container in a slot runs and answers well at the moment.
    async fn is_well(&self, one: &Container, front: &Front) -> bool {
        let Some(slot) = one.slot() else { return false };
        let health = one.health();
        let at = match health.port {
            Some(port) => Where::Slot(IpAddr::V4(front.config.backend(slot).address), port),
            None => Where::Nowhere,
        };
        let gate = Gate {
            timeout: GLANCE,
            settled: Duration::ZERO,
            restarts: one.restarts,
            ..Gate::new(at, &health, false, &self.job.waits)
        };
        let patience = Patience { cancelled: &CancellationToken::new(), then: HURRY };
        gate::wait(self.host, &one.id, &gate, patience).await.1.is_ok()
    }

    /// Whether what is asked for is what serves, through a front as it is asked for.
    pub(super) async fn is_unchanged(
        &self,
        live: &Container,
        scene: &Scene,
    ) -> Result<bool, SwapError> {
        let Some(front) = &scene.front else { return Ok(false) };
        let same = live.label(label::REFERENCE) == Some(&self.job.reference.to_string())
            && live.label(label::SPEC_HASH) == Some(&self.job.spec_hash)
            && live.status == Status::Running;
        let sick = live
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.status == HealthCheckStatus::Unhealthy);
        let Some(slot) = live.slot() else { return Ok(false) };
        if !same || sick || self.needs_new_front(front) {
            return Ok(false);
        }
        let wanted = self.wanted(&front.config, slot, front.config.backend(slot).address)?;
        let asked = self.through_port(&front.config).await?;
        Ok(wanted == front.config && self.is_from(&asked, slot))
    }

    /// Does what a deploy that was cut short at its very end had left to do.
    async fn confirm(&self, live: &Container, scene: &Scene) -> Result<(), SwapError> {
        if !live.kept_alive {
            self.host.set_restart(&live.id, Some(self.job.spec.restart)).await?;
        }
        if let Some(front) = &scene.front
            && !front.container.kept_alive
        {
            self.host.set_restart(&front.container.id, Some(Self::FRONT_RESTART)).await?;
        }
        for old in scene.layout.kept.iter().filter(|one| one.kept_alive) {
            self.host.set_restart(&old.id, None).await?;
        }
        Ok(prune::releases(self.host, self.job).await?)
    }

    /// The container of somebody else's that is to be taken over, unless that is done already.
    pub(super) async fn adopted(&self, scene: &Scene) -> Result<Option<Container>, SwapError> {
        let Some(name) = &self.job.adopt else { return Ok(None) };
        let missing = || SwapError::Adopt { name: name.clone(), reason: "there is none" };
        if scene.front.is_some() {
            return Ok(None);
        }
        let one = self.host.inspect(name).await?.ok_or_else(missing)?;
        let reason = if one.label(label::APP).is_some() {
            "it is a container of this tool's"
        } else if !one.is_up() {
            "it does not run"
        } else if !self
            .job
            .spec
            .publish
            .iter()
            .all(|wanted| one.publish.iter().any(|held| held.collides(wanted)))
        {
            "it does not hold the ports that are to be published"
        } else {
            return Ok(Some(one));
        };
        Err(SwapError::Adopt { name: name.clone(), reason })
    }

    /// Starts the new container in a slot.
    async fn start_in(&mut self, slot: Slot, network: &Network) -> Result<String, SwapError> {
        let failed =
            |done| move |source| SwapError::Container { what: "new container", done, source };
        let name = body::name(self.job, Role::Release);
        let address = network.subnet.slot(slot).to_string();
        let body = in_slot(body::create(self.job, Role::Release), slot, &network.name, address);
        let id = self.host.create(&name, body).await.map_err(failed("created"))?;
        if let Some(own) = self.own_network() {
            self.host.connect(own, &id, None).await.map_err(failed("connected"))?;
        }
        self.host.start(&id).await.map_err(failed("started"))?;
        Ok(id)
    }

    /// The network that the options name; the engine's default one adds nothing to the front's.
    fn own_network(&self) -> Option<&str> {
        let name = self.job.spec.network.as_deref()?;
        (!matches!(name, "bridge" | "default")).then_some(name)
    }

    /// The configuration with the new release in its slot.
    fn wanted(
        &self,
        config: &Config,
        slot: Slot,
        address: std::net::Ipv4Addr,
    ) -> Result<Config, SwapError> {
        let backend = Backend::new(address, &self.job.spec.health).ok_or_else(|| {
            front_failed("set up", "the application publishes no TCP port".to_owned())
        })?;
        Ok(config.with(slot, backend, self.job.waits.drain_timeout.as_secs().max(1)))
    }

    pub(super) fn needs_new_front(&self, front: &Front) -> bool {
        let sorted = |publish: &[crate::publish::Publish]| {
            let mut all = publish.to_vec();
            all.sort_unstable();
            all
        };
        let image = front.container.label(label::REFERENCE);
        sorted(&front.container.publish) != sorted(&self.job.spec.publish)
            || self.job.front_image.as_deref().is_some_and(|wanted| image != Some(wanted))
    }

    /// Has a front ready that knows the new container: the one that runs if that will do.
    async fn front_work(
        &self,
        scene: &Scene,
        network: &Network,
        slot: Slot,
        holder: Option<Container>,
    ) -> Result<FrontWork, SwapError> {
        let config = match (self.front_intent(scene, network, slot)?, &scene.front) {
            (FrontIntent::Keep, Some(front)) => {
                return Ok(FrontWork::Keep(Box::new(front.clone())));
            }
            (FrontIntent::Reload(config), Some(front)) => {
                let step = self.step("changing the front's configuration");
                self.reload(front, &config).await?;
                step.done("changed, no request lost");
                return Ok(FrontWork::Keep(Box::new(Front { config, ..front.clone() })));
            }
            (FrontIntent::Keep | FrontIntent::Reload(_), None) => {
                return Err(SwapError::Gone { what: "front" });
            }
            (FrontIntent::Create(config), _) => config,
        };
        let new = Box::new(self.create_front(&config, slot, network).await?);
        let holder = holder.filter(Container::is_up).map(Box::new);
        Ok(FrontWork::Replace { new, holder })
    }

    /// Decides what the front needs to know the new container.
    pub(super) fn front_intent(
        &self,
        scene: &Scene,
        network: &Network,
        slot: Slot,
    ) -> Result<FrontIntent, SwapError> {
        let address = network.subnet.slot(slot);
        if let Some(front) = &scene.front
            && !self.needs_new_front(front)
        {
            let config = self.wanted(&front.config, slot, address)?;
            let same = config == front.config;
            return Ok(if same { FrontIntent::Keep } else { FrontIntent::Reload(config) });
        }
        let config = match &scene.front {
            Some(front) => front.config.clone(),
            None => {
                let backend = |slot| Backend {
                    address: network.subnet.slot(slot),
                    health_path: self.job.spec.health.path.clone(),
                    health_port: self.job.spec.health.port.unwrap_or_default(),
                };
                let (blue, green) = (backend(Slot::Blue), backend(Slot::Green));
                Config::new(Vec::new(), blue, green, 0)
            }
        };
        let ports = PortMapping::all(&self.job.spec.publish);
        Ok(FrontIntent::Create(Config { ports, ..self.wanted(&config, slot, address)? }))
    }

    /// Has the front take up a configuration, and waits until it has.
    async fn reload(&self, front: &Front, config: &Config) -> Result<(), SwapError> {
        let told = self.host.reload(&front.container.id, &config.text()).await?;
        told.map_err(|reason| front_failed("changed", reason))?;
        let (new, generation) =
            (Front { config: config.clone(), ..front.clone() }, config.generation());
        let seen = self.front_is(&new, FRONT, |state| state.generation == generation).await?;
        seen.map_err(|reason| front_failed("changed", reason))
    }

    /// Creates a front that is not started yet: what the engine does not like about it is told now.
    async fn create_front(
        &self,
        config: &Config,
        live: Slot,
        network: &Network,
    ) -> Result<Front, SwapError> {
        let image = self.job.front_image.as_deref().unwrap_or(DEFAULT_IMAGE);
        if self.host.image(image).await?.is_none() {
            let step = self.step(&format!("pulling the front's image {image}"));
            let pulled = self.host.pull_image(image, self.job, &mut |text| step.update(text)).await;
            pulled.map_err(|source| SwapError::FrontImage { image: image.to_owned(), source })?;
            step.done("pulled");
        }
        let failed = |source| SwapError::Container { what: "front", done: "created", source };
        let body = front::body(self.job, image, network.subnet);
        let id = self.host.create(&front::name(self.job), body).await.map_err(failed)?;
        if let Some(own) = self.own_network() {
            self.host.connect(own, &id, Some(&self.job.app)).await.map_err(failed)?;
        }
        self.host.fill(&id, &Files::new(config, live)).await?;
        let container = self.host.inspect(&id).await?.ok_or(SwapError::Gone { what: "front" })?;
        Ok(Front { container, address: network.subnet.front(), config: config.clone(), live })
    }

    /// Waits until the new container is healthy, also in the eyes of the front.
    async fn prove_in(
        &mut self,
        slot: Slot,
        id: &str,
        network: &Network,
        work: &FrontWork,
    ) -> Result<Container, Failed> {
        const WHAT: &str = "new container";
        let step = self.step(&format!("proving the new container in the slot {slot}"));
        let begun = Instant::now();
        let health = &self.job.spec.health;
        let at = match health.port {
            Some(port) => Where::Slot(IpAddr::V4(network.subnet.slot(slot)), port),
            None => Where::Nowhere,
        };
        let gate = Gate::new(at, health, false, &self.job.waits);
        // An interruption ends all of this from outside.
        let patience = Patience { cancelled: &CancellationToken::new(), then: HURRY };
        let (seen, result) = gate::wait(self.host, id, &gate, patience).await;
        if let Err(closed) = result {
            let error = why(WHAT, closed, &seen, gate.timeout);
            let evidence = Some(self.evidence("candidate", id, seen).await);
            return Err(Failed { evidence, ..error.into() });
        }
        self.outcome.start_ms = Some(millis(begun.elapsed()));
        if let FrontWork::Keep(front) = work {
            let up = self.front_is(front, FRONT, |state| state.is_up(slot)).await?;
            up.map_err(|reason| front_failed("shown the new container", reason))?;
        }
        step.done("it is healthy");
        seen.container.ok_or_else(|| SwapError::Gone { what: WHAT }.into())
    }

    /// The release's image and the running container's are one.
    pub(super) fn same_image(&self, new: &Container, image: &LocalImage) -> Result<(), SwapError> {
        if new.image_id == image.id {
            return Ok(());
        }
        let reference = self.job.reference.to_string();
        Err(SwapError::Digest { reference, found: new.image_id.clone() })
    }
}

/// The release in a slot: nothing published, an address of its own.
fn in_slot(
    mut body: ContainerCreateBody,
    slot: Slot,
    network: &str,
    address: String,
) -> ContainerCreateBody {
    let labels = body.labels.get_or_insert_default();
    labels.insert(label::SLOT.to_owned(), slot.as_str().to_owned());
    let host = body.host_config.get_or_insert_default();
    host.port_bindings = None;
    host.network_mode = Some(network.to_owned());
    body.networking_config = Some(NetworkingConfig {
        endpoints_config: Some([(network.to_owned(), front::at(address))].into()),
    });
    body
}
