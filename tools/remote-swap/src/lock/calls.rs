//! The lock's calls to the engine.
//!
//! As Docker 20.10 answers them: a creation of a name that exists is a 201 with the volume that was
//! there; `CreatedAt` is when the volume's directory was made, in whole seconds, and outlives
//! restarts and crashes of the daemon; the filter of a label compares all of it; a removal of what
//! is not there is a 404. A daemon that was killed in the middle of a creation leaves a volume
//! without labels, which is nobody's and whose name is not used again. Each call takes about a
//! millisecond of the engine, `GET /info` seven.

use jiff::Timestamp;
use slipway_engine::Error;
use slipway_engine::bollard::models::VolumeCreateRequest;
use slipway_engine::bollard::query_parameters::RemoveVolumeOptions;

use super::generation::{self, Generation, label};
use super::{Leases, Who};
use crate::host::Result;
use crate::link::QUICK;
use crate::remote::Remote;

impl Leases for Remote {
    async fn list(&self, app: &str) -> Result<Vec<Generation>> {
        let filter = format!("{}={app}", label::LOCK);
        self.call("looking at the lock", QUICK, async |engine| {
            let volumes = engine.volumes(&filter).await?;
            let read = volumes.iter().filter_map(|one| {
                let labels = one.labels.as_ref()?;
                Generation::read(app, &one.name, one.created_at.as_deref(), labels)
            });
            Ok(read.collect())
        })
        .await
    }

    async fn create(&self, app: &str, number: u64, since: Timestamp, who: &Who) -> Result<bool> {
        let request = VolumeCreateRequest {
            name: Some(generation::name(app, number)),
            // The driver of the engine itself, whatever else is installed.
            driver: Some("local".to_owned()),
            labels: Some(generation::labels(app, since, who)),
            ..VolumeCreateRequest::default()
        };
        self.call("taking the lock", QUICK, async |engine| {
            let made = engine.docker().create_volume(request.clone()).await?;
            Ok(made.labels.get(label::TOKEN) == Some(&who.token))
        })
        .await
    }

    async fn delete(&self, app: &str, number: u64) -> Result<()> {
        let name = generation::name(app, number);
        self.call("giving the lock back", QUICK, async |engine| {
            let removed = engine.docker().remove_volume(&name, None::<RemoveVolumeOptions>).await;
            match removed.map_err(Error::from) {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
        .await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.call("asking for the time", QUICK, async |engine| {
            let told = engine.info().await?.system_time;
            told.parse()
                .ok()
                .ok_or_else(|| Error::Protocol { what: "no time in GET /info".to_owned() })
        })
        .await
    }
}
