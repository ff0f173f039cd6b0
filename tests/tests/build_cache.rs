//! `--keep-cache` of imgbuild. A test binary of its own, since it takes the cache of the lab's engine
//! away from every other build.

use std::process::Command;

use slipway_tests::lab::{Run, ci_engine};
use slipway_tests::process::without_input;
use slipway_tests::{from_run_sh, tool};

/// What the builder keeps, in bytes as `docker` rounds them.
fn cache_bytes() -> f64 {
    let lines = ci_engine(&["system", "df", "--format", "{{.Type}}={{.Size}}"]);
    let size = lines.lines().find_map(|line| line.strip_prefix("Build Cache=")).unwrap();
    let split = size.find(|c: char| c.is_ascii_alphabetic()).unwrap();
    let units = ["B", "kB", "MB", "GB"];
    let power = units.iter().position(|unit| *unit == &size[split..]).unwrap();
    size[..split].parse::<f64>().unwrap() * 1000_f64.powi(i32::try_from(power).unwrap())
}

#[test]
fn the_builders_cache_is_cut_to_what_may_be_kept() {
    let directory = tempfile::tempdir().unwrap();
    let tag = format!("build-cache-{}:1", std::process::id());
    let build = |dockerfile: &str, args: &[&str]| {
        std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
        let mut command: Command = tool("imgbuild");
        command.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).args(["--no-input", "-t", &tag]);
        Run::of(&without_input(command.arg(directory.path()).args(args)))
    };
    // Each makes 20 MB that no image holds.
    let dockerfile = |n: u32| {
        format!(
            "FROM python:3-slim AS made\nRUN head -c 20000000 /dev/urandom >/{n}-{}\n\
             FROM scratch\nCOPY --from=made /etc/hostname /{n}\n",
            std::process::id()
        )
    };
    let _ = build(&dockerfile(1), &[]).good();
    let _ = build(&dockerfile(2), &[]).good();
    let before = cache_bytes();
    assert!(before >= 40e6, "{before}");
    let cut = build(&dockerfile(2), &["--label", "a=b", "--keep-cache", "25m"]).good();
    assert!(cut.told.contains("taken away to keep 25 MiB"), "{}", cut.told);
    let after = cache_bytes();
    assert!(after < before && after <= 26.3e6, "{before} before, {after} after");
    // The steps of that very build were used last, so they went last.
    let again = build(&dockerfile(2), &["--label", "asks=the-builder"]).good();
    let cached = |run: &Run| run.document["image"]["cached_steps"].as_u64().unwrap();
    assert_eq!(cached(&again), cached(&cut), "{}", again.told);
    assert!(cached(&again) >= 2, "{}", again.told);

    // So does one that has nothing to build.
    let _ = build(&dockerfile(1), &["--no-cache"]).good();
    let remembered = build(&dockerfile(1), &["--keep-cache", "15m"]).good();
    assert!(remembered.told.contains("nothing has changed"), "{}", remembered.told);
    assert!(remembered.told.contains("taken away to keep 15 MiB"), "{}", remembered.told);
    let after = cache_bytes();
    assert!(after <= 15.8e6, "{after}");

    // And one that fails: it has filled the cache, too.
    let bad = build("FROM python:3-slim\nRUN false\n", &["--keep-cache", "25m"]);
    let bad = bad.bad("imgbuild", 1, "build_failed");
    assert!(bad.told.contains("taken away to keep 25 MiB"), "{}", bad.told);
    ci_engine(&["rmi", &tag]);
}
