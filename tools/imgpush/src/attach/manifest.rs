//! The manifest by which a file is attached. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slipway_registry::{Descriptor, Error, MediaType, digest};

use super::file::Attachment;
use crate::image::CREATED;

/// The name of a file (OCI image specification, annotations).
const TITLE: &str = "org.opencontainers.image.title";

/// The content of a configuration that there is none of ("Guidance for an Empty Descriptor").
pub(crate) const EMPTY: &[u8] = b"{}";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn title(file: &Attachment) -> BTreeMap<String, String> {
    [(TITLE.to_owned(), file.title.clone())].into()
}

/// What the manifest is annotated with, and so its entry in a list.
pub(crate) fn annotations(file: &Attachment) -> BTreeMap<String, String> {
    let mut annotations = title(file);
    annotations.insert(CREATED.to_owned(), file.created.to_string());
    annotations
}

/// The same file gives the same bytes.
pub(crate) fn body(subject: &Descriptor, file: &Attachment) -> Result<Bytes, Error> {
    let layer = Descriptor::new(file.media_type(), file.content.digest.clone(), file.content.size);
    let empty = Descriptor::new(MediaType::OCI_EMPTY, digest(EMPTY), EMPTY.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MediaType::OCI_MANIFEST.to_owned(),
        artifact_type: file.media_type().to_owned(),
        config: Descriptor { data: Some("e30=".to_owned()), ..empty },
        // Clients that pull artifacts call the file so.
        layers: vec![Descriptor { annotations: title(file), ..layer }],
        subject: subject.clone(),
        annotations: annotations(file),
    };
    let body = serde_json::to_vec(&manifest);
    body.map(Bytes::from).map_err(|error| Error::Protocol { what: error.to_string().into() })
}

/// Whether the manifest of this entry is worth a look for the file.
pub(crate) fn may_hold(entry: &Descriptor, file: &Attachment) -> bool {
    entry.annotations.get(TITLE).is_none_or(|title| *title == file.title)
}

/// Whether the file is attached by this manifest to this subject, under its name.
pub(crate) fn holds(body: &[u8], subject: &Descriptor, file: &Attachment) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(body) else { return false };
    let [layer] = &manifest.layers[..] else { return false };
    manifest.subject.digest == subject.digest
        && layer.digest == file.content.digest
        && layer.annotations.get(TITLE) == Some(&file.title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::file::tests::attachment;
    use serde_json::{Value, json};

    fn subject() -> Descriptor {
        Descriptor::new(MediaType::DOCKER_MANIFEST, "sha256:s", 7)
    }

    #[test]
    fn an_artifact_as_the_specification_has_it() {
        let file = attachment("sbom.json", "{}\n");
        let body: Value = serde_json::from_slice(&body(&subject(), &file).unwrap()).unwrap();
        let annotated = json!({TITLE: "sbom.json", CREATED: "1970-01-01T00:00:01Z"});
        assert_eq!(
            body,
            json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/octet-stream",
                "config": {
                    "mediaType": "application/vnd.oci.empty.v1+json",
                    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                    "size": 2,
                    "data": "e30=",
                },
                "layers": [{
                    "mediaType": "application/octet-stream",
                    "digest": digest(b"{}\n"),
                    "size": 3,
                    "annotations": {TITLE: "sbom.json"},
                }],
                "subject": {"mediaType": MediaType::DOCKER_MANIFEST, "digest": "sha256:s", "size": 7},
                "annotations": annotated,
            })
        );
    }

    #[test]
    fn a_file_is_found_again_whatever_its_time() {
        let file = attachment("a", "1");
        let held = body(&subject(), &file).unwrap();
        let mut later = file;
        later.created = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(holds(&held, &subject(), &later));
        assert!(!holds(&held, &subject(), &attachment("a", "2")));
        assert!(!holds(&held, &subject(), &attachment("b", "1")));
        let other = Descriptor::new("m", "sha256:o", 7);
        assert!(!holds(&held, &other, &later) && !holds(b"{}", &other, &later));
    }
}
