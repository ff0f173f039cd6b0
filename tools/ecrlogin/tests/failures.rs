//! What ecrlogin does where AWS is not as it should be. The endpoints here give the answers that
//! no stand-in for AWS gives on request; everything else is tried against one in the end-to-end
//! tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

/// An endpoint that gives every request the same answer, or none at all.
fn endpoint(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming().flatten() {
            match answer {
                Some(answer) => respond(stream, answer),
                None => silent.push(stream),
            }
        }
    });
    url
}

fn respond(mut stream: TcpStream, answer: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The body of these requests is `{}`, sent with the head.
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let (status, body) = answer.split_once(' ').unwrap();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Test\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn run(args: &[&str], env: &[(&str, &str)]) -> (Output, Value) {
    let output = cargo_bin_cmd!("ecrlogin")
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(env.iter().copied())
        .args(args)
        .arg("--no-input")
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap();
    (output, document)
}

const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
    ("AWS_SECRET_ACCESS_KEY", "canary-of-a-key"),
    ("AWS_REGION", "eu-west-1"),
];

fn failed(args: &[&str], env: &[(&str, &str)], exit: i32, code: &str) -> Value {
    let (output, document) = run(args, env);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    assert_eq!(document["error"]["code"], code, "{stderr}");
    assert_eq!(document["error"]["exit"], exit);
    let errors = stderr.lines().filter(|line| line.starts_with("ecrlogin: error: ")).count();
    assert_eq!(errors, 1, "one line says what failed: {stderr}");
    assert!(!stderr.contains("canary"), "{stderr}");
    document["error"].clone()
}

#[test]
fn without_credentials_it_lists_what_it_tried() {
    // A metadata service that accepts and never answers: the worst case of a search.
    let imds = endpoint(None);
    let env = [("AWS_REGION", "eu-west-1"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds)];
    let error = failed(&[], &env, 4, "credentials_not_found");
    let message = error["message"].as_str().unwrap();
    let mut last = 0;
    for source in
        ["the environment", "the profile", "the web identity", "the container", "the instance"]
    {
        let at = message.find(source).unwrap_or_else(|| panic!("{source} is not in: {message}"));
        assert!(at > last, "{source} is out of order in: {message}");
        last = at;
    }
}

#[test]
fn without_a_region_it_says_where_it_looked() {
    let env = [("AWS_EC2_METADATA_DISABLED", "true"), KEYS[0], KEYS[1]];
    let error = failed(&[], &env, 2, "region_missing");
    assert!(error["message"].as_str().unwrap().contains("AWS_REGION"));
}

#[test]
fn an_unknown_profile_is_an_error_even_with_keys_in_the_environment() {
    let error = failed(&["--profile", "nosuch"], &KEYS, 4, "credentials_not_found");
    assert!(error["message"].as_str().unwrap().contains("nosuch"), "{error}");
}

#[test]
fn an_endpoint_that_refuses_connections_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = failed(&["--endpoint-url", &url], &KEYS, 5, "aws_unreachable");
    assert_eq!(error["retryable"], true);
}

#[test]
fn an_endpoint_that_never_answers_ends_at_the_deadline() {
    let url = endpoint(None);
    let args = ["--endpoint-url", &url, "--timeout", "300ms"];
    let error = failed(&args, &KEYS, 124, "deadline_exceeded");
    assert!(error["message"].as_str().unwrap().contains("300ms"));
}

#[test]
fn a_refusal_names_action_and_principal() {
    let url = endpoint(Some(
        r#"400 {"__type":"AccessDeniedException","message":"User: arn:aws:iam::1:user/ci is not authorized to perform: ecr:GetAuthorizationToken on resource: *"}"#,
    ));
    let error = failed(&["--endpoint-url", &url], &KEYS, 4, "access_denied");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("GetAuthorizationToken") && message.contains("user/ci"), "{message}");
}

#[test]
fn keys_that_aws_does_not_know_are_not_called_a_refusal() {
    let url = endpoint(Some(
        r#"400 {"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#,
    ));
    failed(&["--endpoint-url", &url], &KEYS, 4, "credentials_invalid");
}

#[test]
fn an_answer_without_a_usable_token_is_an_error_that_does_not_show_it() {
    let url = endpoint(Some(
        r#"200 {"authorizationData":[{"authorizationToken":"canary","proxyEndpoint":"https://r.example"}]}"#,
    ));
    let error = failed(&["--endpoint-url", &url], &KEYS, 1, "aws_error");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn a_good_answer_becomes_the_registry_section_and_keeps_the_rest() {
    // "AWS:canary", in the form of the API.
    let url = endpoint(Some(
        r#"200 {"authorizationData":[{"authorizationToken":"QVdTOmNhbmFyeQ==","expiresAt":4102444800,"proxyEndpoint":"https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}]}"#,
    ));
    let output = cargo_bin_cmd!("ecrlogin")
        .envs(KEYS)
        .args(["--endpoint-url", &url])
        .write_stdin(r#"{"schema":"slipway.release/v1","x":1.0e2,"image":{"name":"web"}}"#)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        text,
        concat!(
            r#"{"schema":"slipway.release/v1","x":1.0e2,"image":{"name":"web"},"registry":{"#,
            r#""host":"123456789012.dkr.ecr.eu-west-1.amazonaws.com","region":"eu-west-1","#,
            r#""account":"123456789012","username":"AWS","password":"canary","#,
            r#""expires_at":"2100-01-01T00:00:00Z"}}"#,
            "\n"
        )
    );
}
