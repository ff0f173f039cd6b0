use clap::{Args, Command, FromArgMatches};
use serde_json::{Value, json};
use slipway_release::Code;

use super::*;

fn options(args: &[&str]) -> Options {
    let command = Options::augment_args(Command::new("healthwait").no_binary_name(true));
    Options::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
}

fn plan(args: &[&str], mut document: Value) -> Result<Plan, Failure> {
    document["schema"] = json!("slipway.release/v1");
    let document = Document::parse(document.to_string().as_bytes()).unwrap();
    let variable = |name: &str| (name == "TOKEN").then(|| "hunter2\n".to_owned());
    Plan::new(&options(args), &document, variable)
}

fn failure(args: &[&str], document: Value) -> Failure {
    plan(args, document).unwrap_err()
}

#[test]
fn the_hosts_that_serve_the_release_are_asked_for_their_health() {
    let document = json!({"deploy": {"health_path": "/health", "hosts": [
        {"host": "a", "url": "http://a:8000", "outcome": "deployed"},
        {"host": "b", "url": "http://b:8000/x", "outcome": "unchanged"},
        {"host": "c", "url": "http://c:8000", "outcome": "failed"},
        {"host": "d", "outcome": "deployed"},
    ]}});
    let plan = plan(&[], document).unwrap();
    assert_eq!(plan.names(), "http://a:8000/health, http://b:8000/health");
    assert_eq!(plan.silent, ["d"]);
}

#[test]
fn the_arguments_go_before_the_document() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let document = json!({
        "image": {"tag": "v2", "revision": "abc"},
        "push": {"digest": digest},
        "deploy": {"hosts": [{"host": "a", "url": "http://a:8000", "outcome": "deployed"}]},
    });
    let plan = plan(&["http://b/health", "tcp://c:1"], document).unwrap();
    assert_eq!(plan.names(), "http://b/health, tcp://c:1");
    let expectation = &plan.probes[0].expectation;
    assert_eq!(expectation.version.expected, ["v2", "abc", digest.as_str()]);
    assert!(!expectation.version.required);
    assert_eq!(plan.expected_version(), Some("v2"));
}

#[test]
fn a_version_can_be_named_or_left_unchecked() {
    let document = json!({"image": {"tag": "v2"}});
    let named = plan(&["http://a", "--expect-version=v3"], document.clone()).unwrap();
    let expectation = &named.probes[0].expectation;
    assert_eq!(expectation.version.expected, ["v3"]);
    assert!(expectation.version.required);
    let any = plan(&["http://a", "--no-version-check"], document.clone()).unwrap();
    assert_eq!(any.expected_version(), None);
    let both = ["http://a", "--no-version-check", "--expect-version=v3"];
    assert_eq!(failure(&both, document).code, Code::Usage);
}

#[test]
fn without_a_target_there_is_nothing_to_do() {
    for document in [
        json!({}),
        json!({"deploy": {"hosts": []}}),
        json!({"deploy": {"hosts": [{"host": "a", "outcome": "failed"}]}}),
    ] {
        let failure = failure(&[], document);
        assert_eq!((failure.code, failure.exit), (Code::NoTarget, 2));
        assert!(failure.hint.unwrap().contains("http://"));
    }
}

#[test]
fn where_nothing_can_be_asked_nothing_is() {
    let document = json!({"deploy": {"hosts": [{"host": "a", "outcome": "deployed"}]}});
    let none = plan(&[], document.clone()).unwrap();
    assert_eq!((none.probes.len(), none.silent), (0, vec!["a".to_owned()]));
    // Not where something was expected of an answer.
    assert_eq!(failure(&["--expect-status=200"], document).code, Code::Usage);
}

#[test]
fn what_its_own_host_alone_reaches_is_asked_through_that() {
    let document = json!({"deploy": {"health_path": "/health", "hosts": [
        {"host": "u@a", "local_url": "http://127.0.0.1:8000", "outcome": "deployed"},
        {"host": "u@b", "local_url": "http://127.0.0.1:8000", "outcome": "deployed"},
        {"host": "u@c", "url": "http://c:8000", "outcome": "deployed"},
    ]}});
    let plan = plan(&[], document).unwrap();
    let through = "http://127.0.0.1:8000/health through u@";
    assert_eq!(plan.names(), format!("{through}a, {through}b, http://c:8000/health"));
    let reach = |index: usize| Rc::as_ptr(&plan.probes[index].reach);
    assert!(reach(0) != reach(1) && reach(1) != reach(2), "each host has a connection of its own");
}

#[test]
fn the_password_of_a_target_is_sent_and_never_shown() {
    let plan = plan(&["http://me:hunter2@a/x"], json!({})).unwrap();
    let told = format!("{plan:?} {}", plan.names());
    assert!(!told.contains("hunter2") && told.contains("http://a/x"), "{told}");
    for bad in ["ssh://me:hunter2@a", "me:hunter2@a:22"] {
        let failure = failure(&["http://a", "--via", bad], json!({}));
        assert_eq!(failure.code, Code::Usage);
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    }
}

#[test]
fn files_are_read_to_their_limit() {
    for args in [
        ["--body=@/dev/zero", "http://a"],
        ["--ca-file=/dev/zero", "https://a"],
        ["--client-cert=/dev/zero", "https://a"],
    ] {
        let failure = failure(&args, json!({}));
        assert_eq!(failure.code, Code::FileTooLarge, "{}", failure.message);
        assert!(failure.message.contains("is larger than"), "{}", failure.message);
    }
}

#[test]
fn a_document_with_a_bad_address_is_refused_with_its_place() {
    let document = |url: &str, path: &str| {
        json!({"deploy": {"health_path": path, "hosts": [
            {"host": "a", "url": url, "outcome": "deployed"},
        ]}})
    };
    let bad = failure(&[], document("a:8000", "/health"));
    assert_eq!(bad.code, Code::BadSection);
    assert!(bad.message.contains("deploy.hosts[0].url"), "{}", bad.message);
    let bad = failure(&[], document("http://a", "/ü x"));
    assert!(bad.message.contains("deploy.health_path"), "{}", bad.message);
}

#[test]
fn a_header_of_the_environment_is_sent_and_never_shown() {
    let plan = plan(&["http://a", "--header-env", "X-Key=TOKEN"], json!({})).unwrap();
    assert!(!format!("{plan:?}").contains("hunter2"));
    let missing = failure(&["http://a", "--header-env", "X-Key=OTHER"], json!({}));
    assert_eq!(missing.code, Code::Usage);
    assert!(missing.message.contains("OTHER"), "{}", missing.message);
}

#[test]
fn conditions_on_an_answer_need_one() {
    for condition in [
        "--expect-status=200",
        "--expect-body=x",
        "--expect-json=/a=1",
        "--expect-header=x",
        "--expect-version=1",
    ] {
        assert_eq!(failure(&["tcp://a:1", condition], json!({})).code, Code::Usage, "{condition}");
        assert!(plan(&["tcp://a:1", "http://a", condition], json!({})).is_ok(), "{condition}");
    }
}

#[test]
fn what_is_gone_answers_nothing_unless_it_is_said_what() {
    let document = json!({"image": {"tag": "v2"}});
    let any = plan(&["http://a", "--not"], document.clone()).unwrap();
    assert!(
        [200, 404, 503].iter().all(|status| any.probes[0].expectation.statuses.contains(*status))
    );
    assert_eq!(any.expected_version(), None);
    let args = ["http://a", "--not", "--expect-status=2xx", "--expect-version=v1"];
    let named = plan(&args, document).unwrap();
    assert!(!named.probes[0].expectation.statuses.contains(503));
    assert_eq!(named.expected_version(), Some("v1"));
}

#[test]
fn a_condition_on_certificates_needs_one() {
    let condition = "--expect-certificate=14d";
    for plain in ["http://a", "tcp://a:443"] {
        assert_eq!(failure(&[plain, condition], json!({})).code, Code::Usage, "{plain}");
    }
    for secured in ["https://a", "tls://a:443"] {
        assert!(plan(&["http://a", secured, condition], json!({})).is_ok(), "{secured}");
    }
}

#[test]
fn times_that_do_not_fit_each_other_are_refused() {
    for (args, said) in [
        (["--interval=2s", "--max-interval=1s"], "interval"),
        (["--stable=1m", "--timeout=60s"], "--stable"),
        (["--timeout=0s", "--stable=0s"], "--timeout 0s"),
        (["--try-timeout=0s", "--timeout=1s"], "--try-timeout 0s"),
    ] {
        let failure = failure(&["http://a", args[0], args[1]], json!({}));
        assert_eq!(failure.code, Code::Usage, "{args:?}");
        assert!(failure.message.contains(said), "{}", failure.message);
    }
}

#[test]
fn many_targets_make_a_short_line() {
    assert_eq!(listed(&["a", "b", "c"], "; "), "a; b; c");
    assert_eq!(listed(&["a", "b", "c", "d", "e"], ", "), "a, b, c and 2 more");
}
