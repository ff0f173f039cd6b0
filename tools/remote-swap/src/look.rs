//! A container as the engine describes it in full: what a deploy does not need, and what a status
//! compares with what was deployed.

use slipway_engine::Error;
use slipway_engine::bollard::models::ContainerInspectResponse;

use crate::host::Result;
use crate::link::QUICK;
use crate::remote::Remote;

/// What status and rollback ask of a host beside what a deploy does.
pub(crate) trait Look {
    /// None if there is no such container. Its environment may hold secrets.
    async fn describe(&self, id: &str) -> Result<Option<ContainerInspectResponse>>;
}

impl Look for Remote {
    async fn describe(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        self.call("looking at the container", QUICK, async |engine| {
            match engine.inspect_container(id).await {
                Ok(seen) => Ok(Some(seen)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }
}
