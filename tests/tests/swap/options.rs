//! Every option of a container is in the container, as `docker` itself would have put it there.

use super::*;

use std::collections::BTreeMap;

/// The same without what means nothing: the order of a list, and a list that is there but empty.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(list) if list.is_empty() => Value::Null,
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(plain).collect();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

/// A container's whole configuration as the engine tells it, but for what only names it.
pub(super) fn configured(container: &str) -> Value {
    let mut seen = inspect(container);
    let config = seen["Config"].as_object_mut().unwrap();
    // Labels are ours; to what a terminal would be attached is the docker client's.
    for key in ["Hostname", "Labels", "AttachStdin", "AttachStdout", "AttachStderr"] {
        config.remove(key);
    }
    // Of a name that is there twice, as docker's client leaves it, the last one counts.
    let env = config["Env"].as_array().unwrap().iter().map(|one| one.as_str().unwrap());
    let env: BTreeMap<String, String> = env
        .map(|one| one.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    config.insert("Env".to_owned(), json!(env));
    plain(&json!([seen["Config"], seen["HostConfig"], seen["Mounts"]]))
}

/// A container that `docker create` makes of the same options, never started; goes with the test.
struct Model(String);

impl Model {
    fn new(args: &[&str], reference: &str) -> Self {
        let mut all = vec!["create"];
        all.extend(args);
        all.push(reference);
        Self(app_engine(&all).trim().to_owned())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = app_engine(&["rm", "-f", &self.0]);
    }
}

/// A network on the server; goes with the test.
pub(super) struct Network(&'static str);

impl Network {
    pub(super) fn new(name: &'static str) -> Self {
        if app_engine(&["network", "ls", "-q", "--filter", &format!("name=^{name}$")]).is_empty() {
            app_engine(&["network", "create", name]);
        }
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = app_engine(&["network", "rm", self.0]);
    }
}

const ENV_FILE: &str = "\u{feff}# a comment\nPLAIN=from the file\r\n\n  INDENTED= kept \nQUOTED=\"as it stands\"\nEMPTY=\nHASH=a # b\nINHERITED\nBOTH=file\nEQUALS=a=b\n";

#[test]
fn flags_make_the_container_that_docker_makes_of_them() {
    // In the order of drops: the application's containers hold the others.
    let (_network, _volume) = (Network::new("swap-options"), Volume::new("swap-options"));
    let app = site("swap-options", 8120);
    std::fs::write(app.beside("env"), ENV_FILE).unwrap();
    let env_file = app.beside("env");
    let common = [
        "--publish",
        "127.0.0.1:8121:8000",
        "--publish",
        "8121:5353/udp",
        "--env",
        "GIVEN=spaces and $signs 'and quotes'",
        "--env",
        "NAMED",
        "--env",
        "BOTH=option",
        "--env",
        "NOTHING=",
        "--env-file",
        env_file.to_str().unwrap(),
        "--volume",
        "swap-options:/named",
        "--volume",
        "/etc/services:/bound/services:ro",
        "--network",
        "swap-options",
        "--memory",
        "64m",
        "--cpus",
        "0.75",
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=1m",
        "--log-opt",
        "max-file=2",
        "--restart",
        "on-failure:4",
        "--user",
        "10001:10001",
        "--read-only",
        "--tmpfs",
        "/tmp:size=16m",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "NET_BIND_SERVICE",
        "--security-opt",
        "no-new-privileges",
        "--pids-limit",
        "512",
    ];
    let mut swap = app.swap(&common);
    swap.args(["--stop-timeout", "7s"]).env("NAMED", "from here").env("INHERITED", "this too");
    let deployed = deploy(&mut swap, one()).good();
    let container = text_of(host(&deployed), "container_id");

    let mut docker = common.to_vec();
    docker.extend(["--publish", "8120:8000", "--stop-timeout", "7"]);
    // The client takes names from its own environment, so it is told them here.
    let position = docker.iter().position(|one| *one == "NAMED").unwrap();
    docker[position] = "NAMED=from here";
    docker.extend(["--env", "INHERITED=this too"]);
    let model = Model::new(&docker, one().reference());
    assert_eq!(configured(container), configured(&model.0));
    // The application's name is known in its network, and the names do answer.
    let seen = inspect(container);
    let aliases = &seen["NetworkSettings"]["Networks"]["swap-options"]["Aliases"];
    assert!(aliases.as_array().unwrap().contains(&json!("swap-options")), "{aliases}");
    assert_eq!(app.get("/").unwrap().0, 200);
    let ask =
        "import urllib.request as u; print(u.urlopen('http://swap-options:8000/').read().decode())";
    let answer = app_engine(&["exec", container, "python3", "-c", ask]);
    assert_eq!(answer.trim(), one().version);
    let env = app_engine(&["exec", container, "env"]);
    assert!(env.contains("\nGIVEN=spaces and $signs 'and quotes'\n"), "{env}");
    assert!(app_engine(&["exec", container, "cat", "/bound/services"]).contains("ssh"));
    // What is published on one address only is not open on the others.
    assert!(slipway_tests::lab::http_get(&from_run_sh("LAB_APP_ADDR"), 8121, "/").is_err());
}

/// The same options, once as variables and once as settings.
const PLAIN: [(&str, &str); 10] = [
    ("env", "GIVEN=1"),
    ("volume", "swap-plain:/named"),
    ("network", "swap-plain"),
    ("memory", "0.5g"),
    ("cpus", "1.5"),
    ("log_driver", "local"),
    ("log_opt", "max-size=2m"),
    ("restart", "unless-stopped"),
    ("stop_timeout", "1m"),
    ("health_path", "/anything"),
];

const LISTS: [&str; 4] = ["env", "volume", "log_opt", "publish"];

#[test]
fn the_environment_and_the_settings_say_the_same_as_flags() {
    let (_network, _volume) = (Network::new("swap-plain"), Volume::new("swap-plain"));
    let app = site("swap-plain", 8122);
    let ssh = app.ssh();
    let arguments: Vec<&str> = ssh.split(' ').collect();
    let mut options: Vec<(String, String)> =
        PLAIN.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    options.push(("publish".to_owned(), "8122:8000".to_owned()));
    options.push(("app".to_owned(), app.name.to_owned()));
    options.push(("strategy".to_owned(), "recreate".to_owned()));
    for pair in arguments.chunks(2) {
        options.push((pair[0].trim_start_matches("--").replace('-', "_"), pair[1].to_owned()));
    }

    let mut by_environment = tool("remote-swap");
    for (name, value) in &options {
        by_environment.env(format!("REMOTE_SWAP_{}", name.to_uppercase()), value);
    }
    let deployed = deploy(&mut by_environment, one()).good();
    assert_eq!(host(&deployed)["outcome"], "deployed");
    let container = text_of(host(&deployed), "container_id");

    let mut docker: Vec<String> = options
        .iter()
        .take(PLAIN.len() - 2)
        .map(|(name, value)| format!("--{}={value}", name.replace('_', "-")))
        .collect();
    docker.extend(["--publish=8122:8000".to_owned(), "--stop-timeout=60".to_owned()]);
    // What is safe is set without being asked for.
    docker.extend(["--security-opt=no-new-privileges".to_owned(), "--pids-limit=4096".to_owned()]);
    let docker: Vec<&str> = docker.iter().map(String::as_str).collect();
    let model = Model::new(&docker, one().reference());
    assert_eq!(configured(container), configured(&model.0));

    // The same from the document is the same run specification: nothing is to be done.
    let mut settings = serde_json::Map::new();
    for (name, value) in &options {
        let list = LISTS.contains(&name.as_str()) || name == "host" || name == "identity";
        settings.insert(name.clone(), if list { json!([value]) } else { json!(value) });
    }
    let mut document = one().document.clone();
    document["settings"] = json!({"remote-swap": settings});
    // Ways in are trusted to flags and variables only, unless somebody says otherwise.
    let mut trusting = tool("remote-swap");
    trusting.env("SLIPWAY_TRUST_SETTINGS", "true");
    let again = Run::of(&with_input(&mut trusting, &document.to_string())).good();
    assert_eq!(host(&again)["outcome"], "unchanged");
    assert_eq!(host(&again)["container_id"], container);

    // A flag goes before a variable, and that before a setting.
    let mut mixed = tool("remote-swap");
    mixed.env("SLIPWAY_TRUST_SETTINGS", "true");
    mixed.args(["--cpus", "1.25"]).env("REMOTE_SWAP_CPUS", "1").env("REMOTE_SWAP_MEMORY", "96m");
    let mixed = Run::of(&with_input(&mut mixed, &document.to_string())).good();
    let seen = inspect(text_of(host(&mixed), "container_id"));
    assert_eq!(seen["HostConfig"]["NanoCpus"], 1_250_000_000);
    assert_eq!(seen["HostConfig"]["Memory"], 96 << 20);
    assert_eq!(seen["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
}
