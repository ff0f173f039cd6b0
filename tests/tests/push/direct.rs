//! What imgpush sends itself is what engines and other tools take.

use serde_json::{Value, json};
use slipway_tests::lab::{Run, app_engine, run};
use slipway_tests::process::{as_root, with_input};
use slipway_tests::{from_run_sh, tool};

use crate::site::{Site, built, engine_directory, layered, named, token};

fn reference(pushed: &Run) -> String {
    pushed.document["push"]["reference"].as_str().unwrap().to_owned()
}

/// Logs the application server's engine in for a pull, as remote-swap does with each.
fn pulled(reference: &str) {
    let config = tempfile::tempdir().unwrap();
    let config = config.path().to_str().unwrap();
    let login = format!(
        "echo {} | docker --config {config} login -u AWS --password-stdin {} >/dev/null 2>&1 && docker --config {config} pull -q {reference}",
        token(),
        from_run_sh("LAB_REGISTRY"),
    );
    run(std::process::Command::new("sh")
        .args(["-c", &login])
        .env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")));
}

/// The manifest, as skopeo reads it.
fn read_by_skopeo(site: &Site, reference: &str) -> Value {
    let creds = format!("AWS:{}", token());
    let raw = run(site
        .other("skopeo")
        .args(["inspect", "--raw", "--creds", &creds])
        .arg(format!("docker://{reference}")));
    serde_json::from_str(&raw).unwrap()
}

#[test]
fn an_image_is_pulled_and_run_by_an_engine_and_read_by_skopeo() {
    pulled_and_run(&Site::new(), "direct/run");
}

#[test]
fn so_is_one_that_was_read_from_the_engines_store() {
    pulled_and_run(&Site::beside(), "direct/run-store");
}

fn pulled_and_run(site: &Site, repository: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hello.py"), "print('hello from the layer')\n").unwrap();
    let dockerfile = "FROM python:3-slim\nCOPY hello.py /\nCMD [\"python3\", \"/hello.py\"]\n";
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    let id = built(directory.path(), &[]);
    // By itself: so much is missing that it is the faster way.
    let pushed = site.push(&id, repository, &[]).good();
    assert!(!pushed.told.contains("warning"), "{}", pushed.told);
    assert_eq!(pushed.document["push"]["via"], "direct", "{}", pushed.told);
    assert_eq!(pushed.document["push"]["compression"], "gzip");
    assert_eq!(pushed.document["push"]["already_present"], false);
    let reference = reference(&pushed);
    pulled(&reference);
    assert_eq!(app_engine(&["image", "inspect", "-f", "{{.Id}}", &reference]).trim(), id);
    let said = app_engine(&["run", "--rm", "--network", "none", &reference]);
    assert_eq!(said, "hello from the layer\n");
    let manifest = read_by_skopeo(site, &reference);
    assert_eq!(manifest["config"]["digest"], id);
    app_engine(&["rmi", &reference]);
}

#[test]
fn many_layers_in_parts_come_out_whole() {
    in_parts(&Site::new(), "direct/parts");
}

#[test]
fn many_layers_of_the_engines_store_come_out_whole() {
    in_parts(&Site::beside(), "direct/parts-store");
}

fn in_parts(site: &Site, repository: &str) {
    // More than a part, exactly some blocks, next to nothing, and one that compresses to a part.
    let layers = [("a", 20_000_000), ("b", 1 << 20), ("c", 1), ("d", 13_000_000), ("e", 700_000)];
    let id = layered("scratch", &layers);
    let pushed = site.push(&id, repository, &["--via", "direct"]).good();
    assert!(!pushed.told.contains("warning"), "{}", pushed.told);
    assert_eq!(pushed.document["push"]["layers_uploaded"], 5);
    let reference = reference(&pushed);
    // An engine checks each layer's digests, compressed and not, and the image's own.
    pulled(&reference);
    assert_eq!(app_engine(&["image", "inspect", "-f", "{{.Id}}", &reference]).trim(), id);
    app_engine(&["rmi", &reference]);
}

#[test]
fn zstd_is_read_by_skopeo_and_refused_before_an_old_engine_pulls_it() {
    let site = Site::new();
    let id = layered("scratch", &[("a", 3_000_000)]);
    let pushed = site.push(&id, "direct/zstd", &["--compression", "zstd"]).good();
    assert_eq!(pushed.document["push"]["compression"], "zstd");
    let manifest = read_by_skopeo(&site, &reference(&pushed));
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    let mut document = pushed.document;
    document["registry"]["password"] = json!(token());
    let mut swap = tool("remote-swap");
    swap.args(["--host", &from_run_sh("LAB_SSH"), "--identity", &from_run_sh("LAB_SSH_KEY")])
        .args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS"), "--publish", "8123:5000"]);
    let output = with_input(&mut swap, &document.to_string());
    let bad = Run::of(&output).bad("remote-swap", 1, "engine_unsupported");
    assert!(bad.document["error"]["message"].as_str().unwrap().contains("zstd"));
}

#[test]
fn zstd_by_the_engine_is_a_contradiction() {
    let id = format!("sha256:{}", "0".repeat(64));
    let bad = Site::new().push(&id, "x", &["--compression", "zstd", "--via", "engine"]);
    let _ = bad.bad("imgpush", 2, "usage");
}

#[test]
fn an_engine_with_one_platform_a_name_says_so() {
    let site = Site::new();
    let id = layered("scratch", &[("a", 10)]);
    let bad = site.push(&id, "direct/all", &["--platform", "all"]);
    let bad = bad.bad("imgpush", 1, "engine_unsupported");
    assert!(bad.document["error"]["message"].as_str().unwrap().contains("one platform"));
}

#[test]
fn the_tag_is_put_last_and_a_push_that_fails_leaves_none() {
    let site = Site::new();
    let id = layered("scratch", &[("a", 1_000_000)]);
    let bad = site.push(&id, "direct/none", &["--via", "direct", "--timeout", "1ms"]);
    let _ = bad.bad("imgpush", 124, "deadline_exceeded");
    let name = format!("docker://{}/{}:1", from_run_sh("LAB_REGISTRY"), named("direct/none"));
    let creds = format!("AWS:{}", token());
    let output = site.other("skopeo").args(["inspect", "--creds", &creds, &name]).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn little_is_read_from_the_engines_store_and_left_to_the_engine_elsewhere() {
    let id = layered("scratch", &[("little", 1000)]);
    let way = |site: &Site, repository| {
        let pushed = site.push(&id, repository, &[]).good();
        pushed.document["push"]["via"].as_str().unwrap().to_owned()
    };
    assert_eq!(way(&Site::new(), "direct/little"), "engine");
    assert_eq!(way(&Site::beside_another(), "direct/little-another"), "engine");
    assert_eq!(way(&Site::beside(), "direct/little-store"), "direct");
}

#[test]
fn what_the_engines_store_does_not_give_is_exported() {
    let site = Site::beside();
    let id = layered("scratch", &[("a", 3_000_000), ("b", 2_000_000)]);
    let format = ["image", "inspect", "-f", "{{index .RootFS.Layers 0}}", &id];
    let mut docker = std::process::Command::new("docker");
    let layer = run(docker.args(format).env("DOCKER_HOST", from_run_sh("DOCKER_HOST")));
    // The chain of the lowest layer is the layer itself.
    let chain = layer.trim().trim_start_matches("sha256:");
    let known = format!("{}/image/overlay2/layerdb/sha256/{chain}", engine_directory());
    // The engine itself reads this when it starts.
    let lose = "cd $0 && cp -p cache-id kept && echo lost >cache-id";
    run(&mut as_root(&["sh", "-c", lose, &known], &[]));
    let pushed = site.push(&id, "direct/lost", &["--via", "direct"]);
    run(&mut as_root(&["sh", "-c", "cd $0 && mv kept cache-id", &known], &[]));
    let pushed = pushed.good();
    assert!(pushed.told.contains("overlay2/lost/diff"), "{}", pushed.told);
    assert!(pushed.told.contains("having the engine export the image"), "{}", pushed.told);
    let reference = reference(&pushed);
    pulled(&reference);
    assert_eq!(app_engine(&["image", "inspect", "-f", "{{.Id}}", &reference]).trim(), id);
    app_engine(&["rmi", &reference]);
}
