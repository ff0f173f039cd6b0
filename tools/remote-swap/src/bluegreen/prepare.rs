//! Everything before the front is turned: whatever fails here, what serves serves on.

use std::net::IpAddr;

use slipway_engine::bollard::models::{ContainerCreateBody, NetworkingConfig};
use slipway_shell::CancellationToken;
use tokio::time::Instant;

use super::{FRONT, FrontWork, Prepared, Ready, front_failed};
use crate::body;
use crate::container::{Container, Role, label};
use crate::error::SwapError;
use crate::front::{self, FrontHost, Network};
use crate::gate::{self, Gate, Patience, Where};
use crate::host::LocalImage;
use crate::provenance;
use crate::recreate::{Failed, HURRY, Swap, millis, short, why};
use crate::release_command;
use crate::slot::Slot;

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
            front: scene.front,
            adopted,
        })))
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
    pub(super) fn own_network(&self) -> Option<&str> {
        let name = self.job.spec.network.as_deref()?;
        (!matches!(name, "bridge" | "default")).then_some(name)
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
