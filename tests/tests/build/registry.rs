//! Base images: of a private registry with the document's credentials, and such as cannot be had.

use super::*;

use serde_json::json;
use slipway_tests::lab::shell;
use slipway_tests::process::with_input;

/// A base image that only the lab's registry has: pushed, and taken from the engine again.
pub(crate) fn pushed_base(project: &Project) -> String {
    project.write("of-base", &project.name);
    let image = project.build(&["-t", &format!("{}:1", project.name)]);
    let input = json!({
        "schema": "slipway.release/v1",
        "image": {"name": format!("build/{}", project.name), "tag": "1", "id": image["id"]},
    });
    let pushed = Run::of(&with_input(&mut shell("ecrlogin | imgpush"), &input.to_string())).good();
    let reference = text(&pushed.document["push"], "reference").to_owned();
    ci_engine(&["rmi", "-f", text(&image, "id")]);
    reference
}

#[test]
fn a_private_base_image_needs_the_documents_credentials() {
    let base = Project::new("base", COPY_ALL);
    let reference = pushed_base(&base);
    let (tagged, _) = reference.split_once('@').unwrap();
    let project = Project::new("derived", &format!("FROM {tagged}:1\nCOPY Dockerfile /mine\n"));

    let error = project.fails(&[], 4, "registry_denied");
    assert!(text(&error, "message").contains(&format!("{tagged}:1")), "{error:#}");
    assert!(text(&error, "hint").contains("ecrlogin"), "{error:#}");
    assert_eq!(error["retryable"], false);

    let host = from_run_sh("LAB_REGISTRY");
    let wrong = json!({
        "schema": "slipway.release/v1",
        "registry": {"host": host, "username": "AWS", "password": "not-the-token"},
    });
    let mut command = tool("imgbuild");
    command.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).arg(project.path());
    let bad = Run::of(&with_input(&mut command, &wrong.to_string())).bad(
        "imgbuild",
        4,
        "registry_denied",
    );
    assert!(!format!("{}{}", bad.told, bad.document["error"]).contains("not-the-token"));

    let line =
        format!("ecrlogin --registry-id {} | imgbuild {}", &host[..12], project.path().display());
    let built = Run::of(&without_input(&mut shell(&line))).good();
    let id = text(&built.document["image"], "id");
    assert_eq!(file_of(id, "context/of-base"), base.name);
    let told = built.document["registry"]["password"].as_str().unwrap();
    assert!(!built.told.contains(told), "the token is told to nobody");
}

#[test]
fn pull_asks_the_registry_though_the_engine_has_the_image() {
    let base = Project::new("local", COPY_ALL);
    let image = base.build(&[]);
    // The lab's registry wants a login and has no such image.
    let name = format!("{}/build/{}:1", from_run_sh("LAB_REGISTRY"), base.name);
    ci_engine(&["tag", text(&image, "id"), &name]);
    let project = Project::new("pull", &format!("FROM {name}\nCOPY Dockerfile /mine\n"));
    project.build(&[]);
    project.fails(&["--pull"], 4, "registry_denied");
    ci_engine(&["rmi", &name]);
    let error = project.fails(&[], 4, "registry_denied");
    assert!(text(&error, "message").contains(&name), "{error:#}");
}

#[test]
fn a_base_image_that_nobody_has_is_told_from_one_out_of_reach() {
    let host = from_run_sh("LAB_REGISTRY");
    let project = Project::new("nobody", &format!("FROM {host}/build/nobody-has-this:1\n"));
    let line =
        format!("ecrlogin --registry-id {} | imgbuild {}", &host[..12], project.path().display());
    let bad = Run::of(&without_input(&mut shell(&line)));
    let bad = bad.bad("imgbuild", 1, "base_image_unavailable");
    assert_eq!(bad.document["error"]["retryable"], false);

    // Nothing listens on this port of the engine's own loopback.
    project.write("Dockerfile", "FROM 127.0.0.1:9/nobody:1\n");
    let error = project.fails(&[], 5, "registry_unreachable");
    assert_eq!(error["retryable"], true, "{error:#}");
    assert!(text(&error, "message").contains("refused"), "{error:#}");
}

/// A directory for `DOCKER_CONFIG` with this in its config.json, and a helper that knows one login.
fn docker_config(project: &Project, config: &Value, helper: &str) -> PathBuf {
    let directory = project.beside("docker");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let program = directory.join("docker-credential-of-test");
    std::fs::write(&program, helper).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn logins_of_dockers_own_configuration_are_used() {
    let base = Project::new("config-base", COPY_ALL);
    let reference = pushed_base(&base);
    let host = from_run_sh("LAB_REGISTRY");
    let line = format!("ecrlogin --registry-id {} --no-input | cat", &host[..12]);
    let document = Run::of(&without_input(&mut shell(&line))).good().document;
    let password = text(&document["registry"], "password").to_owned();

    // A tag is looked up anew each time; a digest is taken from what the engine has.
    let (name, _) = reference.split_once('@').unwrap();
    let project = Project::new("config", &format!("FROM {name}:1\nCOPY Dockerfile /mine\n"));
    let mut encode = Command::new("sh");
    encode.args(["-c", "printf 'AWS:%s' \"$1\" | base64 -w0", "sh", &password]);
    let auth = run(&mut encode);
    let helper = format!(
        "#!/bin/sh\ntest \"$1\" = get && test \"$(cat)\" = {host} || \
         {{ echo credentials not found in native keychain; exit 1; }}\n\
         echo '{{\"ServerURL\": \"{host}\", \"Username\": \"AWS\", \"Secret\": \"{password}\"}}'\n"
    );
    let build = |config: &Value, helper: &str| {
        let directory = docker_config(&project, config, helper);
        let path = std::env::var("PATH").unwrap();
        let mut command = project.imgbuild();
        command.env("DOCKER_CONFIG", &directory).arg("--no-cache").arg("--pull");
        command.env("PATH", format!("{}:{path}", directory.display()));
        Run::of(&without_input(&mut command))
    };
    for config in [
        json!({"auths": {&host: {"auth": auth}}}),
        json!({"auths": {format!("https://{host}"): {"auth": auth}}}),
        json!({"credHelpers": {&host: "of-test"}}),
        json!({"auths": {&host: {}}, "credsStore": "of-test"}),
    ] {
        let built = build(&config, &helper).good();
        assert!(!built.told.contains(&password));
    }
    let store = json!({"credsStore": "of-test"});
    let (denied, config_failed) = ((4, "registry_denied"), (1, "docker_config_failed"));
    for (config, helper, (exit, code), words) in [
        (&json!({}), &helper[..], denied, "ecrlogin"),
        (
            &store,
            "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n",
            denied,
            "ecrlogin",
        ),
        (&store, "#!/bin/sh\necho the keychain is locked\nexit 1\n", config_failed, "config.json"),
        (&store, "#!/bin/sh\nexec yes\n", config_failed, "config.json"),
        (&json!({"credsStore": "not-installed"}), "", config_failed, "config.json"),
    ] {
        let bad = build(config, helper).bad("imgbuild", exit, code);
        assert!(text(&bad.document["error"], "hint").contains(words), "{:#}", bad.document);
    }
}

#[test]
fn an_empty_configuration_of_docker_is_as_none() {
    let project = Project::new("empty-config", COPY_ALL);
    let directory = project.beside("docker");
    std::fs::create_dir_all(&directory).unwrap();
    for text in ["", "\n", "{}", "null"] {
        std::fs::write(directory.join("config.json"), text).unwrap();
        let mut command = project.imgbuild();
        let _ = Run::of(&without_input(command.env("DOCKER_CONFIG", &directory))).good();
    }
}
