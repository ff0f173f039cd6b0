//! Registries that lie, send elsewhere, or never end. Each comes to one clear error, within the
//! deadline and in little memory.

mod server;

use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use slipway_tests::lab::Run;
use slipway_tests::process::with_input;
use slipway_tests::{binary, tool};

use server::{Engine, Good, Reply, Request, Server, answer};

/// The most memory that imgpush may need, in KiB: 64 MiB.
const MOST: u64 = 64 * 1024;

/// What Python tells of its only child once that has ended (`wait4`, `ru_maxrss`).
const MEASURED: &str = "import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)";

struct Push {
    engine: Engine,
    args: Vec<String>,
    login: bool,
}

impl Push {
    fn new() -> Self {
        let args = ["--via", "direct", "--timeout", "60s"].map(str::to_owned).to_vec();
        Self { engine: Engine::new(), args, login: true }
    }

    fn anonymous(self) -> Self {
        Self { login: false, ..self }
    }

    /// With this option, in the place of one that it has already.
    fn with(mut self, option: &str, value: &str) -> Self {
        match self.args.iter().position(|arg| arg == option) {
            Some(at) => value.clone_into(&mut self.args[at + 1]),
            None => self.args.extend([option, value].map(str::to_owned)),
        }
        self
    }

    /// Pushes to a registry. Whatever comes of it, memory was bounded and the password not shown.
    fn to(&self, registry: &Server) -> Run {
        let place = self.engine.place();
        let measured = place.join("measured");
        let mut command = Command::new("python3");
        command.args(["-c", MEASURED]).arg(&measured).arg(binary("imgpush")).args(&self.args);
        command.env_clear().envs(tool("imgpush").get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.env("DOCKER_HOST", self.engine.socket()).env("XDG_CACHE_HOME", place.join("cache"));
        command.current_dir(place);
        let mut document = json!({
            "schema": "slipway.release/v1",
            "image": {"name": "web", "tag": "1", "id": self.engine.image},
            "registry": {"host": registry.host},
        });
        if self.login {
            document["registry"]["username"] = "user".into();
            document["registry"]["password"] = "canary-password".into();
        }
        let run = Run::of(&with_input(&mut command, &document.to_string()));
        let used: u64 = std::fs::read_to_string(measured).unwrap().trim().parse().unwrap();
        assert!(used < MOST, "{used} KiB: {}", run.told);
        assert!(!run.told.contains("canary-password"), "{}", run.told);
        assert!(!run.told.contains('\u{1b}'), "{:?}", run.told);
        run
    }
}

fn message(run: &Run) -> String {
    run.document["error"]["message"].as_str().unwrap().to_owned()
}

/// A registry that does what it should, but for what this answers.
fn registry(odd: impl Fn(&Request, &str) -> Option<Reply> + Send + Sync + 'static) -> Server {
    let good = Good::default();
    Server::at("127.0.0.1", move |request, host| {
        odd(request, host).unwrap_or_else(|| good.reply(request, host))
    })
}

/// A place that nobody is to be sent to.
fn elsewhere() -> Server {
    Server::at("127.0.0.2", |_, _| answer(200, &[], br#"{"token":"t"}"#))
}

fn wants(realm: &str) -> Reply {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    answer(401, &[("WWW-Authenticate", &challenge)], b"")
}

fn is_manifest(request: &Request, method: &str) -> bool {
    request.method == method && request.path.contains("/manifests/")
}

#[test]
fn one_that_does_as_it_should_gets_the_image() {
    let registry = registry(|_, _| None);
    let run = Push::new().to(&registry).good();
    assert_eq!(run.document["push"]["layers_uploaded"], 1);
}

#[test]
fn no_password_goes_to_a_token_service_of_strangers() {
    let stranger = elsewhere();
    let realm = format!("http://{}/token", stranger.host);
    let registry = registry(move |request, _| {
        let known = request.headers.get("authorization").is_some_and(|it| it.starts_with("Bearer"));
        (!known).then(|| wants(&realm))
    });
    for way in ["direct", "auto"] {
        let bad = Push::new().with("--via", way).to(&registry).bad("imgpush", 4, "registry_denied");
        assert!(message(&bad).contains(&stranger.host), "{}", message(&bad));
        assert!(stranger.seen().is_empty(), "{:?}", stranger.seen());
    }
    // Without one there is nothing to lose.
    let good = Push::new().anonymous().to(&registry).good();
    assert_eq!(good.document["push"]["layers_uploaded"], 1);
    assert!(stranger.seen().iter().all(|asked| !asked.headers.contains_key("authorization")));
}

#[test]
fn nobody_is_sent_to_the_metadata_of_a_cloud() {
    for place in ["http://169.254.169.254/token", "http://[fe80::1]/token", "http://0.0.0.0/"] {
        let registry = registry(move |_, _| Some(wants(place)));
        let bad = Push::new().anonymous().to(&registry).bad("imgpush", 1, "registry_error");
        assert!(message(&bad).contains("a link-local address"), "{}", message(&bad));
    }
}

#[test]
fn a_login_that_is_never_enough_ends() {
    let registry = registry(|request, host| {
        if request.path.starts_with("/token") {
            let token = format!(r#"{{"token":"{}"}}"#, request.path.len());
            return Some(answer(200, &[], token.as_bytes()));
        }
        let often = request.headers.get("authorization").map_or(0, String::len);
        Some(wants(&format!("http://{host}/token/{}", "x".repeat(often))))
    });
    let _ = Push::new().to(&registry).bad("imgpush", 4, "registry_denied");
    assert!(registry.seen().len() < 20, "{}", registry.seen().len());
}

#[test]
fn tokens_are_tokens() {
    for token in ["garbage", "[]", r#"{"token":7}"#, r#"{"token":""}"#, "\u{1b}[31m"] {
        let registry = registry(move |request, host| match request.path.starts_with("/token") {
            true => Some(answer(200, &[], token.as_bytes())),
            false => Some(wants(&format!("http://{host}/token"))),
        });
        let _ = Push::new().to(&registry).bad("imgpush", 1, "registry_error");
    }
    let registry = registry(|request, host| match request.path.starts_with("/token") {
        true => {
            Some(answer(200, &[], format!(r#"{{"token":"{}"}}"#, "x".repeat(20_000)).as_bytes()))
        }
        false => Some(wants(&format!("http://{host}/token"))),
    });
    let bad = Push::new().to(&registry).bad("imgpush", 1, "registry_error");
    assert!(message(&bad).contains("token is larger than"), "{}", message(&bad));
}

#[test]
fn layers_and_passwords_stay_at_the_registry() {
    let stranger = elsewhere();
    let to = format!("http://{}/v2/web/blobs/uploads/1?_state=secret", stranger.host);
    let registry = registry(move |request, _| {
        (request.method == "POST").then(|| answer(202, &[("Location", &to)], b""))
    });
    let bad = Push::new().to(&registry).bad("imgpush", 1, "registry_error");
    let told = message(&bad);
    assert!(told.contains(&stranger.host) && told.contains(&registry.host), "{told}");
    assert!(told.contains("another host") && !told.contains("secret"), "{told}");
    assert!(stranger.seen().is_empty());
}

#[test]
fn a_location_that_lost_its_port_names_the_proxy() {
    for location in ["http://127.0.0.1/v2/web/blobs/uploads/1", "http://127.0.0.1:9/x"] {
        let registry = registry(move |request, _| {
            (request.method == "POST").then(|| answer(202, &[("Location", location)], b""))
        });
        let bad = Push::new().to(&registry).bad("imgpush", 1, "registry_error");
        let told = message(&bad);
        assert!(told.contains(location) && told.contains(&registry.host), "{told}");
        let hint = bad.document["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("Host header"), "{hint}");
    }
}

#[test]
fn a_redirect_of_a_push_is_named_with_its_target() {
    for (method, status) in [("HEAD", 301), ("POST", 307), ("PUT", 308)] {
        let stranger = elsewhere();
        let to = format!("http://{}/x?secret", stranger.host);
        let registry = registry(move |request, _| {
            let it = request.method == method && !request.path.contains("/blobs/sha256");
            it.then(|| answer(status, &[("Location", &to)], b""))
        });
        let bad = Push::new().to(&registry).bad("imgpush", 1, "registry_error");
        let told = message(&bad);
        assert!(told.contains(&format!("redirects to http://{}/x", stranger.host)), "{told}");
        assert!(!told.contains("secret") && stranger.seen().is_empty(), "{told}");
    }
}

#[test]
fn digests_are_digests_and_the_right_ones() {
    for digest in ["../../../v2/", "sha256:1", "\u{7f}"] {
        let registry = registry(move |request, _| {
            is_manifest(request, "HEAD")
                .then(|| answer(200, &[("Docker-Content-Digest", digest)], b""))
        });
        let _ = Push::new().to(&registry).bad("imgpush", 1, "registry_error");
    }
    let other = format!("sha256:{}", "0".repeat(64));
    let put = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let registry = registry(move |request, _| {
        use std::sync::atomic::Ordering::SeqCst;
        put.fetch_or(is_manifest(request, "PUT"), SeqCst);
        let after = is_manifest(request, "HEAD") && put.load(SeqCst);
        after.then(|| answer(200, &[("Docker-Content-Digest", &other)], b""))
    });
    let _ = Push::new().to(&registry).bad("imgpush", 1, "digest_mismatch");
}

#[test]
fn answers_without_end_are_cut() {
    let length = b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let manifest = registry(move |request, _| match request.method.as_str() {
        _ if !request.path.contains("/manifests/") => None,
        // No digest, so that the manifest is asked for.
        "HEAD" => Some(answer(200, &[], b"")),
        _ => Some(Reply::Endless(length.clone(), vec![b' '; 65536])),
    });
    let bad = Push::new().to(&manifest).bad("imgpush", 1, "registry_error");
    assert!(message(&bad).contains("answer is larger than 4 MiB"), "{}", message(&bad));

    let refusal = b"HTTP/1.1 403 X\r\nConnection: close\r\n\r\nno, ".to_vec();
    let endless =
        registry(move |_, _| Some(Reply::Endless(refusal.clone(), b"never, ".repeat(999))));
    let bad = Push::new().to(&endless).bad("imgpush", 4, "registry_denied");
    assert!(message(&bad).len() < 1000, "{}", message(&bad));

    for head in ["HTTP/1.1 200 X\r\nX-Endless: ", "HTTP/1.1 200 ", ""] {
        let begin = head.as_bytes().to_vec();
        let line = registry(move |_, _| Some(Reply::Endless(begin.clone(), vec![b'x'; 65536])));
        let bad = Push::new().to(&line);
        assert!(matches!(bad.exit, 1 | 5), "{}", bad.told);
    }
    let lines = registry(|_, _| {
        Some(Reply::Endless(b"HTTP/1.1 200 X\r\n".to_vec(), b"X-More: y\r\n".repeat(999)))
    });
    let _ = Push::new().to(&lines).bad("imgpush", 1, "registry_error");
}

#[test]
fn json_that_swells_is_refused() {
    let four = 4 * 1024 * 1024 - 1024;
    for body in [
        format!(r#"{{"manifests":[{}0]}}"#, "0,".repeat(four / 2)),
        format!(r#"{{{}"manifests":[]}}"#, r#""a":0,"#.repeat(four / 6)),
        "[".repeat(four),
    ] {
        let registry = registry(move |request, _| {
            request.path.contains("/referrers/").then(|| answer(200, &[], body.as_bytes()))
        });
        let push = Push::new().with("--attach", "file");
        std::fs::write(push.engine.place().join("file"), "attached").unwrap();
        let _ = push.to(&registry).bad("imgpush", 1, "registry_error");
    }
    let errors = format!(
        r#"{{"errors":[{{"code":"X","message":"m","detail":[{}0]}}]}}"#,
        "0,".repeat(four / 2)
    );
    let registry = registry(move |_, _| Some(answer(403, &[], errors.as_bytes())));
    let _ = Push::new().to(&registry).bad("imgpush", 4, "registry_denied");
}

#[test]
fn a_list_whose_pages_never_end_is_left() {
    for ever in [false, true] {
        let registry = registry(move |request, _| {
            let (path, query) = request.path.split_once('?')?;
            let next = if ever { format!("{query}0") } else { query.to_owned() };
            let link = format!("<{path}?{next}>; rel=\"next\"");
            let body = br#"{"schemaVersion":2,"manifests":[]}"#;
            path.contains("/referrers/").then(|| answer(200, &[("Link", &link)], body))
        });
        let push = Push::new().with("--attach", "file");
        std::fs::write(push.engine.place().join("file"), "attached").unwrap();
        let _ = push.to(&registry).good();
        assert!(registry.seen().len() < 200, "{}", registry.seen().len());
    }
}

#[test]
fn the_words_of_a_refusal_are_shown_without_what_a_terminal_obeys() {
    let body =
        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\\u001b[2J\\u001b]0;owned\\u0007no\"}]}";
    let registry = registry(move |_, _| Some(answer(403, &[], body.as_bytes())));
    let bad = Push::new().to(&registry).bad("imgpush", 4, "registry_denied");
    assert!(!message(&bad).contains(['\u{1b}', '\u{7}']), "{}", message(&bad));
}

#[test]
fn one_that_never_answers_ends_with_the_deadline() {
    for begin in ["", "HTTP/1.1 200 X\r\n", "HTTP/1.1 200 X\r\nContent-Le"] {
        let registry = registry(move |_, _| Some(Reply::Silence(begin.as_bytes().to_vec())));
        let bad = Push::new().with("--timeout", "1s").to(&registry);
        let _ = bad.bad("imgpush", 124, "deadline_exceeded");
    }
    let later = registry(|_, _| Some(answer(429, &[("Retry-After", "18446744073709551615")], b"")));
    let bad = Push::new().with("--timeout", "1s").to(&later);
    let _ = bad.bad("imgpush", 124, "deadline_exceeded");
}
