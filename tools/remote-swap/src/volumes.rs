//! Named volumes with labels, of which a host's records are made: the engine writes each whole or
//! not at all, nothing has to be installed for them, and pruning containers leaves them.

use std::collections::HashMap;
use std::time::Duration;

use slipway_engine::bollard::models::VolumeCreateRequest;
use slipway_engine::bollard::query_parameters::RemoveVolumeOptions;
use slipway_engine::{Error, ListedVolume};

use crate::host::Result;
use crate::link::QUICK;
use crate::remote::Remote;

/// How long the engine may take to write one.
const CREATE: Duration = Duration::from_secs(20);

/// A volume. Its labels may hold secrets, so that it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) labels: HashMap<String, String>,
}

/// What records ask of a host.
pub(crate) trait Volumes {
    /// All volumes with this label and value.
    async fn volumes(&self, label: &str, value: &str) -> Result<Vec<Volume>>;
    /// Creates a volume; one of that name that is there already stays as it is.
    async fn create_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<()>;
    /// Removes a volume, also if there is none.
    async fn remove_volume(&self, name: &str) -> Result<()>;
}

impl Volumes for Remote {
    async fn volumes(&self, label: &str, value: &str) -> Result<Vec<Volume>> {
        let label = format!("{label}={value}");
        self.call("listing the records", QUICK, async |engine| {
            let found = engine.volumes(&label).await?.into_iter();
            let volume = |one: ListedVolume| Volume {
                name: one.name,
                labels: one.labels.unwrap_or_default(),
            };
            Ok(found.map(volume).collect())
        })
        .await
    }

    async fn create_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<()> {
        self.call("writing the record", CREATE, async |engine| {
            let request = VolumeCreateRequest {
                name: Some(name.to_owned()),
                labels: Some(labels.clone()),
                ..VolumeCreateRequest::default()
            };
            engine.docker().create_volume(request).await?;
            Ok(())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.call("removing a record", QUICK, async |engine| {
            let removed = engine.docker().remove_volume(name, None::<RemoveVolumeOptions>).await;
            match removed.map_err(Error::from) {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
        .await
    }
}
