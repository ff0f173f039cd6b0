//! The volumes of the engine in memory, and its containers in full.

use std::collections::HashMap;

use slipway_engine::bollard::models::{ContainerConfig, ContainerInspectResponse};

use super::fake::Fake;
use crate::host::Result;
use crate::look::Look;
use crate::volumes::{Volume, Volumes};

impl Volumes for Fake {
    async fn volumes(&self, label: &str, value: &str) -> Result<Vec<Volume>> {
        self.act("records", |_| {
            let all = self.volumes.borrow();
            let ours = all.iter().filter(|one| one.labels.get(label).is_some_and(|v| v == value));
            Ok(ours.cloned().collect())
        })
        .await
    }

    async fn create_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<()> {
        self.act("record", |_| {
            let mut all = self.volumes.borrow_mut();
            if all.iter().all(|one| one.name != name) {
                all.push(Volume { name: name.to_owned(), labels });
            }
            Ok(())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.act("forget", |_| {
            self.volumes.borrow_mut().retain(|one| one.name != name);
            Ok(())
        })
        .await
    }
}

impl Look for Fake {
    async fn describe(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        self.act("describe", |all| {
            let there = all.iter().any(|one| one.id == id);
            let env = self.environments.borrow().get(id).cloned();
            let config = Some(ContainerConfig { env, ..ContainerConfig::default() });
            Ok(there.then(|| ContainerInspectResponse {
                config,
                ..ContainerInspectResponse::default()
            }))
        })
        .await
    }
}
