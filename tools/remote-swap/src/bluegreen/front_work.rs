//! The front that a release needs: the one that runs as it is, after a reload, or a new one.

use std::net::IpAddr;

use super::{ASK, FRONT, FrontIntent, FrontWork, LOOK, Scene, front_failed};
use crate::container::{Container, label};
use crate::error::SwapError;
use crate::front::{
    self, Backend, Config, DEFAULT_IMAGE, Files, Front, FrontHost, Network, PortMapping,
};
use crate::host::Probe;
use crate::options::FrontUpdate;
use crate::recreate::Swap;
use crate::slot::Slot;

impl<H: FrontHost> Swap<'_, H> {
    /// The configuration with the new release in its slot.
    pub(super) fn wanted(
        &self,
        config: &Config,
        slot: Slot,
        address: std::net::Ipv4Addr,
    ) -> Result<Config, SwapError> {
        let backend = Backend::new(address, &self.job.spec.health).ok_or_else(|| {
            front_failed("set up", "the application publishes no TCP port".to_owned())
        })?;
        let config = config.with(slot, backend, self.job.waits.drain_timeout.as_secs().max(1));
        // Who goes back says nothing of the front.
        let settings = self.job.front_settings.clone().unwrap_or(config.settings);
        Ok(Config { settings, ..config })
    }

    pub(super) fn needs_new_front(&self, front: &Front) -> bool {
        let sorted = |publish: &[crate::publish::Publish]| {
            let mut all = publish.to_vec();
            all.sort_unstable();
            all
        };
        sorted(&front.container.publish) != sorted(&self.job.spec.publish)
            || front.container.label(label::REFERENCE) != Some(self.front_image(Some(front)))
            || (front.newer.is_some() && self.job.front_update != FrontUpdate::Never)
    }

    /// The name of the front's image: as it is asked for, else as it is.
    pub(super) fn front_image<'f>(&'f self, front: Option<&'f Front>) -> &'f str {
        let asked = self.job.front_image.as_deref();
        let found = || front.and_then(|front| front.container.label(label::REFERENCE));
        asked.or_else(found).unwrap_or(DEFAULT_IMAGE)
    }

    /// Pulls the image of the front that runs, where that is asked for; and tells if there is a
    /// newer one.
    pub(super) async fn heed_front_image(&self, scene: &mut Scene) -> Result<(), SwapError> {
        let Some(front) = &mut scene.front else { return Ok(()) };
        let name = self.front_image(Some(&*front)).to_owned();
        if front.container.label(label::REFERENCE) != Some(&name) {
            return Ok(());
        }
        if self.job.front_update == FrontUpdate::Pull {
            self.pull_front_image(&name).await?;
            front.newer = self.newer_image(&front.container).await?;
        }
        if let (Some(newer), FrontUpdate::Never) = (&front.newer, self.job.front_update) {
            self.say(&front::outdated(&front.container, newer));
        }
        Ok(())
    }

    /// The image that the name of a front's image means on the host, if that is another one by now.
    pub(super) async fn newer_image(&self, front: &Container) -> Result<Option<String>, SwapError> {
        let name = front.label(label::REFERENCE).unwrap_or_default();
        let image = self.host.image(name).await?;
        Ok(image.map(|image| image.id).filter(|id| *id != front.image_id))
    }

    async fn pull_front_image(&self, image: &str) -> Result<(), SwapError> {
        let step = self.step(&format!("pulling the front's image {image}"));
        let pulled = self.host.pull_image(image, self.job, &mut |text| step.update(text)).await;
        pulled.map_err(|source| SwapError::FrontImage { image: image.to_owned(), source })?;
        step.done("pulled");
        Ok(())
    }

    /// Has a front ready that knows the new container: the one that runs if that will do.
    pub(super) async fn front_work(
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
        let new = Box::new(self.create_front(scene, &config, slot, network).await?);
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
            let same = config.does_the_same(&front.config);
            return Ok(if same {
                FrontIntent::Keep
            } else {
                FrontIntent::Reload(config.renewed())
            });
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
        let config = Config { ports, ..self.wanted(&config, slot, address)? };
        Ok(FrontIntent::Create(config.renewed()))
    }

    /// Has a front take its configuration up that has not: whoever changed it was cut short, or it
    /// did not start with it. Nobody but that front knows the token of the one before any more.
    pub(super) async fn catch_up(&self, front: &mut Front) -> Result<(), SwapError> {
        let mut patience = self.patience(FRONT);
        let (ip, port) = (IpAddr::V4(front.address), front.config.control_port());
        loop {
            let asked = self.host.ask(ip, port, "/", &front.config.token, ASK).await?;
            if !matches!(asked.probe, Probe::Answer { status: 404, .. }) {
                return Ok(());
            }
            // One that is taking it up refuses it until then.
            if patience.is_over() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let config = front.config.clone().renewed();
        let step = self.step("having the front take up its configuration");
        self.reload(front, &config).await?;
        step.done("taken up");
        front.config = config;
        Ok(())
    }

    /// Has the front take up a configuration, and waits until it has.
    async fn reload(&self, front: &Front, config: &Config) -> Result<(), SwapError> {
        let told = self.host.reload(&front.container.id, config).await?;
        told.map_err(|reason| front_failed("changed", reason))?;
        let (new, generation) =
            (Front { config: config.clone(), ..front.clone() }, config.generation());
        let seen = self.front_is(&new, FRONT, |state| state.generation == generation).await?;
        seen.map_err(|reason| front_failed("changed", reason))
    }

    /// Creates a front that is not started yet: what the engine does not like about it is told now.
    async fn create_front(
        &self,
        scene: &Scene,
        config: &Config,
        live: Slot,
        network: &Network,
    ) -> Result<Front, SwapError> {
        let image = self.front_image(scene.front.as_ref());
        let named = |front: &Front| front.container.label(label::REFERENCE) == Some(image);
        let pulled = scene.front.as_ref().is_some_and(named);
        let asked = self.job.front_update == FrontUpdate::Pull && !pulled;
        if asked || self.host.image(image).await?.is_none() {
            self.pull_front_image(image).await?;
        }
        let failed = |source| SwapError::Container { what: "front", done: "created", source };
        let body = front::body(self.job, image, network.subnet);
        let id = self.host.create(&front::name(self.job), body).await.map_err(failed)?;
        if let Some(own) = self.own_network() {
            self.host.connect(own, &id, Some(&self.job.app)).await.map_err(failed)?;
        }
        self.host.fill(&id, &Files::new(config, live)).await?;
        let container = self.host.inspect(&id).await?.ok_or(SwapError::Gone { what: "front" })?;
        let (address, config) = (network.subnet.front(), config.clone());
        Ok(Front { container, address, config, live, newer: None })
    }
}
