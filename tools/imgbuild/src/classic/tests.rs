//! What is sent beside the directory's own files.

use super::*;

use std::fs;

fn of(root: &Path, file: &Path) -> (String, BTreeMap<String, String>) {
    fs::write(file, "FROM scratch\n").unwrap();
    let mut options = crate::options::Options::of(root);
    options.file = Some(file.display().to_string());
    let read = crate::plan::dockerfile(&options, &Place::Directory(root.to_owned())).unwrap();
    let (name, extras) = extras(&read).unwrap();
    let text = |extra: Extra| (extra.name, String::from_utf8(extra.content).unwrap());
    (name, extras.into_iter().map(text).collect())
}

#[test]
fn a_dockerfile_in_the_context_is_sent_as_it_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir(root.join("deploy")).unwrap();
    fs::write(root.join("deploy/Dockerfile"), "").unwrap();
    let (name, extras) = of(&root, &root.join("deploy/Dockerfile"));
    assert_eq!((name.as_str(), extras.len()), ("deploy/Dockerfile", 0));
}

#[test]
fn one_that_is_kept_out_is_sent_and_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::write(root.join("Dockerfile"), "").unwrap();
    fs::write(root.join(".dockerignore"), "Dockerfile").unwrap();
    let (name, extras) = of(&root, &root.join("Dockerfile"));
    assert_eq!(name, "Dockerfile");
    assert_eq!(extras["Dockerfile"], "FROM scratch\n");
    assert_eq!(extras[".dockerignore"], "Dockerfile\n.dockerignore\nDockerfile");
}

#[test]
fn one_outside_gets_a_name_that_nothing_has() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = dir.path().canonicalize().unwrap();
    fs::write(root.join(".dockerignore"), "*.log").unwrap();
    fs::write(other.path().join("Dockerfile"), "").unwrap();
    let (name, extras) = of(&root, &other.path().join("Dockerfile"));
    assert!(name.starts_with(".dockerfile."), "{name}");
    assert_eq!(extras[&name], "FROM scratch\n");
    assert_eq!(extras[".dockerignore"], format!("*.log\n.dockerignore\n{name}"));
}

#[test]
fn rules_beside_the_dockerfile_are_followed_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::write(root.join("Dockerfile"), "").unwrap();
    fs::write(root.join(".dockerignore"), "*").unwrap();
    fs::write(root.join("Dockerfile.dockerignore"), "").unwrap();
    let (_, extras) = of(&root, &root.join("Dockerfile"));
    assert_eq!(extras.len(), 1);
    assert_eq!(extras[".dockerignore"], "\n.dockerignore\n");
}

#[test]
fn an_archive_that_nobody_wants_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), vec![b'x'; 10 * CHUNK]).unwrap();
    let (pieces, receiver) = mpsc::channel(1);
    drop(receiver);
    let writer = Writer { pieces: &pieces, held: Vec::new() };
    pack(dir.path(), &Matcher::default(), &[], writer).unwrap();
}

#[test]
fn hosts_in_the_form_of_each_engine() {
    let host = |name: &str| Host { name: name.into(), address: "10.0.0.1".into() };
    let both = [host("a"), host("b")];
    assert_eq!(hosts(&both, false), ["a:10.0.0.1", "b:10.0.0.1"]);
    assert_eq!(hosts(&both, true), ["[\"a:10.0.0.1\",\"b:10.0.0.1\"]"]);
    assert!(hosts(&[], true).is_empty());
}
