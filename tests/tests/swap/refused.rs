//! What cannot be asked for is one line, an exit code, and no change on the server.

use super::*;

/// What must be told, and how the tool must end, for these arguments.
type Case<'a> = (&'a [&'a str], i32, &'a str, &'a str);

const WRONG: [Case<'_>; 21] = [
    (&["--env", "NOT_THERE"], 2, "usage", "NOT_THERE"),
    (&["--env", "=x"], 2, "usage", "no name"),
    (&["--env-file", "/nonexistent/env"], 1, "file_unreadable", "/nonexistent/env"),
    (&["--memory", "lots"], 2, "usage", "--memory lots"),
    (&["--memory", "1"], 1, "container_failed", "memory"),
    (&["--cpus", "many"], 2, "usage", "--cpus many"),
    (&["--publish", "8000"], 2, "usage", "--publish 8000"),
    (&["--publish", "70000:1"], 2, "usage", "70000"),
    (&["--publish", "8124:81"], 2, "usage", "same port"),
    (&["--volume", "./here:/data"], 2, "usage", "./here:/data"),
    (&["--volume", "/etc:/data:nonsense"], 1, "container_failed", "nonsense"),
    (&["--network", "host"], 2, "usage", "--network host"),
    (&["--network", "swap-not-there"], 1, "container_failed", "swap-not-there"),
    (&["--log-driver", "nonsense"], 1, "container_failed", "nonsense"),
    (&["--log-opt", "max-size"], 2, "usage", "--log-opt max-size"),
    (&["--restart", "no"], 2, "usage", "come back"),
    (&["--stop-timeout", "soon"], 2, "usage", "--stop-timeout"),
    (&["--on-failure", "shrug"], 2, "usage", "--on-failure"),
    (&["--health-path", "health"], 2, "usage", "--health-path health"),
    (&["--host", "two words"], 2, "usage", "two words"),
    (&["--image", "example.com/web:1"], 2, "usage", "no digest"),
];

#[test]
fn wrong_options_change_nothing() {
    let app = site("swap-refused", 8124);
    let before = app.deploy_release(one(), &[]).good();
    assert_eq!(host(&before)["outcome"], "deployed");
    let before = app.containers();
    for (args, exit, code, told) in WRONG {
        // Another release: what is asked for is not what serves already.
        let bad = app.deploy_release(two(), args).bad("remote-swap", exit, code);
        let message = text_of(&bad.document["error"], "message");
        assert!(message.contains(told), "{args:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
        assert!(bad.document["error"]["hint"].is_string(), "{args:?}: a hint");
        assert_eq!(app.containers(), before, "{args:?} changed something");
    }
}

#[test]
fn a_reference_that_is_not_there_or_not_by_digest_changes_nothing() {
    let app = site("swap-missing", UNPUBLISHED);
    let digest = format!("sha256:{}", "0".repeat(64));
    let (repository, _) = one().reference().split_once('@').unwrap();
    let gone = format!("{repository}@{digest}");
    let bad = app.deploy_release(one(), &["--image", &gone]);
    let bad = bad.bad("remote-swap", 1, "manifest_not_found");
    assert_eq!(host(&bad)["outcome"], "failed");
    let nothing = format!("{repository}-not@{digest}");
    let bad = app.deploy_release(one(), &["--image", &nothing]);
    let code = text_of(&bad.document["error"], "code");
    assert!(["repository_not_found", "manifest_not_found"].contains(&code), "{:#}", bad.document);

    let mut document = one().document.clone();
    document["push"]["reference"] = json!(format!("{repository}:latest"));
    let bad = Run::of(&with_input(&mut app.swap(&[]), &document.to_string()));
    let _ = bad.bad("remote-swap", 3, "bad_section");
    document.as_object_mut().unwrap().remove("push");
    let bad = Run::of(&with_input(&mut app.swap(&[]), &document.to_string()));
    let _ = bad.bad("remote-swap", 3, "missing_section");
    assert_eq!(app.containers(), Vec::<Value>::new());
}
