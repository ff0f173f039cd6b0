//! What a registry's manifest tells of an image before it is pulled. Pure.
//!
//! Media types and fields are those of the OCI image specification and of Docker's schema 2.

use serde::Deserialize;

use crate::host::Platform;
use crate::preflight;

/// The manifests that are understood, for the Accept header.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// What a manifest says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// One image; its layers as they are transferred, in bytes.
    Image { bytes: u64 },
    /// Several, and this digest is the one for the host.
    Index { digest: String },
}

#[derive(Deserialize)]
struct Raw {
    layers: Option<Vec<Layer>>,
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Layer {
    size: u64,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<EntryPlatform>,
}

#[derive(Deserialize)]
struct EntryPlatform {
    os: String,
    architecture: String,
}

/// Reads a manifest; none if it is of no kind that is known, or has nothing for the host.
pub(crate) fn read(body: &[u8], host: &Platform) -> Option<Manifest> {
    let raw: Raw = serde_json::from_slice(body).ok()?;
    if let Some(layers) = raw.layers {
        let bytes = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        return Some(Manifest::Image { bytes });
    }
    let fits = |entry: &Entry| {
        entry.platform.as_ref().is_some_and(|platform| {
            let image = format!("{}/{}", platform.os, platform.architecture);
            preflight::platform(host, &image).is_ok()
        })
    };
    let entry = raw.manifests?.into_iter().find(fits)?;
    Some(Manifest::Index { digest: entry.digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Platform {
        Platform { os: "linux".into(), architecture: "arm64".into() }
    }

    #[test]
    fn the_layers_are_what_is_transferred() {
        let body =
            br#"{"schemaVersion":2,"config":{"size":7000},"layers":[{"size":100},{"size":23}]}"#;
        assert_eq!(read(body, &host()), Some(Manifest::Image { bytes: 123 }));
        assert_eq!(read(br#"{"layers":[]}"#, &host()), Some(Manifest::Image { bytes: 0 }));
    }

    #[test]
    fn of_an_index_the_hosts_own_is_taken() {
        let body = br#"{"manifests":[
            {"digest":"sha256:a","platform":{"os":"linux","architecture":"amd64"}},
            {"digest":"sha256:b","platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
            {"digest":"sha256:c","platform":{"os":"unknown","architecture":"unknown"}}]}"#;
        assert_eq!(read(body, &host()), Some(Manifest::Index { digest: "sha256:b".into() }));
        let other = Platform { os: "linux".into(), architecture: "s390x".into() };
        assert_eq!(read(body, &other), None);
    }

    #[test]
    fn what_is_no_manifest_tells_nothing() {
        for body in ["", "{}", "[]", r#"{"layers":[{"size":-1}]}"#, r#"{"errors":[]}"#] {
            assert_eq!(read(body.as_bytes(), &host()), None, "{body}");
        }
    }
}
