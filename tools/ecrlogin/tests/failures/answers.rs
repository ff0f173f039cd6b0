//! Errors of AWS, and what becomes of them.

use std::time::{Duration, SystemTime};

use crate::endpoint::{Endpoint, KEYS, TOKEN, failed, good, message};

fn error(code: &str, message: &str) -> String {
    format!(
        r#"400
X-Test: 1

{{"__type":"{code}","message":"{message}"}}"#
    )
}

/// A date as HTTP writes it, so many seconds from now.
fn date(ahead: u64) -> String {
    let at = SystemTime::now() + Duration::from_secs(ahead);
    let at = jiff::Timestamp::try_from(at).unwrap();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn a_throttled_request_is_sent_again() {
    let throttled = error("ThrottlingException", "Rate exceeded");
    let endpoint = Endpoint::new(&[&throttled, TOKEN]);
    let (document, _) = good(&["--endpoint-url", &endpoint.url], &KEYS, None);
    assert_eq!(document["registry"]["password"], "canary");
    assert_eq!(endpoint.asked().len(), 2);
}

#[test]
fn throttling_that_stays_may_be_tried_later() {
    let endpoint = Endpoint::new(&[&error("ThrottlingException", "Rate exceeded")]);
    let error = failed(&["--endpoint-url", &endpoint.url], &KEYS, 1, "aws_error");
    assert_eq!(error["retryable"], true);
    assert!(message(&error).contains("Rate exceeded"), "{error}");
}

fn skewed(ahead: u64) -> String {
    let refused = error("InvalidSignatureException", "Signature expired");
    refused.replace("X-Test: 1", &format!("Date: {}", date(ahead)))
}

#[test]
fn a_clock_that_is_behind_is_made_up_for() {
    let ahead = TOKEN.replace("200\n", &format!("200\nDate: {}\n", date(7200)));
    let endpoint = Endpoint::new(&[&skewed(7200), &ahead]);
    let (_, told) = good(&["--endpoint-url", &endpoint.url], &KEYS, None);
    assert!(told.contains("warning: this machine's clock is 7"), "{told}");
    let signed: Vec<String> = endpoint
        .asked()
        .iter()
        .map(|request| {
            let line = request.lines().find(|line| line.starts_with("x-amz-date: ")).unwrap();
            line.to_owned()
        })
        .collect();
    assert_ne!(signed[0], signed[1], "the second is signed by the time of AWS");
}

#[test]
fn a_clock_that_is_wrong_is_told_with_the_seconds() {
    let endpoint = Endpoint::new(&[&skewed(900)]);
    let error = failed(&["--endpoint-url", &endpoint.url], &KEYS, 1, "clock_skew");
    let skew = error["evidence"]["skew_ms"].as_i64().unwrap();
    assert!((890_000..=900_000).contains(&skew), "{error}");
    assert!(message(&error).contains(" s behind that of AWS"), "{error}");
}

#[test]
fn a_signature_that_is_wrong_at_the_right_time_is_about_the_keys() {
    let endpoint = Endpoint::new(&[&skewed(0)]);
    let error = failed(&["--endpoint-url", &endpoint.url], &KEYS, 4, "credentials_invalid");
    assert!(message(&error).contains("from the environment"), "{error}");
}

#[test]
fn keys_unknown_in_a_region_that_has_to_be_enabled_get_that_hint() {
    let unknown = error("UnrecognizedClientException", "The security token is invalid.");
    let url = Endpoint::new(&[&unknown]).url;
    let hint = |region: &str| {
        let args = ["--endpoint-url", &url, "--region", region];
        failed(&args, &KEYS, 4, "credentials_invalid")["hint"].as_str().unwrap().to_owned()
    };
    assert!(hint("eu-central-2").contains("--region-name eu-central-2"));
    assert!(!hint("eu-central-1").contains("enable"));
}

#[test]
fn a_repository_that_somebody_else_creates_meanwhile_is_looked_at() {
    let there = r#"200

{"repositories":[{"repositoryName":"web","repositoryArn":"arn:aws:ecr:eu-west-1:123456789012:repository/web","imageTagMutability":"MUTABLE"}]}"#;
    let endpoint = Endpoint::new(&[
        TOKEN,
        &error("RepositoryNotFoundException", "no"),
        &error("RepositoryAlreadyExistsException", "yes"),
        there,
    ]);
    let args = ["--endpoint-url", &endpoint.url, "--ensure-repository", "--repository", "web"];
    let (document, _) = good(&[&args[..], &["--immutable-tags"]].concat(), &KEYS, None);
    assert_eq!(document["registry"]["repository_created"], false);
    assert_eq!(document["registry"]["repository_differences"][0]["setting"], "tag_mutability");
}

/// What STS says, which speaks XML.
fn sts(status: u16, code: &str, message: &str) -> String {
    format!(
        "{status}\n\n<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>1</RequestId></ErrorResponse>"
    )
}

const ROLE: [&str; 2] = ["--assume-role", "arn:aws:iam::210987654321:role/push"];

#[test]
fn a_role_that_may_not_be_assumed_names_both_sides() {
    let refused = sts(
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: sts:AssumeRole on \
         resource: arn:aws:iam::210987654321:role/push",
    );
    let endpoint = Endpoint::new(&[&refused]);
    let env = [KEYS[0], KEYS[1], KEYS[2], ("AWS_ENDPOINT_URL_STS", &endpoint.url)];
    let named = ["--session-name", "build-7", "--external-id", "x7"];
    let error = failed(&[&ROLE[..], &named].concat(), &env, 4, "access_denied");
    let asked = &endpoint.asked()[0];
    for part in ["Action=AssumeRole&", "RoleSessionName=build-7", "ExternalId=x7"] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    for part in ["sts:AssumeRole", "user/ci", "role/push", "the environment"] {
        assert!(message(&error).contains(part), "{part} is not in {error}");
    }
    assert_eq!(error["evidence"]["principal"], "arn:aws:iam::123456789012:user/ci");
    assert!(error["hint"].as_str().unwrap().contains("--external-id"), "{error}");
}

#[test]
fn a_region_that_is_not_enabled_is_told_by_sts() {
    let disabled = sts(403, "RegionDisabledException", "STS is not activated in this region");
    let url = Endpoint::new(&[&disabled]).url;
    let env = [KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL_STS", &url)];
    let args = [&ROLE[..], &["--region", "ap-east-1"]].concat();
    let error = failed(&args, &env, 4, "region_disabled");
    assert!(error["hint"].as_str().unwrap().contains("ap-east-1"), "{error}");
}

#[test]
fn an_answer_that_is_none_of_aws_is_told_as_such() {
    let url = Endpoint::new(&["502\n\n<html>Bad gateway</html>"]).url;
    let error = failed(&["--endpoint-url", &url], &KEYS, 1, "aws_error");
    assert!(message(&error).contains("HTTP 502"), "{error}");
    assert_eq!(error["retryable"], true);
}
