//! What a registry's refusal means. Pure.
//!
//! The codes are those of the OCI distribution specification, "Error Codes"; the texts tell apart
//! what has no code of its own, in the words of Amazon ECR, distribution, Harbor, GitLab and
//! Artifactory.

use serde::Deserialize;

/// How a registry refused or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// No credentials, wrong ones, or expired ones.
    Unauthorized,
    /// The credentials are good but do not allow this.
    Denied,
    /// The repository does not exist (Amazon ECR creates none by itself).
    RepositoryNotFound,
    /// The tag exists, differs, and tags of the repository cannot be moved.
    TagImmutable,
    /// The registry does not have what was asked for.
    NotFound,
    /// A quota of the repository, project or account is used up.
    Quota,
    /// The registry, or a proxy before it, takes no body of this size.
    TooLarge,
    /// The registry's disk is full.
    DiskFull,
    /// Too many requests.
    RateLimited,
    /// The upload is unknown: the registry has given it up.
    UploadUnknown,
    /// The registry failed inside.
    ServerError,
    /// The registry found the request itself wrong.
    Rejected,
}

impl Fault {
    /// Whether the same request may succeed a moment later without a change.
    #[must_use]
    pub fn transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::ServerError)
    }
}

/// The body of an answer that refuses something.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<Entry>,
    /// Token services answer in a form of their own.
    details: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    code: String,
    message: String,
    detail: serde_json::Value,
}

/// The longest text of a refusal that is passed on.
const TEXT_MAX: usize = 500;

/// Reads what an answer other than 2xx means: the fault, and the registry's words.
pub(crate) fn read(status: u16, body: &[u8]) -> (Fault, String) {
    let parsed: Body = serde_json::from_slice(body).unwrap_or_default();
    let code = parsed.errors.first().map(|entry| entry.code.clone()).unwrap_or_default();
    let text = parsed
        .errors
        .first()
        .map(|entry| match &entry.detail {
            serde_json::Value::String(detail) if !entry.message.contains(detail.as_str()) => {
                format!("{}: {detail}", entry.message)
            }
            _ => entry.message.clone(),
        })
        .or(parsed.message)
        .or(parsed.details)
        .unwrap_or_else(|| plain(body));
    // The whole body decides: distribution hides a full disk in a nested detail.
    let all = String::from_utf8_lossy(body).to_lowercase();
    let fault = judge(status, &code, &all);
    let text: String = text.trim().chars().take(TEXT_MAX).collect();
    let words = if text.is_empty() { format!("status {status}") } else { text };
    (fault, words)
}

/// A body that is no JSON, if it is a text for people: proxies send pages.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.starts_with('<') || text.starts_with('{') || text.starts_with('[') {
        return String::new();
    }
    text.to_owned()
}

fn judge(status: u16, code: &str, text: &str) -> Fault {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if status == 429 || code == "TOOMANYREQUESTS" {
        return Fault::RateLimited;
    }
    if says(&["no space left on device", "disk quota exceeded", "insufficient storage"])
        || status == 507
    {
        return Fault::DiskFull;
    }
    if says(&["quota", "storage limit", "limitexceeded", "limit has been exceeded"]) {
        return Fault::Quota;
    }
    if status == 413 {
        return Fault::TooLarge;
    }
    if says(&["tag is immutable", "immutabletag", "immutable tag", "cannot be overwritten"]) {
        return Fault::TagImmutable;
    }
    match (status, code) {
        (401, _) | (_, "UNAUTHORIZED") => Fault::Unauthorized,
        _ if says(&["authorization token has expired"]) => Fault::Unauthorized,
        (_, "NAME_UNKNOWN") => Fault::RepositoryNotFound,
        (404, _) if says(&["repository with name", "repository not found"]) => {
            Fault::RepositoryNotFound
        }
        (_, "BLOB_UPLOAD_UNKNOWN") => Fault::UploadUnknown,
        (403, _) | (_, "DENIED") => Fault::Denied,
        (404, _) => Fault::NotFound,
        (408 | 500..=599, _) => Fault::ServerError,
        _ => Fault::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn errors(code: &str, message: &str) -> String {
        serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string()
    }

    #[test]
    fn each_refusal_has_its_own_fault() {
        for (status, body, fault) in [
            (401, errors("UNAUTHORIZED", "authentication required"), Fault::Unauthorized),
            (
                403,
                errors("DENIED", "Your authorization token has expired. Reauthenticate and try again."),
                Fault::Unauthorized,
            ),
            (
                403,
                errors("DENIED", "User: x is not authorized to perform: ecr:InitiateLayerUpload on resource: y"),
                Fault::Denied,
            ),
            (
                404,
                errors("NAME_UNKNOWN", "The repository with name 'x' does not exist in the registry with id '1'"),
                Fault::RepositoryNotFound,
            ),
            (404, errors("MANIFEST_UNKNOWN", "manifest unknown"), Fault::NotFound),
            (404, errors("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"), Fault::UploadUnknown),
            (
                400,
                errors("TAG_INVALID", "The image tag 'x' already exists in the 'y' repository and cannot be overwritten because the tag is immutable."),
                Fault::TagImmutable,
            ),
            (
                412,
                errors("DENIED", "adding 3.1 MiB of storage resource, which when updated to current usage of 9.9 MiB will exceed the configured upper limit: quota exceeded"),
                Fault::Quota,
            ),
            (429, String::new(), Fault::RateLimited),
            (400, errors("TOOMANYREQUESTS", "Rate exceeded"), Fault::RateLimited),
            (413, "<html>413 Request Entity Too Large</html>".to_owned(), Fault::TooLarge),
            (
                500,
                r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"write","Path":"/x","Err":28},"text":"write /x: no space left on device"}}]}"#.to_owned(),
                Fault::DiskFull,
            ),
            (503, "upstream gone".to_owned(), Fault::ServerError),
            (400, errors("MANIFEST_INVALID", "manifest invalid"), Fault::Rejected),
        ] {
            assert_eq!(read(status, body.as_bytes()).0, fault, "{status} {body}");
        }
    }

    #[test]
    fn the_registrys_words_are_passed_on() {
        assert_eq!(read(403, errors("DENIED", "no").as_bytes()).1, "no");
        assert_eq!(read(502, b"<html>Bad Gateway</html>").1, "status 502");
        assert_eq!(read(500, b"upstream gone\n").1, "upstream gone");
        let detailed = br#"{"errors":[{"code":"X","message":"denied","detail":"by policy 7"}]}"#;
        assert_eq!(read(403, detailed).1, "denied: by policy 7");
    }

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        for fault in [Fault::Quota, Fault::TooLarge, Fault::DiskFull, Fault::Denied] {
            assert!(!fault.transient(), "{fault:?}");
        }
        assert!(Fault::ServerError.transient() && Fault::RateLimited.transient());
    }

    proptest! {
        #[test]
        fn no_body_is_too_strange(status in 300u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!read(status, &body).1.is_empty());
        }
    }
}
