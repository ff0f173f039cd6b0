//! What ecrlogin does where AWS is not as it should be. The endpoints here give the answers that
//! no stand-in for AWS gives on request; everything else is tried against one in the end-to-end
//! tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod answers;
mod credentials;
mod endpoint;
mod forms;
mod hostile;
mod mistakes;
mod registries;

use endpoint::{Endpoint, KEYS, TOKEN, closed, failed, message, run, silent};

#[test]
fn without_credentials_it_lists_what_it_tried() {
    // A metadata service that accepts and never answers: the worst case of a search.
    let imds = silent();
    let env = [("AWS_REGION", "eu-west-1"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds)];
    let error = failed(&[], &env, 4, "credentials_not_found");
    let message = message(&error);
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
    assert!(message(&error).contains("AWS_REGION"));
}

#[test]
fn an_unknown_profile_is_an_error_even_with_keys_in_the_environment() {
    let error = failed(&["--profile", "nosuch"], &KEYS, 4, "credentials_not_found");
    assert!(message(&error).contains("nosuch"), "{error}");
}

#[test]
fn an_endpoint_that_refuses_connections_is_unreachable() {
    let url = closed();
    let error = failed(&["--endpoint-url", &url], &KEYS, 5, "aws_unreachable");
    assert_eq!(error["retryable"], true);
}

#[test]
fn an_endpoint_that_never_answers_ends_at_the_deadline() {
    let url = silent();
    let args = ["--endpoint-url", &url, "--timeout", "300ms"];
    let error = failed(&args, &KEYS, 124, "deadline_exceeded");
    assert!(message(&error).contains("300ms"));
}

#[test]
fn a_refusal_names_action_and_principal() {
    let url = Endpoint::new(&["400\n\n{\"__type\":\"AccessDeniedException\",\"message\":\"User: arn:aws:iam::1:user/ci is not authorized to perform: ecr:GetAuthorizationToken on resource: *\"}"]).url;
    let error = failed(&["--endpoint-url", &url], &KEYS, 4, "access_denied");
    let message = message(&error);
    assert!(message.contains("GetAuthorizationToken") && message.contains("user/ci"), "{message}");
}

#[test]
fn keys_that_aws_does_not_know_are_not_called_a_refusal() {
    let url = Endpoint::new(&["400\n\n{\"__type\":\"UnrecognizedClientException\",\"message\":\"The security token included in the request is invalid.\"}"]).url;
    failed(&["--endpoint-url", &url], &KEYS, 4, "credentials_invalid");
}

#[test]
fn an_answer_without_a_usable_token_is_an_error_that_does_not_show_it() {
    let url = Endpoint::new(&["200\n\n{\"authorizationData\":[{\"authorizationToken\":\"canary\",\"proxyEndpoint\":\"https://r.example\"}]}"]).url;
    let error = failed(&["--endpoint-url", &url], &KEYS, 1, "aws_error");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn a_good_answer_becomes_the_registry_section_and_keeps_the_rest() {
    let url = Endpoint::new(&[TOKEN]).url;
    let input = r#"{"schema":"slipway.release/v1","x":1.0e2,"image":{"name":"web"}}"#;
    let output = run(&["--endpoint-url", &url], &KEYS, Some(input));
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
