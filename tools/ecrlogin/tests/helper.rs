//! ecrlogin as a credential helper of Docker, and what it keeps. The endpoint here gives tokens that
//! are valid for as long as a test wants them to be, which no stand-in for AWS does; the helper is
//! tried with Docker itself in the end-to-end tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use serde_json::{Value, json};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const USAGE: &str = "Usage: docker-credential-ecrlogin <store|get|erase|list|version>\n";
const NOT_FOUND: &str = "credentials not found in native keychain\n";

/// An endpoint of ECR: each token that it gives is another one.
struct Endpoint {
    url: String,
    asked: Arc<AtomicU32>,
    /// For how many seconds a token is valid; a refusal for now if it is negative.
    life: Arc<AtomicI64>,
}

impl Endpoint {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, life) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicI64::new(12 * 3600)));
        let (counter, seconds) = (Arc::clone(&asked), Arc::clone(&life));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                respond(stream, number, seconds.load(Ordering::SeqCst));
            }
        });
        Self { url, asked, life }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn respond(mut stream: TcpStream, number: u32, life: i64) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The body of these requests is short and is sent with the head.
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = base64::engine::general_purpose::STANDARD.encode(format!("AWS:token-{number}"));
    let (status, body) = if life < 0 {
        (400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}))
    } else {
        let expires = i64::try_from(now).unwrap() + life;
        let data = json!({"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": format!("https://{HOST}")});
        (200, json!({"authorizationData": [data]}))
    };
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Test\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// A machine with the helper, as a user of it.
struct Machine {
    home: tempfile::TempDir,
    endpoint: Endpoint,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { home: tempfile::tempdir().unwrap(), endpoint: Endpoint::new() };
        machine.link("docker-credential-ecrlogin");
        machine
    }

    fn link(&self, name: &str) {
        symlink(env!("CARGO_BIN_EXE_ecrlogin"), self.home.path().join(name)).unwrap();
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.home.path().join(program));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
            .env("AWS_SECRET_ACCESS_KEY", "canary-of-a-key")
            .env("AWS_ENDPOINT_URL", &self.endpoint.url);
        command
    }

    fn call(&self, action: &str, input: &str) -> Output {
        send(self.command("docker-credential-ecrlogin").arg(action), input)
    }

    /// The password that the helper gives for the registry.
    fn get(&self) -> String {
        let output = self.call("get", HOST);
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["ServerURL"], &answer["Username"]), (&json!(HOST), &json!("AWS")));
        answer["Secret"].as_str().unwrap().to_owned()
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join(".cache/slipway/ecrlogin")
    }

    /// The files that hold tokens.
    fn kept(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cache()).into_iter().flatten().flatten();
        let json = files.map(|file| file.path());
        json.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }

    /// Changes what is kept, as time or an accident does.
    fn change(&self, change: impl Fn(&str) -> String) {
        for path in self.kept() {
            fs::write(&path, change(&fs::read_to_string(&path).unwrap())).unwrap();
        }
    }

    /// Makes what is kept older, by so many hours.
    fn age(&self, hours: i32) {
        self.change(|text| {
            let mut entry: Value = serde_json::from_str(text).unwrap();
            for field in ["fetched_at", "expires_at"] {
                let time: jiff::Timestamp = entry[field].as_str().unwrap().parse().unwrap();
                let earlier = time - jiff::SignedDuration::from_hours(i64::from(hours));
                entry[field] = json!(earlier.to_string());
            }
            entry.to_string()
        });
    }
}

fn send(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input closes it early.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_token_is_kept_for_the_first_half_of_its_life() {
    let machine = Machine::new();
    assert_eq!([machine.get(), machine.get()], ["token-1", "token-1"]);
    assert_eq!(machine.endpoint.asked(), 1);
    let [kept] = &machine.kept()[..] else { panic!("one file") };
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!text(kept.as_os_str().as_encoded_bytes()).contains("123456789012"));
    machine.age(5);
    assert_eq!(machine.get(), "token-1");
    machine.age(2);
    assert_eq!([machine.get(), machine.get()], ["token-2", "token-2"]);
}

#[test]
fn where_no_new_one_can_be_had_the_old_one_is_used_while_it_lasts() {
    let machine = Machine::new();
    assert_eq!(machine.get(), "token-1");
    machine.age(7);
    machine.endpoint.life.store(-1, Ordering::SeqCst);
    let output = machine.call("get", HOST);
    let (out, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("token-1"), "{out}{told}");
    assert!(told.contains("Rate exceeded") && told.contains("until"), "{told}");
    machine.age(5);
    let output = machine.call("get", HOST);
    let (out, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(out.contains(HOST) && out.contains("Rate exceeded") && out.lines().count() == 1);
    assert!(told.contains(": error: ") && told.contains(": hint: "), "{told}");
}

#[test]
fn another_role_gets_another_token() {
    let machine = Machine::new();
    assert_eq!(machine.get(), "token-1");
    let mut other = machine.command("docker-credential-ecrlogin");
    let output = send(other.env("AWS_ACCESS_KEY_ID", "AKIDOTHER").arg("get"), HOST);
    assert!(text(&output.stdout).contains("token-2"));

    fs::create_dir(machine.home.path().join(".aws")).unwrap();
    let keys = "[prod]\naws_access_key_id = AKIDPROD\naws_secret_access_key = s\n";
    fs::write(machine.home.path().join(".aws/credentials"), keys).unwrap();
    machine.link("docker-credential-ecrlogin-prod");
    let mut by_name = machine.command("docker-credential-ecrlogin-prod");
    let output = send(by_name.arg("get"), HOST);
    assert!(text(&output.stdout).contains("token-3"), "{output:?}");
    machine.link("docker-credential-ecrlogin-none");
    let mut by_name = machine.command("docker-credential-ecrlogin-none");
    let output = send(by_name.arg("get"), HOST);
    assert!(text(&output.stdout).contains("the profile none"), "{output:?}");
    assert_eq!(machine.endpoint.asked(), 3);
}

#[test]
fn of_many_at_once_one_asks() {
    let machine = Machine::new();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert_eq!(machine.get(), "token-1"));
        }
    });
    assert_eq!(machine.endpoint.asked(), 1);
}

#[test]
fn what_cannot_be_used_is_ignored_with_a_word() {
    let machine = Machine::new();
    let broken: [fn(&str) -> String; 3] = [
        |text| text[..text.len() / 2].to_owned(),
        |_| String::new(),
        |_| "[\"canary\"]".to_owned(),
    ];
    machine.get();
    for (number, change) in (2..).zip(broken) {
        machine.change(change);
        let output = machine.call("get", HOST);
        let told = text(&output.stderr);
        assert!(text(&output.stdout).contains(&format!("token-{number}")), "{output:?}");
        assert!(told.contains("warning: a kept token is not used: /"), "{told}");
        assert!(!told.contains("canary"), "{told}");
        assert!(machine.call("get", HOST).stderr.is_empty(), "it is mended");
    }
    for path in machine.kept() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert!(text(&machine.call("get", HOST).stderr).contains("read or changed by other users"));

    // A home that nothing can be written to.
    let mut command = machine.command("docker-credential-ecrlogin");
    let output = send(command.env("XDG_CACHE_HOME", "/dev/null").arg("get"), HOST);
    assert!(output.status.success() && text(&output.stderr).contains("not kept"), "{output:?}");
}

#[test]
fn a_token_that_is_of_no_use_is_not_kept() {
    let machine = Machine::new();
    machine.endpoint.life.store(0, Ordering::SeqCst);
    assert_eq!([machine.get(), machine.get()], ["token-1", "token-2"]);
    assert!(machine.kept().is_empty());
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let machine = Machine::new();
    let get = |value: &str| {
        let mut command = machine.command("docker-credential-ecrlogin");
        let output = send(command.env("ECRLOGIN_CACHE", value).arg("get"), HOST);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["Secret"].as_str().unwrap().to_owned()
    };
    assert_eq!([get("false"), get("false")], ["token-1", "token-2"]);
    assert!(machine.kept().is_empty());
    assert_eq!([get("true"), get("false"), machine.get()], ["token-3", "token-4", "token-3"]);
}

#[test]
fn other_registries_are_for_others() {
    let machine = Machine::new();
    for host in ["https://index.docker.io/v1/", "quay.io", "localhost:5000"] {
        let output = machine.call("get", host);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), NOT_FOUND));
        assert!(output.stderr.is_empty(), "{output:?}");
        assert!(machine.call("erase", host).status.success());
    }
    let output =
        machine.call("store", r#"{"ServerURL":"quay.io","Username":"u","Secret":"canary"}"#);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("quay.io") && !format!("{output:?}").contains("canary"));
    assert_eq!(machine.endpoint.asked(), 0);
}

#[test]
fn the_forms_of_a_registrys_name_are_understood_and_given_back() {
    let machine = Machine::new();
    for url in [
        format!("https://{HOST}"),
        format!("https://{HOST}/v2/"),
        format!("https://{HOST}:443/v2/"),
        format!("HTTPS://{HOST}"),
        format!("{HOST}:443"),
        format!("{HOST}:443/v2/"),
        format!("//{HOST}"),
        format!("{HOST}\n"),
    ] {
        let output = machine.call("get", &url);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&answer["ServerURL"], &answer["Secret"]),
            (&json!(url.trim()), &json!("token-1"))
        );
    }
}

#[test]
fn no_token_goes_where_there_is_no_tls_or_to_another_port() {
    let machine = Machine::new();
    assert_eq!(machine.get(), "token-1");
    for url in [
        format!("http://{HOST}"),
        format!("http://{HOST}:443"),
        format!("ftp://{HOST}"),
        format!("{HOST}:80"),
        format!("{HOST}:5000/v2/"),
        format!("https://AWS@{HOST}"),
        format!("https://{HOST}@evil.example"),
        format!("https://https://{HOST}"),
        format!("{HOST}\nevil.example"),
    ] {
        let output = machine.call("get", &url);
        let told = text(&output.stdout);
        assert_eq!((output.status.code(), told.as_str()), (Some(1), NOT_FOUND), "{url}");
    }
    let given = json!({"ServerURL": format!("http://{HOST}"), "Username": "AWS", "Secret": "s"});
    assert_eq!(machine.call("store", &given.to_string()).status.code(), Some(1));
    // `docker logout` has every form of the name erased.
    for url in [format!("http://{HOST}"), format!("https://{HOST}"), format!("{HOST}:443")] {
        assert!(machine.call("erase", &url).status.success(), "{url}");
    }
    assert_eq!(machine.get(), "token-2");
}

#[test]
fn a_login_that_docker_was_given_goes_first_until_it_is_erased() {
    let machine = Machine::new();
    let list = || -> Value { serde_json::from_slice(&machine.call("list", "").stdout).unwrap() };
    assert_eq!(list(), json!({}));
    assert_eq!(machine.get(), "token-1");
    let given = json!({"ServerURL": HOST, "Username": "AWS", "Secret": "given"}).to_string();
    let output = machine.call("store", &given);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(machine.get(), "given");
    assert_eq!(list(), json!({format!("https://{HOST}"): "AWS"}));
    assert!(machine.call("erase", HOST).status.success());
    assert_eq!((machine.get().as_str(), machine.kept().len()), ("token-2", 1));
    machine.call("store", &given);
    machine.age(13);
    assert_eq!(machine.get(), "token-3");
}

#[test]
fn wrong_calls_are_answered_as_docker_knows_them() {
    let machine = Machine::new();
    for (action, input, expected) in [
        ("get", "", "no credentials server URL"),
        ("erase", "\n", "no credentials server URL"),
        ("store", r#"{"Username":"u","Secret":"s"}"#, "no credentials server URL"),
        ("store", &format!(r#"{{"ServerURL":"{HOST}","Secret":"s"}}"#), "no credentials username"),
        ("store", "canary", "not the JSON"),
        ("fetch", "", "docker-credential-ecrlogin: unknown action: fetch\n"),
    ] {
        let output = machine.call(action, input);
        assert_eq!(output.status.code(), Some(1), "{action}");
        assert!(text(&output.stdout).contains(expected), "{output:?}");
        assert!(!format!("{output:?}").contains("canary"));
    }
    let output = send(&mut machine.command("docker-credential-ecrlogin"), "");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), USAGE));
    let output = send(machine.command("docker-credential-ecrlogin").args(["get", "x"]), "");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), USAGE));
}

#[test]
fn it_says_what_it_is_as_other_helpers_do() {
    let machine = Machine::new();
    for action in ["version", "--version", "-v"] {
        let output = machine.call(action, "");
        assert!(output.status.success(), "{action}");
        let told = text(&output.stdout);
        assert!(told.starts_with("docker-credential-ecrlogin (slipway) 0."), "{told}");
    }
    for action in ["help", "--help", "-h"] {
        let output = machine.call(action, "");
        assert!(output.status.success(), "{action}");
        assert_eq!(text(&output.stdout), USAGE);
    }
}

#[test]
fn a_caller_that_sends_too_much_or_never_ends_is_not_waited_for() {
    let machine = Machine::new();
    let output = machine.call("get", &"x".repeat(2 * 1024 * 1024));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("is larger than 1 MiB"), "{}", text(&output.stdout));
    let mut command = machine.command("docker-credential-ecrlogin");
    let mut child = command
        .arg("get")
        .env("ECRLOGIN_TIMEOUT", "100ms")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(open);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("not closed within 100ms"), "{output:?}");
}

#[test]
fn the_public_registry_needs_no_login() {
    let machine = Machine::new();
    let mut command = machine.command("docker-credential-ecrlogin");
    command.env_remove("AWS_ACCESS_KEY_ID").arg("get");
    let output = send(&mut command, "public.ecr.aws");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), NOT_FOUND));
    assert!(output.stderr.is_empty(), "{output:?}");

    // Credentials that are of no use there, as those of another partition are, stop no pull.
    machine.endpoint.life.store(-1, Ordering::SeqCst);
    let output = machine.call("get", "public.ecr.aws");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), NOT_FOUND));
    assert!(text(&output.stderr).contains("warning: no login for public.ecr.aws"), "{output:?}");
}

#[test]
fn the_tool_itself_keeps_tokens_on_request() {
    let machine = Machine::new();
    let login = |args: &[&str]| {
        let mut command = machine.command(env!("CARGO_BIN_EXE_ecrlogin"));
        let output = send(command.args(["--no-input", "--registry", HOST]).args(args), "");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(document["registry"]["expires_at"].is_string(), "{document}");
        document["registry"]["password"].as_str().unwrap().to_owned()
    };
    assert_eq!(login(&[]), "token-1");
    assert!(machine.kept().is_empty());
    assert_eq!([login(&["--cache"]), login(&["--cache"])], ["token-2", "token-2"]);
    assert_eq!(machine.get(), "token-2", "the helper uses the same");
    let mut command = machine.command(env!("CARGO_BIN_EXE_ecrlogin"));
    let output = send(command.args(["logout", "--no-input", "--registry", HOST]), "");
    assert!(output.status.success() && machine.kept().is_empty(), "{output:?}");
}
