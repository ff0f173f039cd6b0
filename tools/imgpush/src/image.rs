//! What the engine knows of the image.

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use slipway_engine::{Engine, Reference, Request};

use crate::Error;

/// An image of the engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// The digest of its configuration; with containerd's store that of its manifest or index.
    pub(crate) id: String,
    /// The ids of its layers, the base first.
    pub(crate) layers: Vec<String>,
    /// Names with digests under which the engine pulled or pushed it.
    pub(crate) repo_digests: Vec<String>,
    /// All layers unpacked, in bytes.
    pub(crate) size: u64,
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) created: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Step {
    #[serde(default)]
    size: u64,
}

/// The label that says when an image's content is from (OCI image specification, annotations).
pub(crate) const CREATED: &str = "org.opencontainers.image.created";

/// When an image is from: by its label, else by its configuration.
pub(crate) fn created(label: Option<&String>, config: Option<&str>) -> Option<Timestamp> {
    let parse = |text: &str| text.parse().ok();
    label.and_then(|text| parse(text)).or_else(|| config.and_then(parse))
}

impl Local {
    /// Asks the engine for an image by its id or name.
    pub(crate) async fn inspect(engine: &Engine, image: &str) -> Result<Self, Error> {
        let none = || Error::NoSuchImage { image: image.into() };
        let found = match engine.inspect_image(image).await {
            Ok(found) => found,
            Err(slipway_engine::Error::NotFound { .. }) => return Err(none()),
            Err(error) => return Err(error.into()),
        };
        let labels = found.config.and_then(|config| config.labels);
        let labels: BTreeMap<_, _> = labels.unwrap_or_default().into_iter().collect();
        Ok(Self {
            id: found.id.ok_or_else(none)?,
            layers: found.root_fs.and_then(|root| root.layers).unwrap_or_default(),
            repo_digests: found.repo_digests.unwrap_or_default(),
            size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            os: found.os.unwrap_or_default(),
            architecture: found.architecture.unwrap_or_default(),
            created: created(labels.get(CREATED), found.created.as_deref()),
        })
    }

    /// The digests of manifests that the engine knows for it in this repository.
    pub(crate) fn digests(&self, repository: &Reference) -> impl Iterator<Item = &str> {
        let name = repository.name();
        self.repo_digests
            .iter()
            .filter_map(move |known| known.strip_prefix(&name)?.strip_prefix('@'))
    }

    /// The sizes of its layers unpacked, as far as the engine's history tells them; else shares of
    /// the whole.
    pub(crate) async fn sizes(&self, engine: &Engine) -> Vec<u64> {
        let request = Request::new(Method::GET, format!("/images/{}/history", self.id));
        let steps: Vec<Step> = engine.json(request).await.unwrap_or_default();
        let sizes: Vec<u64> = steps.iter().rev().map(|step| step.size).collect();
        spread(&sizes, self.layers.len(), self.size)
    }
}

/// Gives each of so many layers its size: steps without a size have made none. Where the numbers do
/// not fit, a layer without content say, all get the same share.
fn spread(steps: &[u64], layers: usize, total: u64) -> Vec<u64> {
    let with_size: Vec<u64> = steps.iter().copied().filter(|size| *size > 0).collect();
    if with_size.len() == layers {
        return with_size;
    }
    let share = total / u64::try_from(layers.max(1)).unwrap_or(1);
    vec![share; layers]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_a_size_made_no_layer() {
        assert_eq!(spread(&[5, 0, 0, 7], 2, 12), [5, 7]);
        assert_eq!(spread(&[5, 0, 0, 7], 3, 12), [4, 4, 4]);
        assert_eq!(spread(&[], 0, 0), [0_u64; 0]);
    }

    #[test]
    fn the_label_goes_before_the_configuration() {
        let label = "2026-01-02T00:00:00Z".to_owned();
        let of = |label, config| created(label, config).map(|at| at.to_string());
        assert_eq!(of(Some(&label), Some("2020-01-01T00:00:00Z")), Some(label.clone()));
        assert_eq!(of(None, Some("2020-01-01T00:00:00Z")).as_deref(), Some("2020-01-01T00:00:00Z"));
        assert_eq!(of(Some(&"soon".to_owned()), None), None);
    }

    #[test]
    fn only_digests_of_the_very_repository_count() {
        let repo_digests = vec!["r.example/web@sha256:1".into(), "r.example/web2@sha256:2".into()];
        let local = Local { repo_digests, ..Local::default() };
        let repository: Reference = "r.example/web".parse().unwrap();
        assert_eq!(local.digests(&repository).collect::<Vec<_>>(), ["sha256:1"]);
    }
}
