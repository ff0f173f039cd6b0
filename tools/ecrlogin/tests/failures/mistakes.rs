//! Options and variables that cannot be meant: refused with words that help, before anybody is asked.

use crate::endpoint::{Endpoint, KEYS, TOKEN, failed, good, message};

#[test]
fn an_empty_value_is_told_as_one() {
    let refused = |name: &str| {
        let env = [KEYS[0], KEYS[1], KEYS[2], (name, "")];
        let error = failed(&[], &env, 2, "usage");
        assert!(message(&error).starts_with("an empty value is not"), "{error}");
    };
    refused("ECRLOGIN_REGISTRY");
    refused("ECRLOGIN_REGISTRY_ID");
    refused("ECRLOGIN_REGION");
    refused("ECRLOGIN_ASSUME_ROLE");
}

#[test]
fn an_image_is_told_from_its_registry() {
    let image = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1";
    let error = failed(&["--registry", image], &KEYS, 2, "usage");
    assert!(error["hint"].as_str().unwrap().contains("the host name alone"), "{error}");
    let error = failed(&["--registry", "quay.io/web"], &KEYS, 2, "usage");
    assert!(error["hint"].as_str().unwrap().contains("it looks like"), "{error}");
}

#[test]
fn what_belongs_to_a_role_is_refused_without_one() {
    let endpoint = Endpoint::new(&[TOKEN]);
    for option in ["--external-id", "--session-name"] {
        let error = failed(&["--endpoint-url", &endpoint.url, option, "x7"], &KEYS, 2, "usage");
        assert!(message(&error).starts_with(option), "{error}");
    }
    assert!(endpoint.asked().is_empty());
}

#[test]
fn a_region_that_is_none_is_told_with_its_source() {
    let endpoint = Endpoint::new(&[TOKEN]);
    let args = ["--endpoint-url", &endpoint.url];
    let env = [KEYS[0], KEYS[1], ("AWS_REGION", "Frankfurt")];
    let error = failed(&args, &env, 2, "usage");
    assert_eq!(message(&error), "Frankfurt (of AWS_REGION) is not an AWS region");
    assert!(endpoint.asked().is_empty());

    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config");
    std::fs::write(&file, "[default]\nregion = eu-west\n").unwrap();
    let env = [KEYS[0], KEYS[1], ("AWS_CONFIG_FILE", file.to_str().unwrap())];
    let error = failed(&args, &env, 2, "usage");
    assert_eq!(message(&error), "eu-west (of the profile default) is not an AWS region");
    std::fs::write(&file, "[default]\nregion = eu-west-1\n").unwrap();
    let _ = good(&args, &env, None);
}

#[test]
fn a_directory_after_a_blank_is_told() {
    let error = failed(&["--docker-config", "/nonexistent"], &KEYS, 2, "usage");
    assert!(error["hint"].as_str().unwrap().contains("--docker-config="), "{error}");
    let error = failed(&["--format", "json"], &KEYS, 2, "usage");
    assert!(error["hint"].as_str().unwrap().contains("docker-credential"), "{error}");
}

#[test]
fn a_repository_is_named_without_its_registry() {
    let endpoint = Endpoint::new(&[TOKEN]);
    let name = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web";
    let args = ["--endpoint-url", &endpoint.url, "--ensure-repository", "--repository", name];
    let error = failed(&args, &KEYS, 2, "usage");
    assert!(error["hint"].as_str().unwrap().contains("does not belong to it"), "{error}");
    assert!(endpoint.asked().is_empty());
}
