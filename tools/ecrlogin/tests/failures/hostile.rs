//! Endpoints, files and programs that want something else than to help.

use serde_json::Value;

use crate::endpoint::{Endpoint, KEYS, TOKEN, endless, failed, good, message, run};

fn asked(answer: &str, exit: i32, code: &str) -> Value {
    let url = Endpoint::new(&[answer]).url;
    failed(&["--endpoint-url", &url], &KEYS, exit, code)
}

#[test]
fn an_answer_cannot_name_another_registry() {
    for named in [
        "https://evil-registry.example",
        "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        "https://123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "http://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "https://123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "localhost:5000",
    ] {
        let own = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let error = asked(&TOKEN.replace(own, named), 1, "aws_error");
        assert!(message(&error).contains("the token is not used"), "{error}");
        assert!(message(&error).contains(named), "{error}");
    }
    let url = Endpoint::new(&[TOKEN]).url;
    let args = ["--endpoint-url", &url, "--registry-id", "210987654321"];
    let error = failed(&args, &KEYS, 1, "aws_error");
    assert!(message(&error).contains("that of 210987654321 in eu-west-1"), "{error}");
}

#[test]
fn a_token_is_of_the_user_aws_and_on_one_line() {
    // "root:canary", "AWS:", "AWS:a\nb"
    for token in ["cm9vdDpjYW5hcnk=", "QVdTOg==", "QVdTOmEKYg=="] {
        let error = asked(&TOKEN.replace("QVdTOmNhbmFyeQ==", token), 1, "aws_error");
        assert!(message(&error).contains("without a usable token"), "{error}");
        assert!(!error.to_string().contains(token), "{error}");
    }
    let long = "QVdT".repeat(20_000);
    let error = asked(&TOKEN.replace("QVdTOmNhbmFyeQ==", &long), 1, "aws_error");
    assert!(message(&error).contains("too long"), "{error}");
}

#[test]
fn what_aws_says_cannot_steer_the_terminal() {
    let said = r"\u001b]0;owned\u0007\u001b[2Jgone\u202e";
    for (code, exit, expected) in [
        ("AccessDeniedException", 4, "access_denied"),
        ("UnrecognizedClientException", 4, "credentials_invalid"),
        ("OptInRequired", 4, "region_disabled"),
        (r"\u001b[31mOther", 1, "aws_error"),
    ] {
        let said =
            format!("User: arn:{said} is not authorized to perform: {said}{}", "x".repeat(9000));
        let answer = format!("400\n\n{{\"__type\":\"{code}\",\"message\":\"{said}\"}}");
        let url = Endpoint::new(&[&answer]).url;
        let output = run(&["--endpoint-url", &url], &KEYS, None);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{stderr}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["code"], expected);
        let evidence = document["error"]["evidence"].to_string();
        for text in [&stderr, message(&document["error"]), &evidence] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
            assert!(text.len() < 20_000, "{} bytes", text.len());
        }
    }
}

#[test]
fn an_answer_without_end_is_read_to_the_limit() {
    let url = endless("{\"authorizationData\":[", "{\"authorizationToken\":\"x\"},");
    let error = failed(&["--endpoint-url", &url], &KEYS, 1, "aws_error");
    assert!(message(&error).contains("the answer of AWS is larger than 1 MiB"), "{error}");

    let agent = endless("{\"Code\":\"Success\",\"x\":\"", "xxxx");
    let env = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.as_str()), KEYS[2]];
    let error = failed(&[], &env, 4, "credentials_invalid");
    assert!(message(&error).contains("larger than 1 MiB"), "{error}");

    let imds = endless("", "xxxx");
    let env = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.as_str()), KEYS[2]];
    let _ = failed(&[], &env, 4, "credentials_not_found");
}

#[test]
fn files_of_the_sdk_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let large = large.to_str().unwrap();
    let role = ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/push");
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        for (file, why) in [(large, "larger than 1 MiB"), ("/dev/zero", "a device")] {
            let error = failed(&[], &[KEYS[2], role, (name, file)], 4, "credentials_invalid");
            assert!(message(&error).contains(file) && message(&error).contains(why), "{error}");
        }
    }
    let error = failed(
        &["--ensure-repository", "--repository", "web", "--lifecycle-policy", "/dev/zero"],
        &KEYS,
        1,
        "file_too_large",
    );
    assert!(message(&error).contains("/dev/zero"), "{error}");
}

#[test]
fn what_goes_over_the_network_in_clear_is_told() {
    let endpoint = Endpoint::new(&[TOKEN]);
    let env = [KEYS[0], KEYS[1], KEYS[2], ("HTTP_PROXY", &endpoint.url)];
    let (_, told) = good(&["--endpoint-url", "http://moto.example:5000"], &env, None);
    assert!(told.contains("warning: moto.example was asked without TLS"), "{told}");
    let (_, told) = good(&["--endpoint-url", &endpoint.url], &KEYS, None);
    assert!(!told.contains("without TLS"), "{told}");
}
