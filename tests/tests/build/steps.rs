//! What RUN steps find around them, and what of them is kept.

use super::*;

use serde_json::json;
use slipway_tests::lab::{app_engine, shell};

/// Asks the agent that a step sees for its keys, in base64 as ssh-add -L shows them.
const ASKS_AGENT: &str = r#"import base64, os, socket, struct
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ["SSH_AUTH_SOCK"])
def ask(request):
    agent.sendall(struct.pack(">I", len(request)) + request)
    length, = struct.unpack(">I", agent.recv(4, socket.MSG_WAITALL))
    return agent.recv(length, socket.MSG_WAITALL)
answer = ask(b"\x0b")
kind, keys, length = struct.unpack(">BII", answer[:9])
assert (kind, keys) == (12, 1), answer
assert ask(b"\x13")[0] == 5, "all keys removed"
print(base64.b64encode(answer[9:9 + length]).decode(), file=open("/key", "w"))
"#;

#[test]
fn a_step_finds_the_ssh_agent_that_it_is_given() {
    let dockerfile = format!(
        "FROM {BASE}\nCOPY ask.py /\nRUN --mount=type=ssh,required=true python3 /ask.py # {}\n",
        std::process::id()
    );
    let project = Project::new("ssh", &dockerfile);
    project.write("ask.py", ASKS_AGENT);
    let key = project.beside("key");
    let keygen = ["-q", "-N", "", "-C", "", "-t", "ed25519", "-f"];
    run(Command::new("ssh-keygen").args(keygen).arg(&key));

    let error = project.fails(&[], 1, "build_secret_missing");
    assert!(text(&error, "hint").contains("--ssh default"), "{error:#}");

    let image = project.build(&["--ssh", &format!("default={}", key.display())]);
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let blob = public.split_whitespace().nth(1).unwrap();
    assert_eq!(file_of(text(&image, "id"), "key").trim(), blob);
}

#[test]
fn hosts_are_known_to_steps() {
    let step = format!("RUN grep -v '^::1\\|^127' /etc/hosts >/hosts # {}", std::process::id());
    let project = Project::new("hosts", &format!("FROM {BASE}\n{step}\n"));
    let image = project.build(&[
        "--add-host",
        "db.internal:10.1.2.3",
        "--add-host",
        "six=[fe80::7]",
        "--add-host",
        "up:host-gateway",
    ]);
    let hosts = file_of(text(&image, "id"), "hosts");
    let gateway = ci_engine(&[
        "network",
        "inspect",
        "bridge",
        "--format",
        "{{range .IPAM.Config}}{{.Gateway}}{{end}}",
    ]);
    let known = |address: &str, name: &str| {
        hosts.lines().any(|line| line.split_whitespace().eq([address, name]))
    };
    assert!(known("10.1.2.3", "db.internal"), "{hosts}");
    assert!(known("fe80::7", "six"), "{hosts}");
    assert!(known(gateway.trim(), "up"), "{hosts}");
}

#[test]
fn one_stage_is_built_anew() {
    let made = "cat /proc/sys/kernel/random/uuid";
    let project = Project::new(
        "filter",
        &format!(
            "FROM {BASE} AS one\nRUN {made} >/one # {name}\nFROM {BASE} AS two\n\
             RUN {made} >/two # {name}\nFROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
            name = std::process::id()
        ),
    );
    let both = |args: &[&str]| {
        let image = project.build(args);
        let id = text(&image, "id");
        (file_of(id, "one"), file_of(id, "two"))
    };
    let first = both(&[]);
    let second = both(&["--no-cache-filter", "two"]);
    assert_eq!(second.0, first.0);
    assert_ne!(second.1, first.1);
    assert_eq!(both(&[]), second);
}

#[test]
fn a_cache_in_the_image_serves_an_engine_that_never_saw_it() {
    let project = Project::new("inline", "FROM scratch\nCOPY . /\n");
    project.write("unlike any other", &project.path().display().to_string());
    let (context, registry) = (project.path(), from_run_sh("LAB_REGISTRY"));
    let tag = format!("{registry}/build/{}:cache", project.name);
    let line = format!(
        "imgbuild --no-input {} -t {tag} --cache-to type=inline | \
         ecrlogin --ensure-repository | imgpush",
        context.display()
    );
    let pushed = Run::of(&without_input(&mut shell(&line))).good();
    ci_engine(&["rmi", &tag]);

    let elsewhere = |option: &str| {
        let name = format!("{}:1", project.name);
        let line = format!(
            "ecrlogin --registry-id {} | imgbuild {} -t {name} {option}",
            &registry[..12],
            context.display()
        );
        let mut command = shell(&line);
        command.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST"));
        let built = Run::of(&without_input(&mut command)).good();
        app_engine(&["rmi", &name]);
        built.document["image"]["cached_steps"].clone()
    };
    assert_eq!(pushed.document["image"]["steps"], 1);
    assert_eq!(elsewhere(&format!("--cache-from {tag}")), 1);
}

#[test]
fn what_this_engine_cannot_do_is_said_before_the_build() {
    let project = Project::new("cannot", "this is no Dockerfile\n");
    let directory = format!("more={}", project.path().display());
    let all = [
        ["--shm-size", "128m"],
        ["--ulimit", "nofile=10"],
        ["--build-context", &directory],
        ["--platform", "linux/amd64,linux/arm64"],
        ["--cache-to", "type=local,dest=/nowhere"],
        ["--cache-to", "type=registry,ref=web:cache"],
    ];
    for [option, value] in all {
        let error = project.fails(&[option, value], 1, "engine_unsupported");
        assert!(text(&error, "message").contains(option), "{error:#}");
        assert_eq!(error["retryable"], json!(false));
    }
}
