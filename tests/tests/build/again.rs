//! What has not changed is not built again, and what has is.

use super::*;

/// Said where the builder is not asked.
const SAID: &str = "nothing has changed since this was built";

impl Project {
    /// Builds it, which must ask the builder or must not, and answers the document's section.
    fn builds(&self, why: &str, asks: bool, args: &[&str]) -> Value {
        let run = self.run(args).good();
        assert_eq!(!run.told.contains(SAID), asks, "{why}: {}", run.told);
        let image = run.document["image"].clone();
        assert_eq!(inspect(text(&image, "id"))["Id"], image["id"], "{why}");
        for name in image["tags"].as_array().unwrap() {
            assert_eq!(inspect(name.as_str().unwrap())["Id"], image["id"], "{why}");
        }
        image
    }
}

#[test]
fn a_context_that_has_not_changed() {
    let project = Project::new("again", COPY_ALL);
    project.write("a", "first");
    project.write("b/log", "x");
    project.write(".dockerignore", "b/log\n");
    let first = project.builds("the first", true, &["-t", "again:1"]);
    let mut second = project.builds("nothing changed", false, &["-t", "again:1"]);
    assert_eq!(second["cached_steps"], second["steps"]);
    for varies in ["build_ms", "cached_steps"] {
        second[varies] = first[varies].clone();
    }
    assert_eq!(second, first);
    let elsewhere = project.builds("another name", false, &["-t", "again:1", "-t", "again:other"]);
    assert_eq!(elsewhere["id"], first["id"]);

    project.write("b/log", "ignored, and longer");
    project.builds("what is ignored changed", false, &["-t", "again:1"]);
    project.write("a", "other");
    let changed = project.builds("a file of the same size", true, &["-t", "again:1"]);
    assert_eq!(files_of(text(&changed, "id"))["a"], "file 644 other");
    project.write("b/new", "x");
    project.builds("a new file", true, &["-t", "again:1"]);
    project.write(".dockerignore", "b\n");
    let ignored = project.builds("another rule", true, &["-t", "again:1"]);
    assert!(!files_of(text(&ignored, "id")).contains_key("b/new"));
    project.builds("a label", true, &["-t", "again:1", "--label", "a=b"]);
    project.builds("no label", false, &["-t", "again:1"]);
    project.write("Dockerfile", &format!("{COPY_ALL}LABEL c=d\n"));
    let labelled = project.builds("another Dockerfile", true, &["-t", "again:1"]);
    assert_eq!(labelled["labels"]["c"], "d");
    project.builds("nothing changed any more", false, &["-t", "again:1"]);
    ci_engine(&["rmi", "-f", text(&labelled, "id")]);
    project.builds("the image is gone", true, &["-t", "again:1"]);
    ci_engine(&["rmi", "again:1", "again:other"]);
}

#[test]
fn a_base_that_is_another_one_now() {
    let project = Project::new("base", "");
    let base = format!("{}-base:1", project.name);
    ci_engine(&["tag", BASE, &base]);
    // One that a stage begins with, and one that a file is taken from.
    let taken = format!("{}-taken:1", project.name);
    ci_engine(&["tag", BASE, &taken]);
    let from = format!("FROM {base}\nCOPY --from={taken} /etc/hostname /taken\nCOPY . /context/\n");
    project.write("Dockerfile", &from);
    project.builds("the first", true, &[]);
    // Only now it is known which bases not to lose sight of during a build.
    let second = project.builds("the second", true, &[]);
    let third = project.builds("nothing changed", false, &[]);
    assert_eq!(third["id"], second["id"]);
    project.builds("the first of another job", true, &["--label", "a=b"]);
    project.builds("the second of that job", false, &["--label", "a=b"]);
    for name in [&base, &taken] {
        let other = Project::new("other", &format!("FROM {BASE}\nRUN echo {name} >/etc/other\n"));
        ci_engine(&["tag", text(&other.build(&[]), "id"), name]);
        project.builds(&format!("{name} is another"), true, &[]);
        project.builds("nothing changed since", false, &[]);
    }
    ci_engine(&["rmi", &base, &taken]);
}

#[test]
fn what_is_built_anew_is_the_newer_result() {
    let name = std::process::id();
    let uuid = format!("RUN cat /proc/sys/kernel/random/uuid >/id # {name}\n");
    let project = Project::new("anew", &format!("FROM {BASE}\n{uuid}"));
    project.write("secret", "x");
    let first = project.builds("the first", true, &[]);
    project.builds("the second", true, &[]);
    project.builds("nothing changed", false, &[]);
    let anew = project.builds("--no-cache", true, &["--no-cache"]);
    assert_ne!(anew["id"], first["id"]);
    let after = project.builds("nothing changed since", false, &[]);
    assert_eq!(after["id"], anew["id"]);
    // Nothing tells whether a secret is the same, and what was built with one is newer, too.
    let secret = format!("id=x,src={}", project.path().join("secret").display());
    project.builds("a secret", true, &["--secret", &secret]);
    project.builds("a secret again", true, &["--secret", &secret]);
    project.builds("no secret", true, &[]);
}

#[test]
fn a_base_of_a_platform_is_asked_for_each_time() {
    let project = Project::new("platform", &format!("FROM --platform=linux/amd64 {BASE}\n"));
    for time in ["first", "second", "third"] {
        project.builds(time, true, &[]);
    }
}

#[test]
fn a_commit_that_was_built() {
    let project = Project::new("commit", COPY_ALL);
    project.git(&["init", "-q"]);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", "as it is"]);
    let first = project.builds("the first", true, &[]);
    let second = project.builds("nothing changed", false, &[]);
    assert_eq!(second["id"], first["id"]);
    project.git(&["commit", "-q", "--allow-empty", "-m", "another"]);
    let other = project.builds("another commit", true, &[]);
    assert_ne!(other["labels"], first["labels"]);
    assert_eq!(project.images().len(), 2, "{:?}", project.images());
}

#[test]
fn a_memory_that_is_lost_or_broken_costs_a_build() {
    let project = Project::new("memory", COPY_ALL);
    project.write("a", "x");
    let first = project.builds("the first", true, &[]);
    let memory = project.beside("cache/slipway/build");
    let files = || std::fs::read_dir(&memory).unwrap().map(|file| file.unwrap().path());
    assert_eq!(files().count(), 1);
    for broken in ["", "{", "[]", r#"{"version":1}"#] {
        files().for_each(|file| std::fs::write(file, broken).unwrap());
        let image = project.builds(broken, true, &[]);
        assert_eq!(image["id"], first["id"]);
    }
    project.builds("it is whole again", false, &[]);
    std::fs::remove_dir_all(&memory).unwrap();
    std::fs::write(&memory, "in the way").unwrap();
    project.builds("no place for it", true, &[]);
    project.builds("no place for it", true, &[]);
}
