//! Flags reach the image.

use super::*;

use std::process::Output;

use serde_json::json;
use slipway_tests::lab::shell;
use slipway_tests::process::with_input;

/// A Dockerfile that writes down what it is given.
const TELLS: &str = "FROM scratch AS first\nARG SLIPWAY_VERSION\nARG SLIPWAY_REVISION\n\
    ARG GIVEN=unset\nARG FROM_ENV=unset\nLABEL stage=first given=$GIVEN from_env=$FROM_ENV \
    version=$SLIPWAY_VERSION revision=$SLIPWAY_REVISION\nCOPY Dockerfile /\n\
    FROM scratch AS last\nLABEL stage=last\nCOPY Dockerfile /\n";

#[test]
fn the_dockerfile_may_lie_inside_and_outside_of_the_context() {
    let project = Project::new("file", "FROM scratch\nLABEL from=default\nCOPY . /\n");
    project.write("deploy/Dockerfile.prod", "FROM scratch\nLABEL from=inside\nCOPY . /\n");
    let outside = project.beside("elsewhere.Dockerfile");
    std::fs::write(&outside, "FROM scratch\nLABEL from=outside\nCOPY . /\n").unwrap();
    let inside = project.path().join("deploy/Dockerfile.prod");
    for (args, from) in [
        (vec![], "default"),
        (vec!["--file", inside.to_str().unwrap()], "inside"),
        (vec!["-f", outside.to_str().unwrap()], "outside"),
    ] {
        let image = project.build(&args);
        assert_eq!(image["labels"]["from"], from);
        // The context is the directory all the same.
        assert!(file_of(text(&image, "id"), "deploy/Dockerfile.prod").contains("from=inside"));
    }
}

#[test]
fn every_tag_names_the_image() {
    let project = Project::new("tags", COPY_ALL);
    let name = &project.name;
    let names = [format!("{name}:1.2"), format!("{name}-other:stable"), format!("{name}-auto")];
    let image = project.build(&["-t", &names[0], "--tag", &names[1], "--tag", &names[2]]);
    assert_eq!(text(&image, "name"), name);
    assert_eq!(text(&image, "tag"), "1.2", "the first is the release's");
    let tags: Vec<&str> =
        image["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    assert_eq!(tags[..2], names[..2]);
    assert!(tags[2].starts_with(&format!("{name}-auto:src-")), "{tags:?}");
    assert_eq!(tags.len(), 3);
    let known = project.images();
    assert_eq!(known.len(), 3, "{known:?}");
    for tag in tags {
        assert_eq!(known[tag], text(&image, "id"), "{tag}");
    }
}

#[test]
fn arguments_stage_and_labels_arrive() {
    let project = Project::new("given", TELLS);
    let tag = format!("{}:7", project.name);
    let built = Run::of(&without_input(
        project
            .imgbuild()
            .args(["--build-arg", "GIVEN=a=b c", "--build-arg", "FROM_ENV", "--target", "first"])
            .args(["--label", "mine=x y", "--label", "org.opencontainers.image.version=user's"])
            .args(["--tag", &tag])
            .env("FROM_ENV", "of the environment"),
    ))
    .good();
    let image = &built.document["image"];
    let labels = &inspect(text(image, "id"))["Config"]["Labels"];
    assert_eq!(labels, &image["labels"], "the document tells the image's labels");
    assert_eq!(labels["stage"], "first");
    assert_eq!(labels["given"], "a=b c");
    assert_eq!(labels["from_env"], "of the environment");
    assert_eq!(labels["version"], "7", "SLIPWAY_VERSION is the first tag");
    assert_eq!(labels["mine"], "x y");
    assert_eq!(labels["org.opencontainers.image.version"], "user's");
    // Without --target it is the last stage.
    assert_eq!(project.build(&[])["labels"]["stage"], "last");
}

#[test]
fn the_platform_is_the_one_asked_for() {
    let project = Project::new("platform", COPY_ALL);
    // One of the two is not the engine's own, whatever machine this is.
    for platform in ["linux/amd64", "linux/arm64"] {
        let image = project.build(&["--platform", platform]);
        assert_eq!(text(&image, "platform"), platform);
        let engine = inspect(text(&image, "id"));
        let told = format!("{}/{}", text(&engine, "Os"), text(&engine, "Architecture"));
        assert_eq!(told, platform);
    }
    let error = project.fails(&["--platform", "marble"], 2, "usage");
    assert!(text(&error, "message").contains("marble"), "{error}");
}

#[test]
fn a_second_build_is_cached_unless_told_otherwise() {
    let project = Project::new("cache", "FROM scratch\nCOPY . /\nCOPY Dockerfile /again\n");
    // The engine of the lab remembers earlier runs, too.
    project.write("unlike any other", &project.path().display().to_string());
    let first = project.build(&[]);
    assert_eq!((&first["steps"], &first["cached_steps"]), (&json!(2), &json!(0)));
    let second = project.build(&[]);
    assert_eq!((&second["steps"], &second["cached_steps"]), (&json!(2), &json!(2)));
    assert_eq!(second["id"], first["id"]);
    let anew = project.build(&["--no-cache"]);
    assert_eq!((&anew["steps"], &anew["cached_steps"]), (&json!(2), &json!(0)));

    // A step that does something else each time says whether it did run again.
    let step = format!("RUN cat /proc/sys/kernel/random/uuid >/made # {}", project.name);
    project.write(
        "Dockerfile",
        &format!("FROM {BASE} AS run\n{step}\nFROM scratch\nCOPY --from=run /made /\n"),
    );
    let made = |args: &[&str]| file_of(text(&project.build(args), "id"), "made");
    let first = made(&[]);
    assert_eq!(made(&[]), first);
    assert_ne!(made(&["--no-cache"]), first);
}

#[test]
fn the_network_of_steps_is_the_one_asked_for() {
    // Two lines of head, and the loopback.
    let alone =
        format!("FROM {BASE}\nRUN test $(wc -l </proc/net/dev) = 3 # {}", std::process::id());
    let project = Project::new("network", &alone);
    project.fails(&[], 1, "build_failed");
    project.build(&["--network", "none"]);
}

#[test]
fn secrets_arrive_and_are_in_no_layer() {
    let (of_file, of_variable) = ("canary-of-file-51c3", "canary-of-variable-a90e");
    let step = format!(
        "FROM {BASE}\nRUN --mount=type=secret,id=file,required=true \
         --mount=type=secret,id=variable,required=true \
         tr a-z A-Z </run/secrets/file >/arrived && \
         tr a-z A-Z </run/secrets/variable >>/arrived && : {}\n",
        std::process::id()
    );
    let project = Project::new("secret", &step);
    let path = project.beside("secret");
    std::fs::write(&path, format!("{of_file}\n")).unwrap();
    let output: Output = without_input(
        project
            .imgbuild()
            .args(["--secret", &format!("id=file,src={}", path.display())])
            .args(["--secret", "id=variable,env=THE_SECRET"])
            .env("THE_SECRET", of_variable),
    );
    let built = Run::of(&output).good();
    let id = text(&built.document["image"], "id");
    let wanted = format!("{of_file}\n{of_variable}").to_uppercase();
    assert_eq!(file_of(id, "arrived"), wanted);

    // `docker save` has each layer by itself, uncompressed, and the configuration with its history.
    let saved = project.beside("saved.tar");
    ci_engine(&["save", "-o", saved.to_str().unwrap(), id]);
    let holds = |needle: &str| {
        let status = Command::new("grep").args(["-qaF", needle]).arg(&saved).status().unwrap();
        status.code() == Some(0)
    };
    assert!(holds(&of_file.to_uppercase()), "the search finds what is known to be there");
    for secret in [of_file, of_variable] {
        assert!(!holds(secret), "{secret} is in the image");
        assert!(!built.told.contains(secret) && !built.document.to_string().contains(secret));
    }
}

/// The tag and the labels that a build without --tag gives itself.
fn automatic(project: &Project) -> (Value, String, Value) {
    let image = project.build(&["--target", "first"]);
    let tag = text(&image, "tag").to_owned();
    assert_eq!(text(&image, "name"), project.name, "the directory's name");
    assert_eq!(image["tags"], json!([format!("{}:{tag}", project.name)]));
    let labels = inspect(&format!("{}:{tag}", project.name))["Config"]["Labels"].clone();
    assert_eq!(labels["version"], tag, "SLIPWAY_VERSION");
    assert_eq!(labels["org.opencontainers.image.version"], tag);
    (image, tag, labels)
}

#[test]
fn version_and_revision_come_from_git() {
    let project = Project::new("git", TELLS);
    // Outside of a repository it is the content that makes the tag.
    let (image, outside, labels) = automatic(&project);
    assert_eq!(outside.strip_prefix("src-").map(str::len), Some(12), "{outside}");
    assert!(image.get("revision").is_none() && image.get("dirty").is_none(), "{image:#}");
    assert!(labels.get("org.opencontainers.image.revision").is_none(), "{labels}");
    assert_eq!(labels["revision"], "");
    assert_eq!(automatic(&project).1, outside, "the same content");
    project.write("more", "more");
    assert_ne!(automatic(&project).1, outside, "another content");

    project.git(&["init", "-q"]);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", "first"]);
    project.git(&["remote", "add", "origin", "https://user:hunter2@example.com/web.git"]);
    let commit = project.git(&["rev-parse", "HEAD"]);
    let (image, clean, labels) = automatic(&project);
    assert_eq!(clean, commit[..12]);
    assert_eq!((text(&image, "revision"), &image["dirty"]), (commit.as_str(), &Value::from(false)));
    assert_eq!(labels["org.opencontainers.image.revision"], commit);
    assert_eq!(labels["revision"], commit, "SLIPWAY_REVISION");
    assert_eq!(labels["org.opencontainers.image.source"], "https://example.com/web.git");

    project.write("more", "changed");
    let (image, dirty, labels) = automatic(&project);
    assert_eq!(dirty.strip_prefix(&format!("{}-dirty-", &commit[..12])).map(str::len), Some(8));
    assert_eq!((text(&image, "revision"), &image["dirty"]), (commit.as_str(), &Value::from(true)));
    assert_eq!(labels["org.opencontainers.image.revision"], commit);
    project.write("more", "changed again");
    assert_ne!(automatic(&project).1, dirty, "two uncommitted states are two releases");
}

#[test]
fn options_travel_in_the_document_and_the_environment() {
    let project = Project::new("settings", TELLS);
    let input = json!({
        "schema": "slipway.release/v1",
        "settings": {"imgbuild": {
            "context": project.path(),
            "tag": [format!("{}:from-document", project.name)],
            "target": "first",
            "build_arg": ["GIVEN=document"],
        }},
    });
    let script = "imgbuild --build-arg GIVEN=flag";
    let output = with_input(
        shell(script)
            .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
            // The project is no directory below this one.
            .env("SLIPWAY_TRUST_SETTINGS", "true")
            .env("IMGBUILD_TAG", format!("{}:from-environment", project.name)),
        &input.to_string(),
    );
    let image = &Run::of(&output).good().document["image"];
    assert_eq!(text(image, "tag"), "from-environment");
    assert_eq!(image["labels"]["given"], "flag");
    assert_eq!(image["labels"]["stage"], "first");
}
