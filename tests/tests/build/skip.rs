//! What the registry has already is not built again.

use super::*;

use slipway_tests::lab::shell;

/// Logs in, builds and pushes, as a shell does it.
fn pushed(project: &Project, build: &str, push: &str) -> Run {
    let line = format!(
        "ecrlogin --repository {} --ensure-repository | imgbuild {} {build} | imgpush {push}",
        project.name,
        project.path().display()
    );
    Run::of(&without_input(&mut shell(&line)))
}

#[test]
fn a_revision_that_is_pushed_is_built_once() {
    let project = Project::new("once", COPY_ALL);
    project.git(&["init", "-q"]);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", "as it is"]);
    let first = pushed(&project, "--skip-if-pushed", "").good();
    assert!(first.document["image"].get("pushed_reference").is_none());
    let id = text(&first.document["image"], "id").to_owned();

    // The image is gone from this engine, and not needed.
    ci_engine(&["rmi", "-f", &id]);
    let again = pushed(&project, "--skip-if-pushed", "").good();
    let (image, push) = (&again.document["image"], &again.document["push"]);
    assert_eq!(image["pushed_reference"], first.document["push"]["reference"]);
    assert!(image.get("id").is_none(), "{image:#}");
    for key in ["name", "tag", "tags", "revision", "committed_at", "branch"] {
        assert_eq!(image[key], first.document["image"][key], "{key}");
    }
    for key in ["repository", "tags", "digest", "reference"] {
        assert_eq!(push[key], first.document["push"][key], "{key}");
    }
    assert_eq!((&push["already_present"], &push["layers_uploaded"]), (&true.into(), &0.into()));
    assert!(project.images().is_empty(), "nothing was built: {}", again.told);

    // Another tag is not there, and a source that differs from its commit has no name to go by.
    let other = pushed(&project, "--skip-if-pushed", "--tag other");
    let other = other.bad("imgpush", 1, "manifest_not_found");
    assert!(text(&other.document["error"], "message").contains("built nothing"), "{}", other.told);
    project.write("new", "x");
    let dirty = pushed(&project, "--skip-if-pushed", "").good();
    assert_eq!(dirty.document["push"]["already_present"], false);
}

#[test]
fn what_cannot_be_looked_for_is_said() {
    let project = Project::new("unseen", COPY_ALL);
    let error = project.fails(&["--skip-if-pushed"], 3, "missing_section");
    assert!(text(&error, "hint").contains("ecrlogin"), "{error:#}");
    project.git(&["init", "-q"]);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", "as it is"]);
    let tagged = pushed(&project, &format!("--skip-if-pushed -t {}:stable", project.name), "");
    let tagged = tagged.bad("imgbuild", 2, "usage");
    assert!(text(&tagged.document["error"], "hint").contains("12 digits"), "{}", tagged.told);
}
