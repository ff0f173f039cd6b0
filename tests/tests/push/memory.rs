//! What imgpush remembers of registries spares work, and is never believed unasked.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use slipway_tests::lab::run;
use slipway_tests::process::as_root;

use crate::site::{Site, layered};

const DIRECT: &[&str] = &["--via", "direct"];

fn uploaded(document: &Value) -> (u64, u64) {
    let number = |name: &str| document["push"][name].as_u64().unwrap();
    (number("layers_uploaded"), number("layers_existing"))
}

#[test]
fn nothing_is_sent_twice() {
    let site = Site::new();
    let id = layered("scratch", &[("a", 500_000), ("b", 400_000)]);
    let first = site.push(&id, "memory/twice", DIRECT).good().document;
    assert_eq!(uploaded(&first), (2, 0));
    let again = site.push(&id, "memory/twice", &[]).good().document;
    assert_eq!(again["push"]["already_present"], true);
    assert_eq!(again["push"]["digest"], first["push"]["digest"]);
    assert!(again["push"].get("via").is_none());
    // Another tag is a manifest only, whoever would have sent the layers.
    let tagged = site.push(&id, "memory/twice", &["-t", "2"]).good().document;
    assert_eq!(tagged["push"]["digest"], first["push"]["digest"]);
    assert_eq!((uploaded(&tagged), &tagged["push"]["already_present"]), ((0, 2), &false.into()));
}

#[test]
fn only_the_layers_that_are_missing_are_sent() {
    let site = Site::new();
    let first = layered("scratch", &[("a", 500_000)]);
    let _ = site.push(&first, "memory/more", DIRECT).good();
    let second = layered("scratch", &[("a", 500_000), ("b", 300_000)]);
    let document = site.push(&second, "memory/more", DIRECT).good().document;
    assert_eq!(uploaded(&document), (1, 1));
}

#[test]
fn a_layer_as_large_as_a_known_one_is_sent_all_the_same() {
    let site = Site::new();
    let first = layered("scratch", &[("x", 500_000)]);
    let _ = site.push(&first, "memory/size", DIRECT).good();
    let second = layered("scratch", &[("x", 500_000), ("y", 500_000)]);
    let document = site.push(&second, "memory/size", DIRECT).good().document;
    assert!(document["push"]["layers_uploaded"].as_u64().unwrap() >= 1);
    let again = site.push(&second, "memory/size", &[]).good().document;
    assert_eq!(again["push"]["already_present"], true);
}

#[test]
fn another_repository_of_the_registry_gives_its_layers() {
    let site = Site::new();
    let id = layered("scratch", &[("m", 500_000)]);
    let _ = site.push(&id, "memory/from", DIRECT).good();
    let document = site.push(&id, "memory/to", DIRECT).good().document;
    assert_eq!(uploaded(&document), (0, 1));
}

#[test]
fn a_lost_memory_costs_time_only() {
    let site = Site::new();
    let id = layered("scratch", &[("l", 500_000)]);
    let first = site.push(&id, "memory/lost", DIRECT).good().document;
    fs::remove_file(site.memory()).unwrap();
    let again = site.push(&id, "memory/lost", &[]).good().document;
    assert_eq!(again["push"]["already_present"], true);
    assert_eq!(again["push"]["digest"], first["push"]["digest"]);
}

#[test]
fn a_wrong_memory_is_not_believed() {
    let site = Site::new();
    let id = layered("scratch", &[("w", 500_000)]);
    let first = site.push(&id, "memory/wrong", DIRECT).good().document;
    // All digests of blobs and manifests are changed in one letter.
    let text = fs::read_to_string(site.memory()).unwrap();
    let mut memory: Value = serde_json::from_str(&text).unwrap();
    let digest = &mut memory["layers"].as_object_mut().unwrap().values_mut().next().unwrap();
    for layer in digest.as_object_mut().unwrap().values_mut() {
        layer["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    }
    for images in memory["images"].as_object_mut().unwrap().values_mut() {
        for image in images.as_object_mut().unwrap().values_mut() {
            image["manifest"] = format!("sha256:{}", "1".repeat(64)).into();
        }
    }
    fs::write(site.memory(), memory.to_string()).unwrap();
    let tagged = site.push(&id, "memory/wrong", &["-t", "2", "--via", "direct"]).good().document;
    assert_eq!(uploaded(&tagged), (1, 0));
    assert_eq!(tagged["push"]["digest"], first["push"]["digest"], "the same bytes again");
}

#[test]
fn what_the_engine_pushed_is_remembered_too() {
    let site = Site::new();
    let first = layered("scratch", &[("e", 500_000)]);
    let document = site.push(&first, "memory/engine", &["--via", "engine"]).good().document;
    assert_eq!(document["push"]["via"], "engine");
    let tagged = site.push(&first, "memory/engine", &["-t", "2", "--via", "direct"]);
    assert_eq!(uploaded(&tagged.good().document), (0, 1));
}

#[test]
fn what_another_user_planted_is_neither_read_nor_changed() {
    let site = Site::new();
    let id = layered("scratch", &[("p", 500_000)]);
    let first = site.push(&id, "memory/planted", DIRECT).good();
    assert!(!first.told.contains("warning"), "{}", first.told);
    let (memory, victim) = (site.memory(), tempfile::NamedTempFile::new().unwrap());
    fs::write(victim.path(), "whole").unwrap();
    let lock = memory.with_extension("lock");
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(victim.path(), &lock).unwrap();
    let before = fs::read_to_string(&memory).unwrap();

    // One's own, with a link of any origin: it is not followed.
    let pushed = site.push(&id, "memory/planted-own", DIRECT).good();
    assert_eq!(fs::read_to_string(victim.path()).unwrap(), "whole", "{}", pushed.told);

    let directory = memory.parent().unwrap();
    let owner = |owner: &str| {
        run(&mut as_root(&["chown", "-R", "-h", owner, directory.to_str().unwrap()], &[]))
    };
    let own = fs::metadata("/proc/self").unwrap();
    let _ = owner("65534:65534");
    let pushed = site.push(&id, "memory/planted-theirs", DIRECT);
    let _ = owner(&format!("{}:{}", own.uid(), own.gid()));
    let pushed = pushed.good();
    let told = "warning: what is learned of the registry is not kept: ";
    assert!(pushed.told.contains(told) && pushed.told.contains("uid 65534"), "{}", pushed.told);
    assert_eq!(uploaded(&pushed.document), (1, 0), "nothing is known");
    assert_eq!(fs::read_to_string(victim.path()).unwrap(), "whole");
    assert_eq!(fs::read_to_string(&memory).unwrap(), before);
}
