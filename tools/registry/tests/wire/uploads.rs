//! Blobs and manifests on their way.

use bytes::Bytes;
use slipway_registry::{Error, Fault, MediaType, digest};

use crate::script::{DIGEST, Script, Then, status, user};

fn accepted(location: &str) -> Then {
    Then::Answer(202, vec![("Location", location.to_owned())], String::new())
}

#[tokio::test]
async fn parts_follow_the_location_of_each_answer() {
    let script = Script::new(vec![
        accepted("/v2/team/app/blobs/uploads/1?state=a"),
        accepted("/v2/team/app/blobs/uploads/1?state=b"),
        accepted("/v2/team/app/blobs/uploads/1?state=c"),
        status(201, ""),
    ])
    .await;
    let mut upload = script.repository(user()).begin().await.unwrap();
    upload.send(Bytes::from_static(b"hello ")).await.unwrap();
    upload.send(Bytes::from_static(b"world")).await.unwrap();
    upload.finish(DIGEST).await.unwrap();
    let seen = script.seen();
    assert_eq!(
        script.lines(),
        [
            "POST /v2/team/app/blobs/uploads/",
            "PATCH /v2/team/app/blobs/uploads/1?state=a",
            "PATCH /v2/team/app/blobs/uploads/1?state=b",
            format!("PUT /v2/team/app/blobs/uploads/1?state=c&digest=sha256%3A{}", &DIGEST[7..])
                .as_str(),
        ]
    );
    assert_eq!(seen[1].header("content-range"), Some("0-5"));
    assert_eq!(seen[2].header("content-range"), Some("6-10"));
    assert_eq!(seen[2].body, b"world");
}

#[tokio::test]
async fn a_part_goes_on_where_its_connection_broke() {
    let told = |range: &str| {
        let location = "/v2/team/app/blobs/uploads/1?state=b".to_owned();
        Then::Answer(204, vec![("Location", location), ("Range", range.to_owned())], String::new())
    };
    let script = Script::new(vec![
        accepted("/v2/team/app/blobs/uploads/1?state=a"),
        Then::Cut(4),
        told("0-2"),
        accepted("/v2/team/app/blobs/uploads/1?state=c"),
        status(201, ""),
    ])
    .await;
    let mut upload = script.repository(user()).begin().await.unwrap();
    upload.send(Bytes::from_static(b"hello world")).await.unwrap();
    upload.finish(DIGEST).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen[2].line, "GET /v2/team/app/blobs/uploads/1?state=a");
    assert_eq!(seen[3].line, "PATCH /v2/team/app/blobs/uploads/1?state=b");
    assert_eq!(seen[3].header("content-range"), Some("3-10"));
    assert_eq!(seen[3].body, b"lo world");
}

#[tokio::test]
async fn an_upload_that_is_forgotten_is_lost() {
    let script = Script::new(vec![
        accepted("/u"),
        accepted("/u"),
        Then::Cut(1),
        Then::Answer(204, vec![("Range", "0-0".to_owned())], String::new()),
    ])
    .await;
    let mut upload = script.repository(user()).begin().await.unwrap();
    upload.send(Bytes::from_static(b"hello ")).await.unwrap();
    let error = upload.send(Bytes::from_static(b"world")).await.unwrap_err();
    assert!(matches!(error, Error::UploadLost { .. }), "{error}");
}

#[tokio::test]
async fn a_lost_answer_to_the_end_is_no_loss() {
    let script = Script::new(vec![accepted("/u"), Then::Cut(0), status(200, "")]).await;
    script.repository(user()).begin().await.unwrap().finish(DIGEST).await.unwrap();
    assert_eq!(script.lines()[2], format!("HEAD /v2/team/app/blobs/{DIGEST}"));
}

#[tokio::test]
async fn a_mount_is_taken_or_left() {
    let script =
        Script::new(vec![status(201, ""), accepted("/u"), status(204, ""), status(404, "")]).await;
    let repository = script.repository(user());
    assert!(repository.mount(DIGEST, "team/base").await.unwrap());
    assert!(!repository.mount(DIGEST, "team/base").await.unwrap());
    assert!(!repository.mount(DIGEST, "team/base").await.unwrap());
    let lines = script.lines();
    assert_eq!(
        lines[0],
        format!(
            "POST /v2/team/app/blobs/uploads/?mount=sha256%3A{}&from=team%2Fbase",
            &DIGEST[7..]
        )
    );
    assert_eq!(lines[2], "DELETE /u", "an upload that nobody wants is given up");
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says() {
    const BODY: &str = r#"{"schemaVersion":2}"#;
    let typed = || {
        let headers = vec![("Content-Type", MediaType::OCI_MANIFEST.to_owned())];
        Then::Answer(200, headers, BODY.to_owned())
    };
    let script = Script::new(vec![typed(), typed(), typed(), status(404, "")]).await;
    let repository = script.repository(user());
    let wanted = digest(BODY.as_bytes());
    let found = repository.manifest("1").await.unwrap().unwrap();
    assert_eq!(
        (found.digest.as_str(), found.media_type.as_str()),
        (wanted.as_str(), MediaType::OCI_MANIFEST)
    );
    assert!(repository.manifest(&wanted).await.unwrap().is_some());
    let other = format!("sha256:{}", "0".repeat(64));
    assert!(matches!(repository.manifest(&other).await, Err(Error::Protocol { .. })));
    assert!(repository.manifest("2").await.unwrap().is_none());
}

#[tokio::test]
async fn an_immutable_tag_is_told_with_its_own_fault() {
    let body = r#"{"errors":[{"code":"TAG_INVALID","message":"The image tag '1' already exists in the 'x' repository and cannot be overwritten because the tag is immutable."}]}"#;
    let script = Script::new(vec![status(400, body)]).await;
    let error = script
        .repository(user())
        .put_manifest("1", MediaType::DOCKER_MANIFEST, Bytes::from_static(b"{}"))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Some(Fault::TagImmutable));
}
