//! The output forms beside the document.

use serde_json::json;

use crate::Format;
use crate::token::Token;

/// The text of a form; none for the document, which is written elsewhere.
pub(crate) fn text(format: Format, token: &Token) -> Option<String> {
    let password = token.password.reveal();
    Some(match format {
        Format::Document => return None,
        Format::Token => format!("{password}\n"),
        Format::DockerCredential => {
            let answer = json!({
                "ServerURL": token.host,
                "Username": token.username,
                "Secret": password,
                "ExpiresAt": token.expires_at.to_string(),
            });
            format!("{answer}\n")
        }
        Format::Env => [
            ("REGISTRY_HOST", token.host.as_str()),
            ("REGISTRY_USERNAME", &token.username),
            ("REGISTRY_PASSWORD", password),
            ("REGISTRY_EXPIRES_AT", &token.expires_at.to_string()),
        ]
        .map(|(name, value)| format!("{name}={}\n", quoted(value)))
        .concat(),
    })
}

/// The text in the place of the form when there is no token. `eval "$(…)"` does not see an exit
/// status, so that there the text has to fail.
pub(crate) fn failed(format: Format) -> Option<&'static str> {
    match format {
        Format::Document => None,
        Format::Token | Format::DockerCredential => Some(""),
        Format::Env => Some("false\n"),
    }
}

/// A value as a shell reads it. What needs no quotes gets none, since env files know none.
fn quoted(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+=/.,:@%".contains(letter);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_release::Secret;
    use std::process::Command;

    fn token(password: &str) -> Token {
        Token {
            host: "123456789012.dkr.ecr.eu-west-1.amazonaws.com".to_owned(),
            region: "eu-west-1".to_owned(),
            account: Some("123456789012".to_owned()),
            username: "AWS".to_owned(),
            password: Secret::new(password),
            expires_at: "2100-01-01T00:00:00Z".parse().unwrap(),
            source: "the environment".to_owned(),
        }
    }

    #[test]
    fn each_form_is_what_its_reader_takes() {
        let token = token("eyJw+/=");
        assert_eq!(text(Format::Document, &token), None);
        assert_eq!(text(Format::Token, &token).unwrap(), "eyJw+/=\n");
        assert_eq!(
            text(Format::DockerCredential, &token).unwrap(),
            concat!(
                r#"{"ServerURL":"123456789012.dkr.ecr.eu-west-1.amazonaws.com","#,
                r#""Username":"AWS","Secret":"eyJw+/=","ExpiresAt":"2100-01-01T00:00:00Z"}"#,
                "\n"
            )
        );
        assert_eq!(
            text(Format::Env, &token).unwrap(),
            "REGISTRY_HOST=123456789012.dkr.ecr.eu-west-1.amazonaws.com\nREGISTRY_USERNAME=AWS\n\
             REGISTRY_PASSWORD=eyJw+/=\nREGISTRY_EXPIRES_AT=2100-01-01T00:00:00Z\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_shell_reads_every_value_back(value in "[ -~]{0,20}") {
            let script = format!("v={}\nprintf %s \"$v\"", quoted(&value));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), value);
        }
    }
}
