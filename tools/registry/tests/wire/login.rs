//! Logging in, being refused, being told to wait.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_registry::{Credentials, Error, Fault, Options};
use tokio::net::TcpListener;

use crate::script::{DIGEST, OTHER, Script, Then, ok, status, user};

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("AWS:{password}")))
}

#[tokio::test]
async fn basic_goes_with_the_first_request_and_the_connection_is_used_again() {
    let script = Script::new(vec![ok(), status(404, "")]).await;
    let repository = script.repository(user());
    assert_eq!(repository.blob_size(DIGEST).await.unwrap(), Some(2));
    assert_eq!(repository.blob_size(OTHER).await.unwrap(), None);
    let seen = script.seen();
    assert_eq!(seen[0].line, format!("HEAD /v2/team/app/blobs/{DIGEST}"));
    assert_eq!(seen[0].header("authorization"), Some(basic("pass~word?>").as_str()));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_registrys_scope() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let challenge = format!(
        "Bearer realm=\"http://127.0.0.1:{port}/token?a=b\",service=\"r.example\",scope=\"repository:team/app:pull,push\""
    );
    let script = Script::on(
        listener,
        vec![
            Then::Answer(401, vec![("WWW-Authenticate", challenge)], String::new()),
            status(200, r#"{"token":"t1"}"#),
            ok(),
            ok(),
        ],
    );
    let repository = script.repository(user());
    repository.blob_size(DIGEST).await.unwrap();
    repository.blob_size(DIGEST).await.unwrap();
    let seen = script.seen();
    assert_eq!(
        seen[1].line,
        "GET /token?a=b&service=r.example&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"
    );
    assert_eq!(seen[1].header("authorization"), Some(basic("pass~word?>").as_str()));
    assert_eq!(seen[2].header("authorization"), Some("Bearer t1"));
    assert_eq!(seen[3].header("authorization"), Some("Bearer t1"), "it is kept");
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
    let script = Script::new(vec![status(403, expired), ok(), status(403, expired)]).await;
    let fresh = || -> std::pin::Pin<Box<dyn Future<Output = Option<Credentials>> + Send>> {
        Box::pin(async { Some(Credentials { username: "AWS".into(), password: "new".into() }) })
    };
    let repository = script.repository(Options { fresh: Some(Arc::new(fresh)), ..user() });
    repository.manifest("1").await.unwrap();
    assert_eq!(script.seen()[1].header("authorization"), Some(basic("new").as_str()));
    let error = repository.manifest("1").await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unauthorized));
    assert_eq!(script.lines().len(), 3);
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    for (code, body, fault) in [
        (403, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, Fault::Denied),
        (401, "", Fault::Unauthorized),
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"x"}]}"#, Fault::RepositoryNotFound),
        (413, "", Fault::TooLarge),
        (
            500,
            r#"{"errors":[{"code":"UNKNOWN","detail":"no space left on device"}]}"#,
            Fault::DiskFull,
        ),
        (403, r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#, Fault::Quota),
    ] {
        let script = Script::new(vec![status(code, body)]).await;
        let error = script.repository(user()).begin().await.err().unwrap();
        assert_eq!(error.fault(), Some(fault), "{error}");
        assert_eq!(script.lines().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_time_gets_it() {
    let later = || Then::Answer(429, vec![("Retry-After", "0".to_owned())], String::new());
    let script = Script::new(vec![later(), status(503, ""), ok()]).await;
    assert_eq!(script.repository(user()).blob_size(DIGEST).await.unwrap(), Some(2));
    assert_eq!(script.lines().len(), 3);
}

#[tokio::test]
async fn a_registry_that_never_answered_is_not_waited_for() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let repository = slipway_registry::Repository::new(&format!("127.0.0.1:{port}"), "a", user());
    let error = repository.unwrap().blob_size(DIGEST).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { why, .. } if why.raw() == "connection refused"),
        "{error}"
    );
}
