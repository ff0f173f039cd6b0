//! Where AWS credentials may come from, and why a source has none, in words for people.

use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::error::SdkError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

use crate::Error;
use crate::answer::{cause, classify, layers};
use crate::login::Login;

/// Where credentials may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Environment,
    /// The profile in the shared configuration files, by name.
    Profile(String),
    WebIdentity,
    Container,
    Instance,
}

impl Source {
    /// The profile that is in force.
    pub(crate) fn profile(login: &Login) -> Self {
        let name = login.profile.clone().or_else(|| environment("AWS_PROFILE"));
        Self::Profile(name.unwrap_or_else(|| "default".to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment"),
            Self::Profile(name) => write!(f, "the profile {name}"),
            Self::WebIdentity => f.write_str("the web identity"),
            Self::Container => f.write_str("the container's role"),
            Self::Instance => f.write_str("the instance's role"),
        }
    }
}

/// A variable of the environment that says something.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Why a source has none. The SDK's own words are for its programmers.
pub(crate) fn why(
    source: &Source,
    error: &CredentialsError,
    environment: &dyn Fn(&str) -> Option<String>,
) -> String {
    let said = cause(error);
    let unset = |name: &str| environment(name).is_none();
    match source {
        Source::Environment => match (unset("AWS_ACCESS_KEY_ID"), unset("AWS_SECRET_ACCESS_KEY")) {
            (false, true) => {
                "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not".to_owned()
            }
            (true, false) => {
                "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not".to_owned()
            }
            _ => "AWS_ACCESS_KEY_ID is not set".to_owned(),
        },
        Source::Profile(_) if said == "the credential provider was not enabled" => {
            format!("no credentials {}", profile_files(environment))
        }
        Source::Profile(_) => said,
        Source::WebIdentity if unset("AWS_WEB_IDENTITY_TOKEN_FILE") => {
            "AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned()
        }
        Source::WebIdentity => "AWS_ROLE_ARN is not set".to_owned(),
        Source::Container => {
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set"
                .to_owned()
        }
        Source::Instance => instance(error, said, environment),
    }
}

/// Where the shared files would be, and which of them there are. Source: AWS SDKs and Tools
/// Reference Guide, "Location of the shared config and credentials files".
fn profile_files(environment: &dyn Fn(&str) -> Option<String>) -> String {
    let home = environment("HOME").unwrap_or_else(|| "~".to_owned());
    let place = |variable, name: &str| {
        environment(variable).unwrap_or_else(|| format!("{home}/.aws/{name}"))
    };
    let files =
        [place("AWS_CONFIG_FILE", "config"), place("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
    let there: Vec<_> =
        files.iter().filter(|file| std::path::Path::new(file).exists()).cloned().collect();
    if there.is_empty() {
        format!("as there is neither {} nor {}", files[0], files[1])
    } else {
        format!("in {}", there.join(" and "))
    }
}

fn instance(
    error: &CredentialsError,
    said: String,
    environment: &dyn Fn(&str) -> Option<String>,
) -> String {
    let endpoint = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        .unwrap_or_else(|| "169.254.169.254".to_owned());
    if said.starts_with("IMDS disabled") {
        "AWS_EC2_METADATA_DISABLED is set".to_owned()
    } else if said == "received 404 from IMDS" {
        "the instance has no role".to_owned()
    } else if says(error, "read timeout") || says(error, "response") {
        format!(
            "{endpoint} takes connections, but hands out no token ({said}); in a container the \
             instance's hop limit has to be 2"
        )
    } else if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        format!("nothing answers at {endpoint}")
    } else {
        said
    }
}

/// Whether one of its layers says this.
fn says(error: &CredentialsError, text: &str) -> bool {
    layers(error).any(|layer| layer.to_string().contains(text))
}

/// The error of a source that is configured, but fails.
pub(crate) fn broken(
    source: &Source,
    error: &CredentialsError,
    tried: Vec<(String, String)>,
    region: &str,
) -> Error {
    for layer in layers(error) {
        if let Some(error) = layer.downcast_ref::<SdkError<AssumeRoleError>>() {
            return classify("sts:AssumeRole", region, error)
                .with_credentials_of(&source.to_string());
        }
        if let Some(error) = layer.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>() {
            return classify("sts:AssumeRoleWithWebIdentity", region, error)
                .with_credentials_of(&source.to_string());
        }
    }
    let sso = says(error, "SSO") || says(error, "Session token not found or invalid");
    let origin = source.to_string();
    if says(error, "dispatch failure") {
        let service = match source {
            _ if sso => "SSO",
            _ if says(error, "IMDS") => "instance metadata",
            _ => "credentials",
        };
        let reason = format!("{origin}: {}", cause(error));
        return Error::Unreachable { service, region: region.to_owned(), reason };
    }
    let profile = match source {
        Source::Profile(name) if sso => Some(name.clone()),
        _ => None,
    };
    let said = match source {
        Source::WebIdentity => of_file(error, environment("AWS_WEB_IDENTITY_TOKEN_FILE")),
        Source::Container => of_file(error, environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")),
        _ => None,
    };
    let reason = said.unwrap_or_else(|| reason(&cause(error)));
    Error::BrokenCredentials { origin, reason, tried, sso: profile }
}

/// What went wrong with a file that a variable names, if that is what went wrong.
fn of_file(error: &CredentialsError, file: Option<String>) -> Option<String> {
    let said = layers(error).find_map(|layer| layer.downcast_ref::<std::io::Error>())?;
    Some(format!("{} cannot be read: {said}", file?))
}

/// The SDK's words as people would say it.
fn reason(said: &str) -> String {
    match said {
        "the SSO token has expired and cannot be refreshed"
        | "Session token not found or invalid" => return "the SSO session is expired".to_owned(),
        "failed to load the cached SSO token" => {
            return "nobody is logged in to that SSO".to_owned();
        }
        _ if said.contains("credentials-login") => {
            return "it is of `aws login`, which only the AWS CLI reads".to_owned();
        }
        _ => {}
    }
    if let Some(said) = said.strip_prefix("ProfileFile provider could not be built: ") {
        return format!("{said} ({})", profile_files(&environment));
    }
    let process = "Error retrieving credentials: external process exited with code ";
    match said.strip_prefix(process).map(|ended| ended.split_once(". Stderr:")) {
        Some(Some((status, words))) if words.trim().is_empty() => {
            format!("its command ended with {status} and without a word")
        }
        Some(Some((status, words))) => {
            format!("its command ended with {status}: {}", words.trim())
        }
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> CredentialsError {
        CredentialsError::not_loaded_no_source()
    }

    fn told(source: Source, set: &[(&str, &str)]) -> String {
        let look = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        why(&source, &none(), &look)
    }

    #[test]
    fn half_of_the_keys_in_the_environment_is_told_from_none() {
        assert_eq!(told(Source::Environment, &[]), "AWS_ACCESS_KEY_ID is not set");
        let half = told(Source::Environment, &[("AWS_ACCESS_KEY_ID", "AKID")]);
        assert!(half.contains("AWS_SECRET_ACCESS_KEY is not"), "{half}");
        let half = told(Source::Environment, &[("AWS_SECRET_ACCESS_KEY", "canary")]);
        assert!(half.contains("AWS_ACCESS_KEY_ID is not") && !half.contains("canary"), "{half}");
    }

    #[test]
    fn a_profile_is_looked_for_where_the_environment_says() {
        let source = || Source::Profile("ci".to_owned());
        let none = told(source(), &[("HOME", "/nonexistent")]);
        assert!(none.contains("/nonexistent/.aws/config"), "{none}");
        let none = told(source(), &[("AWS_CONFIG_FILE", "/etc/passwd")]);
        assert_eq!(none, "no credentials in /etc/passwd");
    }

    #[test]
    fn the_words_of_a_command_are_kept() {
        let ended = |stderr: &str| {
            reason(&format!(
                "Error retrieving credentials: external process exited with code exit status: 3. \
                 Stderr: {stderr}"
            ))
        };
        assert_eq!(ended("sealed\n"), "its command ended with exit status: 3: sealed");
        assert_eq!(ended(""), "its command ended with exit status: 3 and without a word");
    }

    #[test]
    fn an_sso_session_that_ended_names_the_way_to_renew_it() {
        let error =
            CredentialsError::provider_error("the SSO token has expired and cannot be refreshed");
        let broken = broken(&Source::Profile("dev".to_owned()), &error, Vec::new(), "eu-west-1");
        assert!(
            matches!(&broken, Error::BrokenCredentials { sso: Some(name), .. } if name == "dev")
        );
        assert!(broken.to_string().contains("the SSO session is expired"), "{broken}");
    }
}
