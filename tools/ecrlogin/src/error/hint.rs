//! What to do next, for each error.

use std::borrow::Cow;

use crate::Error;
use crate::answer::Denial;
use crate::docker::host_of;
use crate::host::target;

pub(super) fn hint(error: &Error) -> Cow<'static, str> {
    Cow::Borrowed(match error {
        Error::BrokenCredentials { sso: Some(profile), .. } => {
            return Cow::Owned(format!("aws sso login --profile {profile}"));
        }
        Error::Invalid { opt_in: true, region, .. } => {
            return Cow::Owned(format!(
                "{region} knows keys only of accounts that enabled it: is it enabled \
                 (aws account enable-region --region-name {region})? else the keys may be deleted \
                 or mistyped"
            ));
        }
        Error::RegionDisabled { region, .. } => {
            return Cow::Owned(format!("aws account enable-region --region-name {region}"));
        }
        Error::Denied { action, denial, .. } => return denied_hint(action, denial.as_ref()),
        Error::NotEcr { host } if target(host_of(host)).is_some() => {
            "give the host name alone, without what follows the first slash"
        }
        Error::NotEcr { .. } => {
            "it looks like 123456789012.dkr.ecr.eu-central-1.amazonaws.com, or is public.ecr.aws; other registries need no ecrlogin"
        }
        Error::BadAccount { .. } => "--registry-id takes one account; repeat it for several",
        Error::Conflict { .. } => "give one of the two only",
        Error::BadRegion { .. } => "a region looks like eu-central-1",
        Error::BadRole { .. } => "it looks like arn:aws:iam::123456789012:role/NAME",
        Error::BadSession { .. } => "leave --session-name out, or give such a name",
        Error::NoRole { .. } => {
            "give --assume-role ARN; a profile with role_arn has external_id and role_session_name beside it"
        }
        Error::OneOnly { .. } => "the document holds them all: leave --format out",
        Error::NotAPipe { .. } => "pipe it into what reads it, or give --reveal",
        Error::PublicRepository { .. } => {
            "aws ecr-public create-repository --region us-east-1 creates it"
        }
        Error::NoRegion { .. } => "give --region, or set AWS_REGION",
        Error::NoCredentials { .. } => {
            "give the machine a role that may call ecr:GetAuthorizationToken, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile"
        }
        Error::EmptyProfile { .. } => "`aws configure list-profiles` lists the profiles there are",
        Error::BrokenCredentials { .. } => "mend that source, or choose another with --profile",
        Error::RepositoryUnnamed => "give --repository NAME, or run imgbuild earlier in the pipe",
        Error::Invalid { code, .. } if code.raw().starts_with("ExpiredToken") => {
            "temporary keys end after some hours: get new ones from where these are from"
        }
        Error::Invalid { .. } => "the keys may be deleted or mistyped",
        Error::ClockSkew { .. } => "set this machine's clock, as with `chronyc makestep`",
        Error::Unreachable { .. } => {
            "look at the network, a proxy (HTTPS_PROXY), and whether the region exists; a VPC without a way out needs the endpoint com.amazonaws.REGION.ecr.api"
        }
        Error::Deadline { .. } => "look at the network, or give more --timeout",
        Error::Aws { transient: true, .. } => "try again in a while",
        Error::Aws { .. } => "the code is in the ECR API Reference, under Common Errors",
        Error::Repository(error) => error.hint(),
        Error::Docker(error) => error.hint(),
        Error::NotKept { .. } | Error::NotForgotten { .. } => {
            "tokens are kept in $XDG_CACHE_HOME/slipway/ecrlogin, else below ~/.cache"
        }
        Error::BadToken { .. } | Error::OtherRegistry { .. } | Error::NoKeys { .. } => {
            "is the endpoint one of Amazon's? look at AWS_ENDPOINT_URL"
        }
    })
}

fn denied_hint(action: &str, denial: Option<&Denial>) -> Cow<'static, str> {
    let explicit = denial.and_then(|denial| denial.why.as_deref()).unwrap_or_default();
    Cow::Borrowed(if explicit.contains("explicit deny") {
        "a policy denies it outright, which no other policy can allow: change the one that it names"
    } else if action.starts_with("sts:") {
        "both sides have to allow it: the principal's policy sts:AssumeRole on the role, and the role's trust policy the principal (and its external id, --external-id; a role that wants MFA is for the AWS CLI)"
    } else if action.starts_with("ecr-public:") {
        "let the principal's policy allow ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken on Resource \"*\"; pulling needs no login"
    } else {
        "let the principal's policy allow it; GetAuthorizationToken needs Resource \"*\""
    })
}
