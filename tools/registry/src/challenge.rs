//! The header `WWW-Authenticate` (RFC 9110, section 11.6.1). Pure.

/// How a registry wants to be logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from a service.
    Bearer {
        /// Where the service answers.
        realm: String,
        /// What the service calls the registry.
        service: Option<String>,
        /// What has to be asked for.
        scope: Option<String>,
    },
}

/// Reads the challenges of one header; Bearer goes before Basic, since a registry that offers both
/// takes tokens more readily.
pub(crate) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for header in headers {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let parameters = parameters_of(parameters);
            let get = |name: &str| {
                parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            };
            if let Some(realm) = get("realm") {
                return Some(Challenge::Bearer {
                    realm,
                    service: get("service"),
                    scope: get("scope"),
                });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
    }
    found
}

/// `key="value"` or `key=value`, parted by commas that may also stand inside the quotes.
fn parameters_of(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([',', ' ', '\t']).to_ascii_lowercase();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, left) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), left)
            }
        };
        parameters.push((key, value));
        rest = left;
    }
    parameters
}

/// The text up to the closing quote, and what is behind it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_schemes_are_read() {
        assert_eq!(
            parse(["Basic realm=\"x\",service=\"ecr.amazonaws.com\""]),
            Some(Challenge::Basic)
        );
        let bearer = "Bearer realm=\"https://auth.example/token\",service=\"r.example\",scope=\"repository:a/b:pull,push\"";
        let wanted = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r.example".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(parse([bearer]), Some(wanted.clone()));
        assert_eq!(parse(["Basic realm=x", bearer]), Some(wanted));
        assert_eq!(parse(["Negotiate"]), None);
        assert_eq!(parse(["Bearer service=x"]), None, "a token needs a realm");
    }

    proptest! {
        #[test]
        fn quoted_values_come_out_as_they_were(value in "[ -~]{0,30}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let parameters = parameters_of(&format!("a=b, key=\"{quoted}\", c=\"d\""));
            prop_assert_eq!(&parameters[1], &("key".to_owned(), value));
            prop_assert_eq!(parameters.len(), 3);
        }

        #[test]
        fn no_header_panics(text in ".*") {
            let _ = parse([text.as_str()]);
        }
    }
}
