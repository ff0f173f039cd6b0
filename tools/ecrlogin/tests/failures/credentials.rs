//! Sources of AWS credentials: those that have some, and those that are broken.

use std::path::Path;

use crate::endpoint::{Endpoint, KEYS, TOKEN, closed, failed, good, message, silent};

const ROLE_KEYS: &str = r#"200

{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKIDROLE","SecretAccessKey":"canary","Token":"t","Expiration":"2100-01-01T00:00:00Z"}"#;

#[test]
fn the_instances_role_is_asked_past_any_proxy() {
    let imds_token = "200\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\n\ntoken";
    let imds = Endpoint::new(&[imds_token, "200\n\nci-role", ROLE_KEYS]);
    let ecr = Endpoint::new(&[TOKEN]);
    let dead = closed();
    let env = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url.as_str()),
        ("AWS_REGION", "eu-west-1"),
        ("HTTP_PROXY", &dead),
        ("http_proxy", &dead),
    ];
    // AWS is reached through a proxy, if there is one: so this names no other machine.
    let error = failed(&["--endpoint-url", "http://ecr.invalid"], &env, 5, "aws_unreachable");
    assert!(message(&error).contains("refused"), "the proxy was asked: {error}");
    assert_eq!(imds.asked().len(), 3);

    let imds = Endpoint::new(&[imds_token, "200\n\nci-role", ROLE_KEYS]);
    let env = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url.as_str()), KEYS[2]];
    let (_, told) = good(&["--endpoint-url", &ecr.url], &env, None);
    assert!(told.contains("from the instance's role"), "{told}");
    assert!(ecr.asked()[0].contains("AKIDROLE"));
}

#[test]
fn the_instance_tells_the_region_where_nothing_else_does() {
    let imds_token = "200\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\n\ntoken";
    let imds = Endpoint::new(&[imds_token, "200\n\neu-west-3"]);
    let ecr = Endpoint::new(&[&TOKEN.replace("eu-west-1", "eu-west-3")]);
    let env = [KEYS[0], KEYS[1], ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url.as_str())];
    let (document, _) = good(&["--endpoint-url", &ecr.url], &env, None);
    assert_eq!(document["registry"]["region"], "eu-west-3");
    assert!(ecr.asked()[0].contains("/eu-west-3/ecr/aws4_request"), "{}", ecr.asked()[0]);
}

#[test]
fn an_instance_without_a_role_is_told_from_none() {
    let imds_token = "200\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\n\ntoken";
    let imds = Endpoint::new(&[imds_token, "404"]);
    let env = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url.as_str()), KEYS[2]];
    let error = failed(&[], &env, 4, "credentials_not_found");
    assert!(message(&error).contains("the instance has no role"), "{error}");

    let dead = closed();
    let env = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", dead.as_str()), KEYS[2]];
    let error = failed(&[], &env, 4, "credentials_not_found");
    assert!(message(&error).contains(&format!("nothing answers at {dead}")), "{error}");
    assert_eq!(error["evidence"]["tried"][4]["source"], "the instance's role");
}

#[test]
fn a_metadata_service_that_hands_out_no_token_names_the_hop_limit() {
    let imds = silent();
    let env = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.as_str()), KEYS[2]];
    let error = failed(&[], &env, 4, "credentials_not_found");
    assert!(message(&error).contains("hop limit"), "{error}");
}

#[test]
fn the_containers_role_is_used_and_its_failure_is_no_reason_to_go_on() {
    let agent = Endpoint::new(&[ROLE_KEYS]);
    let uri = format!("{}/role", agent.url);
    let ecr = Endpoint::new(&[TOKEN]);
    let env = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()), KEYS[2]];
    let (_, told) = good(&["--endpoint-url", &ecr.url], &env, None);
    assert!(told.contains("from the container's role"), "{told}");

    let agent = Endpoint::new(&["403\n\n{\"code\":\"AccessDenied\",\"message\":\"no\"}"]);
    let uri = format!("{}/role", agent.url);
    let env = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()), KEYS[2]];
    let error = failed(&["--endpoint-url", &ecr.url], &env, 4, "credentials_invalid");
    assert!(message(&error).contains("the container's role"), "{error}");
    assert!(message(&error).contains("tried before: the environment"), "{error}");
}

/// Shared configuration with this profile, and the directory that holds it.
fn home(profile: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), profile).unwrap();
    home
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const SSO: &str = "[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = dev
region = eu-west-1
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.awsapps.com/start
";

#[test]
fn nobody_logged_in_to_sso_is_told_how() {
    let home = home(SSO);
    let env = [("HOME", text(home.path()))];
    let error = failed(&["--profile", "dev"], &env, 4, "credentials_invalid");
    assert!(message(&error).contains("nobody is logged in"), "{error}");
    assert_eq!(error["hint"], "aws sso login --profile dev");
}

/// A home where somebody logged in to SSO, until then.
fn sso_until(expires_at: &str) -> tempfile::TempDir {
    let home = home(SSO);
    let cache = home.path().join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    // The name is the SHA-1 of the session's name, as the AWS CLI writes it.
    let name = "ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    let token = format!(
        r#"{{"accessToken":"canary","expiresAt":"{expires_at}","region":"eu-west-1","startUrl":"https://corp.awsapps.com/start"}}"#
    );
    std::fs::write(cache.join(name), token).unwrap();
    home
}

#[test]
fn an_sso_session_gives_the_keys_of_its_role() {
    let home = sso_until("2100-01-01T00:00:00Z");
    let sso = Endpoint::new(&[r#"200

{"roleCredentials":{"accessKeyId":"AKIDSSO","secretAccessKey":"canary","sessionToken":"t","expiration":4102444800000}}"#]);
    let ecr = Endpoint::new(&[TOKEN]);
    let env = [("HOME", text(home.path())), ("AWS_ENDPOINT_URL_SSO", &sso.url)];
    let (_, told) = good(&["--profile", "dev", "--endpoint-url", &ecr.url], &env, None);
    assert!(told.contains("from the profile dev"), "{told}");
    assert!(sso.asked()[0].contains("role_name=dev") && ecr.asked()[0].contains("AKIDSSO"));
}

#[test]
fn an_sso_session_that_is_over_is_told_as_such() {
    let home = sso_until("2020-01-01T00:00:00Z");
    let env = [("HOME", text(home.path()))];
    let error = failed(&["--profile", "dev"], &env, 4, "credentials_invalid");
    assert!(message(&error).contains("the SSO session is expired"), "{error}");
    assert_eq!(error["hint"], "aws sso login --profile dev");
}

#[test]
fn a_credential_process_that_fails_is_told_with_its_words() {
    let home = home("[default]\ncredential_process = sh -c 'echo vault is sealed >&2; exit 3'\n");
    let env = [("HOME", text(home.path())), KEYS[2], ("PATH", "/usr/bin:/bin")];
    let error = failed(&[], &env, 4, "credentials_invalid");
    assert!(message(&error).contains("the profile default"), "{error}");
    assert!(message(&error).contains("vault is sealed"), "{error}");
}

#[test]
fn a_web_identity_without_its_file_names_the_file() {
    let role = ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/push");
    let env = [KEYS[2], role, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")];
    let error = failed(&[], &env, 4, "credentials_invalid");
    assert!(message(&error).contains("/nonexistent/token cannot be read"), "{error}");
}

#[test]
fn a_profile_that_points_at_the_instance_is_bounded_too() {
    let home = home(
        "[profile push]\nrole_arn = arn:aws:iam::123456789012:role/push\n\
         credential_source = Ec2InstanceMetadata\n",
    );
    let dead = closed();
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", dead.as_str());
    let env = [("HOME", text(home.path())), KEYS[2], endpoint];
    let error = failed(&["--profile", "push"], &env, 5, "aws_unreachable");
    assert!(message(&error).contains("the instance metadata endpoint"), "{error}");
}

#[test]
fn shared_configuration_that_cannot_be_read_names_the_file() {
    let home = home("[[profile\n");
    let env = [("HOME", text(home.path())), KEYS[2]];
    let error = failed(&[], &env, 4, "credentials_invalid");
    assert!(message(&error).contains(".aws/config"), "{error}");
}

#[test]
fn half_of_the_keys_is_told_from_none() {
    let env = [KEYS[0], KEYS[2], ("AWS_EC2_METADATA_DISABLED", "true")];
    let error = failed(&[], &env, 4, "credentials_not_found");
    assert!(message(&error).contains("AWS_SECRET_ACCESS_KEY is not"), "{error}");
    assert!(message(&error).contains("AWS_EC2_METADATA_DISABLED is set"), "{error}");
}
