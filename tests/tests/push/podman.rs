//! Podman, by its Docker API.

use slipway_tests::from_run_sh;
use slipway_tests::lab::Run;
use slipway_tests::podman::Podman;
use slipway_tests::process::with_input;

use crate::site::{Site, document, image, layered, named, token};

fn push(podman: &Podman, site: &Site, id: &str, repository: &str) -> Run {
    let document = document(id, repository, &from_run_sh("LAB_REGISTRY"), &token());
    let mut push = site.tool();
    Run::of(&with_input(push.env("DOCKER_HOST", podman.host()), &document.to_string()))
}

/// The image that the registry has under this name.
fn there(site: &Site, repository: &str) -> String {
    let name = format!("docker://{}/{}:1", from_run_sh("LAB_REGISTRY"), named(repository));
    let mut skopeo = site.other("skopeo");
    skopeo.args(["inspect", "--raw", "--creds", &format!("AWS:{}", token()), &name]);
    let manifest: serde_json::Value =
        serde_json::from_str(&slipway_tests::lab::run(&mut skopeo)).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn what_it_has_is_pushed_by_it_or_directly() {
    let site = Site::new();
    let podman = Podman::start(&site.environment());
    for (repository, id, via) in [
        ("podman/small", image("podman"), "engine"),
        ("podman/large", layered("scratch", &[("one", 20_000_000), ("two", 4)]), "direct"),
    ] {
        podman.load(&id);
        let pushed = push(&podman, &site, &id, repository).good();
        assert_eq!(pushed.document["push"]["via"], via, "{}", pushed.told);
        let counted = pushed.document["push"]["layers_uploaded"].as_u64();
        assert_eq!(counted, (via == "direct").then_some(2), "its engine tells nothing of layers");
        assert_eq!(there(&site, repository), id);
        let again = push(&podman, &site, &id, repository).good();
        assert_eq!(again.document["push"]["already_present"], true);
        assert_eq!(again.document["push"]["digest"], pushed.document["push"]["digest"]);
    }
}
