//! What an engine tells of itself and of what a registry has, where bollard's types are too strict
//! or too short: nothing that is asked here may fail for a word that is new.

use http::Method;
use serde::Deserialize;
use slipway_release::Reference;

use crate::auth::Auth;
use crate::engine::Engine;
use crate::error::Error;
use crate::transport::{REGISTRY_AUTH, Request};

/// An excerpt of the engine's `/info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Info {
    /// The engine's own id, which stays when it is restarted.
    #[serde(rename = "ID")]
    pub id: String,
    /// The host name of the engine's machine.
    pub name: String,
    /// The engine's version, such as `20.10.24`.
    pub server_version: String,
    /// How it keeps the files of images and containers, such as `overlay2`.
    pub driver: String,
    /// The directory that holds images and containers.
    pub docker_root_dir: String,
    /// The engine's clock, RFC 3339.
    pub system_time: String,
    /// The proxy through which it reaches registries; empty if it uses none.
    pub https_proxy: String,
    /// How many processors the engine's machine has.
    #[serde(rename = "NCPU")]
    pub cpus: i64,
    /// The machine's memory, in bytes.
    #[serde(rename = "MemTotal")]
    pub memory_bytes: i64,
    /// Containers that run, whosever they are.
    pub containers_running: i64,
    /// The machine's system, such as `Ubuntu 24.04.3 LTS`.
    pub operating_system: String,
    /// The version of its kernel.
    pub kernel_version: String,
    /// What its image store tells of itself: pairs of a name and a value.
    driver_status: Option<Vec<(String, String)>>,
}

impl Info {
    /// Whether images are kept in containerd's store, which alone holds images of several platforms.
    #[must_use]
    pub fn containerd_store(&self) -> bool {
        let known = ("driver-type", "io.containerd.snapshotter.v1");
        let mut told = self.driver_status.iter().flatten();
        told.any(|(name, value)| (name.as_str(), value.as_str()) == known)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Distribution {
    #[serde(default)]
    platforms: Vec<Platform>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

impl Engine {
    /// What the engine tells of itself.
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub async fn info(&self) -> Result<Info, Error> {
        self.json(Request::new(Method::GET, "/info")).await
    }

    /// The platforms that the registry has `image` for (`os/architecture[/variant]`), asked by the
    /// engine with `auth`.
    ///
    /// # Errors
    /// As [`Engine::distribution_digest`].
    pub async fn distribution_platforms(
        &self,
        image: &Reference,
        auth: Option<&Auth>,
    ) -> Result<Vec<String>, Error> {
        let request = Request::new(Method::GET, format!("/distribution/{image}/json"))
            .header(REGISTRY_AUTH.clone(), &Auth::header(auth, image.registry()))?;
        let found: Distribution = self.json(request).await?;
        Ok(found.platforms.into_iter().filter_map(text).collect())
    }
}

/// Attestations beside an image have the platform `unknown/unknown`.
fn text(platform: Platform) -> Option<String> {
    let parts = [platform.os, platform.architecture, platform.variant];
    let known = parts[..2].iter().all(|part| !part.is_empty() && part != "unknown");
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    known.then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_answers_are_read_whatever_else_they_hold() {
        // Excerpts of what Docker 20.10 answers.
        let info: Info = serde_json::from_str(
            r#"{"ServerVersion":"20.10.24+dfsg1","DockerRootDir":"/var/lib/docker","Driver":"overlay2","HttpsProxy":"",
                "SystemTime":"2026-11-23T07:00:00.12Z","CgroupDriver":"a new one"}"#,
        )
        .unwrap();
        assert_eq!(info.docker_root_dir, "/var/lib/docker");
        assert_eq!(info.driver, "overlay2");
        assert_eq!(info.system_time, "2026-11-23T07:00:00.12Z");
        assert!(!info.containerd_store());
        // Docker 26 with the containerd image store.
        let info: Info = serde_json::from_str(
            r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#,
        )
        .unwrap();
        assert!(info.containerd_store());
        let found: Distribution = serde_json::from_str(
            r#"{"Descriptor":{"digest":"sha256:0"},"Platforms":[{"architecture":"arm64","os":"linux","variant":"v8"},
                {"architecture":"amd64","os":"linux"},{"architecture":"unknown","os":"unknown"}]}"#,
        )
        .unwrap();
        let texts: Vec<_> = found.platforms.into_iter().filter_map(text).collect();
        assert_eq!(texts, ["linux/arm64/v8", "linux/amd64"]);
    }
}
