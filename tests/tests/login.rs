//! ecrlogin against the lab's ECR API, and its credentials against the lab's registry.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use slipway_tests::lab::Run;
use slipway_tests::process::{into_file, with_input, without_input};
use slipway_tests::{from_run_sh, tool};

/// ecrlogin as on a machine that is set up for AWS.
fn login() -> Command {
    let mut command = tool("ecrlogin");
    for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        command.env(name, from_run_sh(name));
    }
    command
}

fn unique(name: &str) -> String {
    format!("login/{name}-{}", std::process::id())
}

/// What the registry answers to these credentials, over TLS with its own name.
fn registry_status(user: &str, password: &str) -> u16 {
    const ASK: &str = "
import base64, http.client, socket, ssl, sys
host, address, ca = sys.argv[1:]
credentials = base64.b64encode(sys.stdin.buffer.read()).decode()
with socket.create_connection((address, 443), timeout=30) as plain:
    with ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=host) as secure:
        secure.sendall(f'GET /v2/ HTTP/1.1\\r\\nHost: {host}\\r\\nAuthorization: Basic {credentials}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
        answer = http.client.HTTPResponse(secure)
        answer.begin()
        print(answer.status)
";
    let mut ask = Command::new("python3");
    ask.args(["-c", ASK, &from_run_sh("LAB_REGISTRY"), &from_run_sh("LAB_REGISTRY_ADDR")])
        .arg(from_run_sh("LAB_CA"));
    let output = with_input(&mut ask, &format!("{user}:{password}"));
    let told = String::from_utf8_lossy(&output.stderr);
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("{told}"))
}

#[test]
fn the_token_opens_the_registry() {
    let got = Run::of(&without_input(&mut login())).good();
    let registry = &got.document["registry"];
    assert_eq!(registry["host"], from_run_sh("LAB_REGISTRY"));
    assert_eq!(registry["account"], from_run_sh("LAB_REGISTRY")[..12]);
    assert_eq!(registry["region"], from_run_sh("AWS_REGION"));
    let user = registry["username"].as_str().unwrap();
    let status = |password: &str| registry_status(user, password);
    assert_eq!(status(registry["password"].as_str().unwrap()), 200);
    assert_eq!(status("wrong"), 401);
}

#[test]
fn a_repository_is_created_once() {
    let name = unique("created");
    let input = json!({"schema": "slipway.release/v1", "image": {"name": name}}).to_string();
    let mut ensure = login();
    ensure.arg("--ensure-repository");
    let first = Run::of(&with_input(&mut ensure, &input)).good();
    assert_eq!(first.document["registry"]["repository"], name);
    assert_eq!(first.document["registry"]["repository_created"], true);
    let again = Run::of(&with_input(&mut ensure, &input)).good();
    assert_eq!(again.document["registry"]["repository_created"], false);
    let other = unique("other");
    let named = Run::of(&with_input(ensure.arg("--repository").arg(&other), &input)).good();
    assert_eq!(named.document["registry"]["repository"], other);
}

#[test]
fn without_a_name_no_repository_is_created() {
    let bad = Run::of(&without_input(login().arg("--ensure-repository")));
    let _ = bad.bad("ecrlogin", 2, "usage");
}

#[test]
fn another_account_is_asked_for_by_its_number() {
    let got = Run::of(&without_input(login().args(["--registry-id", "210987654321"]))).good();
    let host = got.document["registry"]["host"].as_str().unwrap();
    assert!(host.starts_with("210987654321.dkr.ecr."), "{host}");
}

#[test]
fn several_accounts_come_in_one_run_and_only_into_a_pipe() {
    let ids = ["--registry-id", "123456789012", "--registry-id", "210987654321"];
    let got = Run::of(&without_input(login().args(ids))).good();
    let other = &got.document["registry"]["others"][0];
    assert_eq!(got.document["registry"]["account"], "123456789012");
    assert_eq!(other["account"], "210987654321");
    assert_eq!(other["password"], "210987654321-auth-token");

    let directory = tempfile::tempdir().unwrap();
    let (output, saved) = into_file(
        login().args(ids),
        r#"{"schema":"slipway.release/v1"}"#,
        &directory.path().join("saved.json"),
    );
    assert!(output.status.success() && !saved.contains("auth-token"), "{saved}");
    // The saved document names both.
    let fresh = Run::of(&with_input(&mut login(), &saved)).good();
    assert_eq!(fresh.document["registry"], got.document["registry"]);
}

#[test]
fn a_host_name_that_was_given_stays_the_registrys_name() {
    for host in [
        "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
        "123456789012.dkr-ecr.eu-west-1.on.aws",
    ] {
        let got = Run::of(&without_input(login().args(["--registry", host]))).good();
        assert_eq!(got.document["registry"]["host"], host);
        assert_eq!(got.document["registry"]["account"], "123456789012");
    }
}

const ROLE: &str = "arn:aws:iam::210987654321:role/push";

#[test]
fn a_role_is_assumed_and_its_account_is_the_one() {
    let got = Run::of(&without_input(login().args(["--assume-role", ROLE]))).good();
    assert_eq!(got.document["registry"]["account"], "210987654321");
    assert!(got.told.contains(&format!("the role {ROLE}")), "{}", got.told);

    let named = ["--assume-role", ROLE, "--session-name", "build-7", "--external-id", "x"];
    let _ = Run::of(&without_input(login().args(named))).good();
    let bad = Run::of(&without_input(login().args(["--assume-role", "push"])));
    let _ = bad.bad("ecrlogin", 2, "usage");
}

#[test]
fn a_profile_may_assume_a_role_with_the_keys_of_another() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let config = format!(
        "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = s\n\
         [profile push]\nrole_arn = {ROLE}\nsource_profile = base\nregion = eu-west-1\n"
    );
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    let mut command = login();
    command.env("HOME", home.path()).env_remove("AWS_REGION").args(["--profile", "push"]);
    let got = Run::of(&without_input(&mut command)).good();
    assert_eq!(got.document["registry"]["account"], "210987654321");
    assert!(got.told.contains("the profile push"), "{}", got.told);
}

#[test]
fn a_web_identity_is_exchanged_for_a_role() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "header.claims.signature").unwrap();
    let mut command = login();
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_WEB_IDENTITY_TOKEN_FILE", token.path()).env("AWS_ROLE_ARN", ROLE);
    let got = Run::of(&without_input(&mut command)).good();
    assert!(got.told.contains("from the web identity"), "{}", got.told);
    assert_eq!(got.document["registry"]["account"], "210987654321");
}

#[test]
fn the_token_alone_opens_the_registry() {
    let output = without_input(login().args(["--format", "token"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!(registry_status("AWS", token.trim_end()), 200);
}

#[test]
fn the_region_comes_from_flag_host_environment_and_profile() {
    let region = |command: &mut Command| {
        let got = Run::of(&without_input(command)).good();
        got.document["registry"]["region"].as_str().unwrap().to_owned()
    };
    assert_eq!(region(login().args(["--region", "us-west-2"])), "us-west-2");
    let host = "123456789012.dkr.ecr.ap-south-1.amazonaws.com";
    assert_eq!(region(login().args(["--registry", host])), "ap-south-1");
    assert_eq!(region(login().env("AWS_REGION", "eu-north-1")), "eu-north-1");

    let home = tempfile::tempdir().unwrap();
    profile(home.path());
    let mut by_profile = login();
    by_profile.env("HOME", home.path()).env_remove("AWS_REGION").args(["--profile", "ci"]);
    assert_eq!(region(&mut by_profile), "sa-east-1");
}

/// Shared AWS configuration with a profile whose keys come from a command.
fn profile(home: &Path) {
    std::fs::create_dir(home.join(".aws")).unwrap();
    let keys = json!({"Version": 1, "AccessKeyId": "AKIDPROFILE", "SecretAccessKey": "s"});
    std::fs::write(home.join("keys.json"), keys.to_string()).unwrap();
    let config = format!(
        "[profile ci]\nregion = sa-east-1\ncredential_process = cat {}/keys.json\n",
        home.display()
    );
    std::fs::write(home.join(".aws/config"), config).unwrap();
}

#[test]
fn a_profile_that_was_asked_for_goes_before_keys_in_the_environment() {
    let home = tempfile::tempdir().unwrap();
    profile(home.path());
    let mut command = login();
    command.env("HOME", home.path()).args(["--profile", "ci"]);
    let got = Run::of(&without_input(&mut command)).good();
    assert!(got.told.contains("from the profile"), "{}", got.told);
}

#[test]
fn a_saved_document_gets_a_fresh_token_and_keeps_the_rest() {
    let name = unique("fresh");
    let input = json!({"schema": "slipway.release/v1", "image": {"name": name}, "x": {"y": 1}});
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("saved.json");
    let mut ensure = login();
    ensure.arg("--ensure-repository");
    let (output, saved) = into_file(&mut ensure, &input.to_string(), &path);
    assert!(output.status.success() && !saved.contains("password"), "{saved}");
    let fresh = Run::of(&with_input(&mut login(), &saved)).good();
    assert!(fresh.document["registry"]["password"].is_string());
    let mut before: Value = serde_json::from_str(&saved).unwrap();
    before["registry"]["password"] = fresh.document["registry"]["password"].clone();
    assert_eq!(fresh.document, before, "nothing else is another");
}

/// What the API has of a repository.
const LOOK: &str = r#"
import json, sys, urllib.request
moto, region, name = sys.argv[1:]
def ask(action, **body):
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"AmazonEC2ContainerRegistry_V20150921.{action}",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=look/20250101/{region}/ecr/aws4_request, SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(moto, json.dumps(body).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)
repository = ask("DescribeRepositories", repositoryNames=[name])["repositories"][0]
repository["tags"] = ask("ListTagsForResource", resourceArn=repository["repositoryArn"])["tags"]
try:
    repository["policy"] = ask("GetLifecyclePolicy", repositoryName=name)["lifecyclePolicyText"]
except urllib.error.HTTPError:
    pass
print(json.dumps(repository))
"#;

fn look(name: &str) -> Value {
    let mut ask = Command::new("python3");
    ask.args(["-c", LOOK, &from_run_sh("AWS_ENDPOINT_URL"), &from_run_sh("AWS_REGION"), name]);
    let output = without_input(&mut ask);
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"))
}

/// A lifecycle policy that keeps so many images.
fn policy(directory: &Path, keep: u32) -> String {
    let path = directory.join(format!("keep-{keep}.json"));
    let text = json!({"rules": [{
        "rulePriority": 1,
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keep},
        "action": {"type": "expire"},
    }]});
    std::fs::write(&path, text.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn settings(run: &Run) -> Vec<&str> {
    let differences = run.document["registry"]["repository_differences"].as_array().unwrap();
    differences.iter().map(|difference| difference["setting"].as_str().unwrap()).collect()
}

#[test]
fn a_repository_is_created_as_it_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let name = unique("care");
    let policy = policy(directory.path(), 50);
    let args = ["--ensure-repository", "--immutable-tags", "--scan-on-push", "--tag", "team=web"];
    let ensure = || {
        let mut ensure = login();
        ensure.args(args).args(["--repository", &name, "--lifecycle-policy", &policy]);
        ensure.args(["--encryption", "kms:1234abcd-12ab-34cd-56ef-1234567890ab"]);
        Run::of(&without_input(&mut ensure)).good()
    };
    let first = ensure();
    assert_eq!(first.document["registry"]["repository_created"], true);
    let found = look(&name);
    assert_eq!(found["imageTagMutability"], "IMMUTABLE");
    assert_eq!(found["imageScanningConfiguration"]["scanOnPush"], true);
    assert_eq!(found["encryptionConfiguration"]["encryptionType"], "KMS");
    assert_eq!(found["tags"], json!([{"Key": "team", "Value": "web"}]));
    assert!(found["policy"].as_str().unwrap().contains("50"), "{found}");

    let again = ensure();
    assert_eq!(again.document["registry"]["repository_created"], false);
    assert_eq!(settings(&again), [] as [&str; 0], "{}", again.told);
    assert!(!again.told.contains("warning: repository"), "{}", again.told);
}

#[test]
fn what_differs_is_told_and_changed_on_request_only() {
    let directory = tempfile::tempdir().unwrap();
    let name = unique("differs");
    let mut plain = login();
    let plain = plain.args(["--ensure-repository", "--repository", &name, "--tag", "team=web"]);
    let _ = Run::of(&without_input(plain)).good();
    let before = look(&name);

    let policy = policy(directory.path(), 7);
    let ensure = |more: &[&str]| {
        let mut ensure = login();
        ensure.args(["--ensure-repository", "--repository", &name, "--immutable-tags"]);
        ensure.args(["--scan-on-push", "--lifecycle-policy", &policy, "--encryption", "kms"]);
        ensure.args(["--tag", "team=shop", "--tag", "cost=7"]).args(more);
        Run::of(&without_input(&mut ensure)).good()
    };
    let all = [
        "tag_mutability",
        "scan_on_push",
        "lifecycle_policy",
        "encryption",
        "tag cost",
        "tag team",
    ];
    let told = ensure(&[]);
    assert_eq!(settings(&told), all);
    assert_eq!(told.told.matches("warning: repository").count(), 6, "{}", told.told);
    assert!(told.told.contains("tag_mutability is MUTABLE, not IMMUTABLE"), "{}", told.told);
    assert_eq!(look(&name), before, "nothing was changed");

    let changed = ensure(&["--reconcile"]);
    assert_eq!(settings(&changed), all);
    let found = look(&name);
    assert_eq!(found["imageTagMutability"], "IMMUTABLE");
    assert!(found["policy"].as_str().unwrap().contains('7'), "{found}");
    assert_eq!(found["tags"].as_array().unwrap().len(), 2);
    // How a repository is encrypted cannot be changed by anybody.
    let left = ensure(&["--reconcile"]);
    assert_eq!(settings(&left), ["encryption"]);
    let difference = &left.document["registry"]["repository_differences"][0];
    assert_eq!(difference["reconciled"], false);
    assert!(left.told.contains("decided when a repository is created"), "{}", left.told);
}

#[test]
fn a_policy_that_aws_refuses_leaves_a_repository_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.json");
    std::fs::write(&path, r#"{"rules": [{"rulePriority": "first"}]}"#).unwrap();
    let name = unique("refused");
    let mut ensure = login();
    ensure.args(["--ensure-repository", "--repository", &name, "--lifecycle-policy"]).arg(&path);
    let bad = Run::of(&without_input(&mut ensure)).bad("ecrlogin", 1, "aws_error");
    assert!(bad.told.contains("was created, but without its lifecycle policy"), "{}", bad.told);
    let _ = look(&name);
    let bad = Run::of(&without_input(login().args(["--scan-on-push"])));
    let _ = bad.bad("ecrlogin", 2, "usage");
}
