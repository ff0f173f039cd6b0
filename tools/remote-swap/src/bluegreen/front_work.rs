//! The front that a release needs: the one that runs as it is, after a reload, or a new one.

use super::{FRONT, FrontIntent, FrontWork, Scene, front_failed};
use crate::container::{Container, label};
use crate::error::SwapError;
use crate::front::{
    self, Backend, Config, DEFAULT_IMAGE, Files, Front, FrontHost, Network, PortMapping,
};
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
}
