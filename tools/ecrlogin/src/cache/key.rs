//! What makes a token another one: the registry, and who asks for it.
//!
//! Who asks is told by the configuration that the credentials come from, not by the credentials:
//! to look for those may take a call of a metadata service or of STS, which is what a kept token
//! saves. Files that are changed make another key.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::Options;
use crate::token::Target;

/// Variables that decide which credentials and which endpoint are used.
const VARIABLES: [&str; 13] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_ECR",
    "AWS_ENDPOINT_URL_ECR_PUBLIC",
    "AWS_ENDPOINT_URL_STS",
];

/// The key of a token of this registry, for whoever these options and this environment mean.
pub(super) fn of(target: &Target, options: &Options) -> String {
    let mut parts = vec![format!("{target:?}")];
    let Options { profile, assume_role, session_name, external_id, endpoint_url, .. } = options;
    parts.push(format!("{profile:?} {endpoint_url:?}"));
    parts.push(format!("{assume_role:?} {session_name:?} {external_id:?}"));
    parts.extend(VARIABLES.map(|name| format!("{name}={:?}", std::env::var_os(name))));
    parts.extend([
        file("AWS_CONFIG_FILE", ".aws/config"),
        file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ]);
    hash(&parts)
}

/// The key of a login that somebody gave for this registry.
pub(super) fn of_login(host: &str) -> String {
    hash(&["login".to_owned(), host.to_owned()])
}

/// A file of the shared configuration, as it is.
fn file(variable: &str, below_home: &str) -> String {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let path = given
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below_home)))
        .unwrap_or_default();
    let state = std::fs::metadata(&path);
    let state = state.map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec())).ok();
    format!("{} {state:?}", path.display())
}

/// Short enough for a file's name, and long enough that no two are the same.
fn hash(parts: &[String]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, Command, FromArgMatches as _};

    fn key(region: &str, args: &[&str]) -> String {
        let command = Options::augment_args(Command::new("ecrlogin").no_binary_name(true));
        let options = Options::from_arg_matches(&command.get_matches_from(args)).unwrap();
        let host = format!("123456789012.dkr.ecr.{region}.amazonaws.com");
        of(&crate::host::target(&host).unwrap(), &options)
    }

    #[test]
    fn another_registry_or_another_role_is_another_token() {
        let one = key("eu-west-1", &[]);
        assert_eq!(one, key("eu-west-1", &["--repository", "web", "--timeout", "1s"]));
        assert_ne!(one, key("eu-west-2", &[]));
        assert_ne!(one, key("eu-west-1", &["--profile", "other"]));
        assert_ne!(one, key("eu-west-1", &["--endpoint-url", "http://localhost"]));
        assert_ne!(one, key("eu-west-1", &["--assume-role", "arn:aws:iam::123456789012:role/ci"]));
        assert_ne!(one, of_login("eu-west-1"));
    }
}
