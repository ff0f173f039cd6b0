//! What can be known before anything is changed. Pure, but for the questions themselves (`check`).

mod check;
mod clock;
mod disk;
mod refused;

pub(crate) use check::{Checked, check};
pub(crate) use refused::Refused;

use slipway_engine::Reference;

use crate::container::Container;
use crate::error::SwapError;
use crate::host::{Holder, LocalImage, Platform};
use crate::publish::{Protocol, Publish};

/// Whether a host of this platform runs such images by itself.
fn runs(host: &Platform, os: &str, architecture: &str) -> bool {
    let native = host.architecture == architecture;
    // These processors still know their 32-bit forebears' instructions.
    let elder =
        matches!((host.architecture.as_str(), architecture), ("arm64", "arm") | ("amd64", "386"));
    host.os == os && (native || elder)
}

/// Refuses an image of another platform, `os/architecture[/variant]`.
pub(crate) fn platform(host: &Platform, image: &str) -> Result<(), SwapError> {
    let mut parts = image.split('/');
    let (os, architecture) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if runs(host, os, architecture) {
        return Ok(());
    }
    let host = format!("{}/{}", host.os, host.architecture);
    Err(SwapError::Architecture { image: image.to_owned(), host })
}

/// Refuses an image that is not the one that was asked for.
pub(crate) fn digest(image: &LocalImage, wanted: &Reference) -> Result<(), SwapError> {
    let same = |text: &String| {
        text.parse::<Reference>().is_ok_and(|found| {
            found.repository() == wanted.repository() && found.digest() == wanted.digest()
        })
    };
    if image.repo_digests.iter().any(same) {
        return Ok(());
    }
    Err(SwapError::Digest { reference: wanted.to_string(), found: image.repo_digests.join(", ") })
}

/// Refuses ports that a container holds which is not the one to be replaced.
pub(crate) fn ports(
    wanted: &[Publish],
    holders: &[Holder],
    live: Option<&Container>,
) -> Result<(), SwapError> {
    let strangers = holders.iter().filter(|holder| live.is_none_or(|live| live.id != holder.id));
    for holder in strangers {
        if let Some(one) =
            wanted.iter().find(|one| holder.publish.iter().any(|held| held.collides(one)))
        {
            let by = format!("the container {}", holder.name);
            return Err(SwapError::PortInUse { port: one.host_port, by });
        }
    }
    Ok(())
}

/// The wanted TCP ports that nothing of ours listens on now: whatever answers there is a stranger.
pub(crate) fn unheld(wanted: &[Publish], live: Option<&Container>) -> Vec<Publish> {
    let ours =
        |one: &Publish| live.is_some_and(|live| live.publish.iter().any(|held| held.collides(one)));
    let tcp = wanted.iter().filter(|one| one.protocol == Protocol::Tcp);
    tcp.filter(|one| !ours(one)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Role, Status};
    use crate::plan::tests::container;

    fn host(architecture: &str) -> Platform {
        Platform { os: "linux".into(), architecture: architecture.into() }
    }

    #[test]
    fn platforms() {
        for (architecture, image, fits) in [
            ("amd64", "linux/amd64", true),
            ("arm64", "linux/arm64/v8", true),
            ("arm64", "linux/arm/v7", true),
            ("amd64", "linux/386", true),
            ("amd64", "linux/arm64", false),
            ("arm64", "linux/amd64", false),
            ("amd64", "windows/amd64", false),
            ("amd64", "", false),
        ] {
            assert_eq!(platform(&host(architecture), image).is_ok(), fits, "{image}");
        }
    }

    #[test]
    fn a_digest_under_another_repository_is_another_image() {
        let hex = "0".repeat(64);
        let image = |name: &str| LocalImage {
            id: String::new(),
            os: String::new(),
            architecture: String::new(),
            repo_digests: vec![format!("{name}@sha256:{hex}")],
            created: None,
        };
        let wanted = |name: &str| format!("{name}@sha256:{hex}").parse().unwrap();
        assert!(digest(&image("r.io/web"), &wanted("r.io/web")).is_ok());
        // The engine shortens the names of Docker Hub.
        assert!(digest(&image("nginx"), &wanted("docker.io/library/nginx")).is_ok());
        assert!(digest(&image("r.io/other"), &wanted("r.io/web")).is_err());
    }

    #[test]
    fn only_what_is_to_be_replaced_may_hold_the_port() {
        let mut live = container(1, Role::Release, Status::Running, true);
        let wanted = vec!["8000:5000".parse().unwrap()];
        live.publish = wanted.clone();
        let holder =
            |id: &str| [Holder { id: id.into(), name: "blog".into(), publish: wanted.clone() }];
        assert!(ports(&wanted, &holder(&live.id), Some(&live)).is_ok());
        let error = ports(&wanted, &holder("x"), Some(&live)).unwrap_err().to_string();
        assert_eq!(error, "port 8000 of the host is held by the container blog");
        assert!(ports(&wanted, &holder(&live.id), None).is_err());
        assert!(unheld(&wanted, Some(&live)).is_empty());
        assert_eq!(unheld(&wanted, None), wanted);
    }
}
