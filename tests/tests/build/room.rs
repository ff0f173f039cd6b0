//! A build looks first whether there is room for it.

use super::*;

#[test]
fn free_space_is_told_and_too_little_refused() {
    let project = Project::new("room", COPY_ALL);
    let told = project.run(&[]).good().told;
    assert!(told.contains(" free where the engine keeps its images (/var/lib/docker)"), "{told}");
    let error = project.fails(&["--min-free", "1000000g"], 1, "disk_full");
    assert!(text(&error, "message").contains("less than the 976 TiB"), "{error:#}");
    project.fails(&["--min-free", "much"], 2, "usage");

    // An engine that is reached by TCP has a disk that is not here.
    let port = failures::over_tcp();
    let mut command = project.imgbuild();
    command.env("DOCKER_HOST", format!("tcp://127.0.0.1:{port}"));
    let told = Run::of(&without_input(&mut command)).good().told;
    assert!(told.contains("how much of it is free is not known"), "{told}");
}
