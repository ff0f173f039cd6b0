//! Podman, by its Docker API: what stands beside the lab's own engine as one without BuildKit.

use super::*;

use slipway_tests::podman::Podman;

fn run_on(podman: &Podman, project: &Project, args: &[&str]) -> Run {
    let mut command = project.imgbuild();
    Run::of(&without_input(command.env("DOCKER_HOST", podman.host()).args(args)))
}

#[test]
fn it_builds_and_tells_why_it_cannot() {
    let podman = Podman::start(&[]);
    let dockerfile = "FROM scratch AS first\nARG GIVEN\nLABEL given=$GIVEN\nCOPY . /\nFROM first\n";
    let project = Project::new("podman", dockerfile);
    project.write("sub/file", "content");
    project.write("left-out.log", "content");
    project.write(".dockerignore", "*.log\n");
    let built = run_on(&podman, &project, &["--build-arg", "GIVEN=a b", "-t", "2"]).good();
    let id = text(&built.document["image"], "id").to_owned();
    let found = podman.run(&["image", "inspect", "--format", "{{.Id}} {{.Labels.given}}", &id]);
    assert_eq!(found.trim(), format!("{} a b", id.trim_start_matches("sha256:")));
    let archive = project.beside("image.tar");
    podman.run(&["save", "-o", archive.to_str().unwrap(), &id]);
    let layers = run(Command::new("sh").args(["-c", LAYERS, "sh", archive.to_str().unwrap()]));
    assert!(layers.contains("sub/file") && !layers.contains("left-out.log"), "{layers}");

    project.write("Dockerfile", "FROM scratch\nCOPY missing /\n");
    let failed = run_on(&podman, &project, &[]).bad("imgbuild", 1, "build_failed");
    assert!(failed.told.contains("missing"), "{}", failed.told);
}

/// The paths in all layers of an archive.
const LAYERS: &str = "d=$(mktemp -d) && tar -xf \"$1\" -C \"$d\" && for l in \"$d\"/*.tar; do tar -tf \"$l\"; done; rm -r \"$d\"";
