//! Which endpoint is asked for which registry, and several registries in one run.

use serde_json::{Value, json};

use crate::endpoint::{Endpoint, KEYS, TOKEN, failed, good, message};

/// The host that is asked for a registry: a proxy gets to know it, and refuses.
fn host_asked(registry: &str) -> String {
    let proxy = Endpoint::new(&["403"]);
    let env = [KEYS[0], KEYS[1], ("HTTPS_PROXY", &proxy.url)];
    let _ = failed(&["--registry", registry], &env, 5, "aws_unreachable");
    let asked = proxy.asked();
    let line = asked[0].lines().next().unwrap();
    line.strip_prefix("CONNECT ")
        .and_then(|it| it.strip_suffix(":443 HTTP/1.1"))
        .unwrap()
        .to_owned()
}

#[test]
fn each_form_of_a_host_name_has_its_endpoint() {
    for (registry, endpoint) in [
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "api.ecr.eu-central-1.amazonaws.com"),
        ("123456789012.dkr.ecr-fips.us-west-2.amazonaws.com", "ecr-fips.us-west-2.amazonaws.com"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "ecr.eu-west-1.api.aws"),
        ("123456789012.dkr-ecr-fips.us-east-2.on.aws", "ecr-fips.us-east-2.api.aws"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "api.ecr.eusc-de-east-1.amazonaws.eu"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "api.ecr.us-iso-east-1.c2s.ic.gov"),
        ("public.ecr.aws", "api.ecr-public.us-east-1.amazonaws.com"),
        ("ecr-public.aws.com", "ecr-public.us-east-1.api.aws"),
    ] {
        let asked = host_asked(registry);
        assert!(asked == endpoint || asked == format!("api.{endpoint}"), "{registry}: {asked}");
    }
}

#[test]
fn the_public_registry_has_an_api_of_its_own() {
    let endpoint = Endpoint::new(&[
        "200\n\n{\"authorizationData\":{\"authorizationToken\":\"QVdTOmNhbmFyeQ==\",\"expiresAt\":4102444800}}",
    ]);
    let args = ["--endpoint-url", &endpoint.url, "--registry", "public.ecr.aws"];
    let (document, _) = good(&args, &KEYS, None);
    assert_eq!(
        document["registry"],
        json!({"host": "public.ecr.aws", "region": "us-east-1", "username": "AWS",
               "password": "canary", "expires_at": "2100-01-01T00:00:00Z"})
    );
    let asked = endpoint.asked();
    assert!(asked[0].contains("SpencerFrontendService.GetAuthorizationToken"), "{}", asked[0]);
    assert!(asked[0].contains("/us-east-1/ecr-public/aws4_request"), "{}", asked[0]);
}

const OTHER: &str = "210987654321.dkr.ecr.us-east-1.amazonaws.com";

fn document(settings: &Value) -> String {
    json!({"schema": "slipway.release/v1", "settings": settings}).to_string()
}

#[test]
fn a_registry_that_only_the_document_names_stops_nothing() {
    let denied = "400\n\n{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}";
    let endpoint = Endpoint::new(&[TOKEN, denied]);
    let input = document(&json!({"imgbuild": {"build_arg": [format!("BASE={OTHER}/python:3")]}}));
    let (got, told) = good(&["--endpoint-url", &endpoint.url], &KEYS, Some(&input));
    assert_eq!(got["registry"]["account"], "123456789012");
    assert_eq!(got["registry"].get("others"), None);
    assert!(told.contains(&format!("no token for {OTHER}, which the document names")), "{told}");
}

#[test]
fn one_that_was_asked_for_has_to_come() {
    let denied = "400\n\n{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}";
    let endpoint = Endpoint::new(&[TOKEN, denied]);
    let args = [
        "--endpoint-url",
        &endpoint.url,
        "--registry",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "--registry",
        OTHER,
    ];
    let error = failed(&args, &KEYS, 4, "access_denied");
    assert!(message(&error).contains("GetAuthorizationToken"), "{error}");
}

#[test]
fn a_token_that_is_valid_for_long_enough_is_kept_and_nobody_is_asked() {
    let endpoint = Endpoint::new(&["500"]);
    let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let registry = json!({"host": host, "region": "eu-west-1", "account": "123456789012",
        "repository": "web", "username": "AWS", "password": "canary",
        "expires_at": "2100-01-01T00:00:00Z"});
    let input = json!({"schema": "slipway.release/v1", "registry": registry}).to_string();
    let args = ["--endpoint-url", &endpoint.url, "--min-validity", "30m"];
    let (got, told) = good(&args, &[], Some(&input));
    assert_eq!(got["registry"], registry);
    assert!(told.contains("from the document") && endpoint.asked().is_empty(), "{told}");

    let endpoint = Endpoint::new(&[TOKEN]);
    let args = ["--endpoint-url", &endpoint.url, "--min-validity", "30m"];
    let soon = input.replace("2100", "2020").replace("canary", "old");
    let (got, _) = good(&args, &KEYS, Some(&soon));
    assert_eq!(got["registry"], registry);
}

#[test]
fn settings_of_one_text_are_taken_as_a_list_of_one() {
    let endpoint = Endpoint::new(&[TOKEN]);
    let input = document(&json!({"ecrlogin": {"registry_id": "123456789012"}}));
    let _ = good(&["--endpoint-url", &endpoint.url], &KEYS, Some(&input));
    assert!(endpoint.asked()[0].contains(r#"{"registryIds":["123456789012"]}"#));
}
