//! What the errors of AWS mean.

use std::error::Error as StdError;
use std::time::SystemTime;

use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use http_body_util::LengthLimitError;
use slipway_untrusted::limit::AWS_ANSWER;
use slipway_untrusted::{Untrusted, clean_line};

use crate::host::is_opt_in;
use crate::{Error, clock};

/// What an error of the SDK means. The codes are those of the "Common Errors" of the ECR and the STS
/// API Reference and of AWS Signature Version 4.
pub(crate) fn classify<E>(action: &'static str, region: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let service = service(action);
    let region = region.to_owned();
    let answered = match error {
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => error.raw_response(),
        _ => return Error::Unreachable { service, region, reason: cause(error) },
    };
    let status = answered.map_or(0, |answer| answer.status().as_u16());
    let Some(code) = error.code().map(Untrusted::from) else {
        let message = if is_too_large(error) {
            AWS_ANSWER.exceeded().to_string()
        } else {
            format!("the answer is none of the API of {service}")
        };
        let (code, transient) = (format!("HTTP {status}").into(), status >= 500);
        return Error::Aws { action, region, code, message: message.into(), transient };
    };
    let message = error.message().map_or_else(|| cause(error).into(), Untrusted::from);
    match code.raw() {
        "AccessDeniedException" | "AccessDenied" => {
            let denial = denial(&message.to_string());
            Error::Denied { action, region, message, denial, origin: None }
        }
        "RegionDisabledException" | "OptInRequired" => Error::RegionDisabled { region, message },
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "AuthFailure"
        | "MissingAuthenticationToken" => {
            let date = answered.and_then(|answer| answer.headers().get("date"));
            match date.and_then(|date| clock::skew(date, SystemTime::now())) {
                Some(seconds) if clock::is_wrong(seconds) => Error::ClockSkew { seconds, code },
                _ => {
                    let opt_in = is_opt_in(&region)
                        && matches!(
                            code.raw(),
                            "UnrecognizedClientException" | "InvalidClientTokenId"
                        );
                    Error::Invalid { code, message, region, opt_in, origin: None }
                }
            }
        }
        _ => {
            let transient = matches!(
                code.raw(),
                "ThrottlingException"
                    | "Throttling"
                    | "TooManyRequestsException"
                    | "RequestLimitExceeded"
                    | "ServerException"
                    | "ServiceUnavailable"
                    | "InternalFailure"
            ) || status >= 500;
            Error::Aws { action, region, code, message, transient }
        }
    }
}

fn service(action: &str) -> &'static str {
    match action.split_once(':') {
        Some(("sts", _)) => "STS",
        Some(("ecr-public", _)) => "ECR Public",
        _ => "ECR",
    }
}

/// What a refusal tells, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who is refused: an ARN.
    pub principal: String,
    /// What, as a policy writes it: `ecr:GetAuthorizationToken`.
    pub action: String,
    /// On what: an ARN or `*`.
    pub resource: Option<String>,
    /// Why, as far as AWS tells: that no policy allows it, or which kind denies it.
    pub why: Option<String>,
}

/// Reads a refusal, which is a sentence for people. Source: AWS IAM User Guide, "Troubleshoot access
/// denied error messages".
fn denial(message: &str) -> Option<Denial> {
    let rest = message.split_once("User: ")?.1;
    let (principal, rest) = rest.split_once(" is not authorized to perform: ")?;
    let (action, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim().strip_prefix("on resource: ").unwrap_or(rest.trim());
    let (resource, why) = match rest.split_once(' ') {
        Some((resource, why)) if resource != "because" && resource != "with" => (resource, why),
        Some(_) => ("", rest),
        None => (rest, ""),
    };
    let why = why.trim_end_matches('.').trim();
    let why = why.strip_prefix("because ").unwrap_or(why);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Denial {
        principal: principal.to_owned(),
        action: action.trim_end_matches('.').to_owned(),
        resource: text(resource),
        why: text(why),
    })
}

/// The innermost cause of an error: the outer layers only say that something failed. A metadata service
/// or a program may have said it, so that it is cleaned.
pub(crate) fn cause(error: &(dyn StdError + 'static)) -> String {
    if is_too_large(error) {
        return AWS_ANSWER.exceeded().to_string();
    }
    let innermost = layers(error).last().unwrap_or(error);
    clean_line(&innermost.to_string()).into_owned()
}

/// An error and what caused it, from the outermost.
pub(crate) fn layers<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&layer| layer.source())
}

fn is_too_large(error: &(dyn StdError + 'static)) -> bool {
    layers(error).any(|layer| layer.is::<LengthLimitError>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_is_taken_apart() {
        let got = denial(
            "User: arn:aws:sts::123456789012:assumed-role/ci/i-1 is not authorized to perform: \
             ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the \
             ecr:GetAuthorizationToken action",
        )
        .unwrap();
        assert_eq!(got.principal, "arn:aws:sts::123456789012:assumed-role/ci/i-1");
        assert_eq!(got.action, "ecr:GetAuthorizationToken");
        assert_eq!(got.resource.as_deref(), Some("*"));
        let why = "no identity-based policy allows the ecr:GetAuthorizationToken action";
        assert_eq!(got.why.as_deref(), Some(why));
    }

    #[test]
    fn a_refusal_by_a_policy_keeps_which_kind() {
        let got = denial(
            "User: arn:aws:iam::1:user/x is not authorized to perform: sts:AssumeRole on resource: \
             arn:aws:iam::2:role/y with an explicit deny in a service control policy",
        )
        .unwrap();
        assert_eq!(got.resource.as_deref(), Some("arn:aws:iam::2:role/y"));
        assert_eq!(got.why.as_deref(), Some("with an explicit deny in a service control policy"));
    }

    #[test]
    fn a_short_refusal_is_enough() {
        let got = denial("User: arn:x is not authorized to perform: ecr:PutImage").unwrap();
        assert_eq!((got.action.as_str(), got.resource, got.why), ("ecr:PutImage", None, None));
        assert_eq!(denial("Access denied"), None);
    }

    proptest! {
        #[test]
        fn no_sentence_panics(text in "(User: )?.{0,20}( is not authorized to perform: )?.{0,20}( on resource: )?.*") {
            let _ = denial(&text);
        }
    }
}
