//! Containers, images and volumes as an engine lists them, in types that hold no more than is asked
//! for: bollard's have room for everything, and a list may be long.

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use http::Method;
use serde::Deserialize;

use crate::engine::Engine;
use crate::error::Error;
use crate::transport::Request;

/// A container in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListedContainer {
    /// Its id.
    pub id: String,
    /// The id of the image that it was made of.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// Its names, each with a slash before it.
    pub names: Option<Vec<String>>,
    /// The ports that it opens or publishes.
    pub ports: Option<Vec<ListedPort>>,
}

/// A port of a container in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListedPort {
    /// The address of the host that it is published at.
    #[serde(rename = "IP")]
    pub ip: Option<String>,
    /// The port inside.
    pub private_port: u16,
    /// The port of the host, if it is published.
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub protocol: Option<String>,
}

/// An image in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListedImage {
    /// Its id.
    pub id: String,
    /// Its names by digest.
    pub repo_digests: Option<Vec<String>>,
}

/// A volume in a list. Its labels may hold secrets, so that it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListedVolume {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// Its labels.
    pub labels: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    volumes: Option<Vec<ListedVolume>>,
}

/// A label and its value as a filter of a list.
fn filters(label: Option<&str>) -> String {
    let labels: Vec<&str> = label.into_iter().collect();
    serde_json::json!({ "label": labels }).to_string()
}

impl Engine {
    /// The containers that run, or with `all` those that do not as well; with a label (`name=value`)
    /// if one is given.
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub async fn containers(
        &self,
        all: bool,
        label: Option<&str>,
    ) -> Result<Vec<ListedContainer>, Error> {
        let all = if all { "1" } else { "0" };
        let query = [("all", all), ("filters", &filters(label))];
        self.json(Request::new(Method::GET, "/containers/json").query(query)).await
    }

    /// The images that the engine has.
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub async fn images(&self) -> Result<Vec<ListedImage>, Error> {
        self.json(Request::new(Method::GET, "/images/json")).await
    }

    /// The volumes with a label (`name=value`).
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub async fn volumes(&self, label: &str) -> Result<Vec<ListedVolume>, Error> {
        let request = Request::new(Method::GET, "/volumes");
        let found: Volumes =
            self.json(request.query([("filters", &*filters(Some(label)))])).await?;
        Ok(found.volumes.unwrap_or_default())
    }

    /// A container in full, by its id or name. Its environment may hold secrets.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such container.
    pub async fn inspect_container(&self, id: &str) -> Result<ContainerInspectResponse, Error> {
        self.one(Request::new(Method::GET, format!("/containers/{id}/json"))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_answers_is_read() {
        let found: Vec<ListedContainer> = serde_json::from_str(
            r#"[{"Id":"a","Names":["/web"],"ImageID":"sha256:b","Labels":{"x":"y"},"Ports":[
                {"IP":"0.0.0.0","PrivatePort":5000,"PublicPort":8000,"Type":"tcp"},
                {"PrivatePort":80,"Type":"tcp"}]},{"Id":"c","Names":null,"Ports":null}]"#,
        )
        .unwrap();
        let ports = found[0].ports.as_ref().unwrap();
        assert_eq!((ports[0].public_port, ports[1].public_port), (Some(8000), None));
        let found: Volumes = serde_json::from_str(
            r#"{"Volumes":[{"Name":"v","Labels":null,"CreatedAt":"2026-11-23T07:00:00Z"}],"Warnings":null}"#,
        )
        .unwrap();
        assert_eq!(found.volumes.unwrap()[0].name, "v");
        assert_eq!(filters(Some("a=b")), r#"{"label":["a=b"]}"#);
    }
}
