//! The engine's own stores: images as they are kept, and the builder's cache.

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use slipway_release::Reference;

use crate::engine::Engine;
use crate::error::Error;
use crate::images::known;
use crate::transport::Request;

/// One entry of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HistoryEntry {
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// Who made it: the builder's name.
    pub comment: String,
    /// What it added, in bytes.
    pub size: i64,
}

/// What a prune of the builder's cache took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Pruned {
    /// Bytes that are free again.
    pub space_reclaimed: u64,
}

impl Engine {
    /// An image as the engine tells it, with what is newer than the types here.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the engine has no such image.
    pub async fn image_json(&self, image: &str) -> Result<Value, Error> {
        self.json(Request::new(Method::GET, format!("/images/{}/json", known(image)?))).await
    }

    /// An image's history, the oldest entry first.
    ///
    /// # Errors
    /// As [`Engine::image_json`].
    pub async fn image_history(&self, image: &str) -> Result<Vec<HistoryEntry>, Error> {
        let request = Request::new(Method::GET, format!("/images/{}/history", known(image)?));
        let mut entries: Vec<HistoryEntry> = self.json(request).await?;
        entries.reverse();
        Ok(entries)
    }

    /// Adds an image of layers that the engine has: `config` is its configuration, of which the id
    /// is the digest, and `layers` how many layers that names.
    ///
    /// It is an import without the layers: an engine with the classic image store looks for a layer
    /// by its chain of digests before it looks into the archive.
    ///
    /// # Errors
    /// [`Error::Api`] when the engine lacks a layer, or wants them all.
    pub async fn add_image(&self, config: &[u8], layers: usize) -> Result<(), Error> {
        let cannot = |error: std::io::Error| Error::Protocol { what: error.to_string() };
        let manifest = serde_json::json!([{
            "Config": "config.json",
            "RepoTags": null,
            "Layers": vec!["layer-of-the-engine.tar"; layers],
        }]);
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in
            [("config.json", config), ("manifest.json", manifest.to_string().as_bytes())]
        {
            let mut header = tar::Header::new_ustar();
            header.set_size(u64::try_from(content.len()).unwrap_or_default());
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content).map_err(cannot)?;
        }
        let archive = archive.into_inner().map_err(cannot)?;
        let request = Request::new(Method::POST, "/images/load")
            .query([("quiet", "1")])
            .body("application/x-tar", archive)?;
        self.messages(request).await?.drain(|_| ()).await
    }

    /// Takes a name from its image; the image goes with its last name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such name.
    pub async fn untag(&self, name: &Reference) -> Result<(), Error> {
        self.send(Request::new(Method::DELETE, format!("/images/{name}"))).await.map(drop)
    }

    /// Takes the least recently used of the builder's cache away until at most `keep` bytes are left.
    /// What images hold as well does not count and stays: it would free nothing. (With `all` it goes,
    /// and an engine takes its size off what is left, so that more is left in the end.)
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub async fn prune_builder(&self, keep: u64) -> Result<Pruned, Error> {
        let keep = keep.to_string();
        let request =
            Request::new(Method::POST, "/build/prune").query([("keep-storage", keep.as_str())]);
        self.json(request).await
    }
}
