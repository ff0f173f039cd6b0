//! What another user could do is tried in the end-to-end tests, as root.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

const SMALL: Limit = Limit { what: "the test", bytes: 8, beyond: "nothing" };

fn open(base: &Path) -> Result<PrivateDirectory, PrivateError> {
    PrivateDirectory::open(base, &["slipway", "tool"])
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What is refused, and why.
fn why<T>(result: Result<T, PrivateError>) -> Distrust {
    match result {
        Err(PrivateError::Unsafe { why, .. }) => why,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is used"),
    }
}

#[test]
fn what_is_missing_is_created_for_the_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path().join("home/.cache");
    let directory = open(&base).unwrap();
    assert!(directory.read("x.json", &SMALL).unwrap().is_none());
    for text in ["longer", "short"] {
        directory.replace("x.json", text.as_bytes()).unwrap();
        assert_eq!(directory.read("x.json", &SMALL).unwrap().unwrap(), text.as_bytes());
    }
    let path = directory.path("x.json");
    assert_eq!(path, base.join("slipway/tool/x.json"));
    assert_eq!(mode(&path), 0o600);
    for parent in path.ancestors().skip(1).take(4) {
        assert_eq!(mode(parent), 0o700, "{}", parent.display());
    }
    let names: Vec<_> = directory.files().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["x.json"]);
    directory.remove("x.json").unwrap();
    directory.remove("x.json").unwrap();
    assert!(!path.exists());
}

#[test]
fn directories_are_real_ones_that_nobody_else_writes() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), base.join("slipway")).unwrap();
    assert_eq!(why(open(base)), Distrust::Link);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is made there");
    fs::remove_file(base.join("slipway")).unwrap();
    fs::write(base.join("slipway"), "").unwrap();
    assert_eq!(why(open(base)), Distrust::NotDirectory);
    fs::remove_file(base.join("slipway")).unwrap();
    open(base).unwrap();
    for part in ["slipway", "slipway/tool"] {
        for open_to in [0o777, 0o770, 0o1777] {
            set_mode(&base.join(part), open_to);
            assert_eq!(why(open(base)), Distrust::Writable, "{part} {open_to:o}");
        }
        set_mode(&base.join(part), 0o755);
        open(base).unwrap();
    }
}

#[test]
fn where_caches_are_nobody_else_may_make_one() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path().join("cache");
    fs::create_dir(&base).unwrap();
    // Who may only create, as in /tmp, can put nothing in the place of ours; nor can one's own group.
    for (open_to, taken) in [(0o777, false), (0o757, false), (0o1777, true), (0o775, true)] {
        set_mode(&base, open_to);
        assert_eq!(open(&base).is_ok(), taken, "{open_to:o}");
        assert_eq!(open(&base.join("missing")).is_ok(), taken, "{open_to:o}");
    }
    set_mode(&base, 0o700);
    symlink(&base, place.path().join("link")).unwrap();
    assert!(open(&place.path().join("link")).is_ok(), "users move their caches to other disks");
}

#[test]
fn only_ones_own_small_regular_files_are_read() {
    let place = tempfile::tempdir().unwrap();
    let directory = open(place.path()).unwrap();
    let at = |name: &str| directory.path(name);
    let other = place.path().join("other");
    fs::write(&other, "other").unwrap();
    set_mode(&other, 0o600);
    symlink(&other, at("link")).unwrap();
    symlink("gone", at("dangling")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(at("socket")).unwrap();
    directory.replace("large", b"123456789").unwrap();
    for (name, expected) in [
        ("link", Distrust::Link),
        ("dangling", Distrust::Link),
        ("directory", Distrust::NotFile),
        ("fifo", Distrust::NotFile),
        ("socket", Distrust::NotFile),
    ] {
        assert_eq!(why(directory.read(name, &SMALL)), expected, "{name}");
        assert_eq!(why(directory.lock_file(name)), expected, "{name}");
    }
    assert_eq!(why(directory.read("large", &SMALL)), Distrust::TooLarge(SMALL.exceeded()));
    for open_to in [0o640, 0o620, 0o604, 0o602] {
        directory.replace("shared", b"x").unwrap();
        set_mode(&at("shared"), open_to);
        assert_eq!(why(directory.read("shared", &SMALL)), Distrust::Shared, "{open_to:o}");
    }
    for name in ["", ".", "..", "../x", "a/b"] {
        assert!(directory.read(name, &SMALL).is_err() && directory.replace(name, b"").is_err());
        assert!(directory.lock_file(name).is_err() && directory.remove(name).is_err(), "{name}");
    }
    directory.replace("link", b"ours").unwrap();
    directory.remove("dangling").unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "other");
    assert_eq!(fs::read_to_string(at("link")).unwrap(), "ours");
}

#[test]
fn what_is_locked_keeps_its_content() {
    let place = tempfile::tempdir().unwrap();
    let directory = open(place.path()).unwrap();
    let held = directory.lock_file("a.lock").unwrap();
    held.try_lock().unwrap();
    assert!(directory.lock_file("a.lock").unwrap().try_lock().is_err());
    drop(held);
    directory.lock_file("a.lock").unwrap().try_lock().unwrap();
    let other = place.path().join("other");
    fs::write(&other, "other").unwrap();
    set_mode(&other, 0o600);
    fs::hard_link(&other, directory.path("b.lock")).unwrap();
    directory.lock_file("b.lock").unwrap().try_lock().unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "other");
}

#[test]
fn a_directory_that_was_opened_stays_the_same_whatever_takes_its_place() {
    let place = tempfile::tempdir().unwrap();
    let directory = open(place.path()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(place.path().join("slipway"), place.path().join("moved")).unwrap();
    symlink(elsewhere.path(), place.path().join("slipway")).unwrap();
    directory.replace("x", b"x").unwrap();
    directory.lock_file("x.lock").unwrap();
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(place.path().join("moved/tool/x").exists());
}
