//! Which release it is that answers.

use http::HeaderName;
use serde_json::Value;

use crate::json::cut;
use crate::{Answer, Pointer};

/// Where an answer tells its version: at a place of a JSON body, or else in a header.
#[derive(Clone, Debug)]
pub struct VersionSource {
    /// The place in a JSON body: `/version` by default.
    pub pointer: Pointer,
    /// The header: `x-app-version` by default.
    pub header: HeaderName,
}

impl Default for VersionSource {
    fn default() -> Self {
        Self { pointer: Pointer::version(), header: HeaderName::from_static("x-app-version") }
    }
}

impl VersionSource {
    /// The version that the answer tells, if it tells one. It is told by a string only: a number
    /// is more likely the version of a format.
    #[must_use]
    pub fn told(&self, answer: &Answer) -> Option<String> {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let in_body = body.as_ref().and_then(|body| self.pointer.find(body)?.as_str());
        let in_header = || answer.headers.get(&self.header)?.to_str().ok();
        in_body.or_else(in_header).filter(|version| !version.is_empty()).map(str::to_owned)
    }
}

/// That the release which was deployed is the one that answers. The default proves nothing and
/// accepts every version.
#[derive(Clone, Debug, Default)]
pub struct VersionProof {
    /// Where the answer tells its version.
    pub source: VersionSource,
    /// The names of the release: its tag, its commit, its digest. Each proves it. Without any
    /// there is nothing to prove.
    pub expected: Vec<String>,
    /// Whether an answer that tells no version is refused.
    pub required: bool,
}

impl VersionProof {
    /// Why the answer does not prove it, if it does not.
    pub(crate) fn judge(&self, answer: &Answer) -> Option<String> {
        let expected = self.expected.first()?;
        match self.source.told(answer) {
            Some(told) if self.expected.contains(&told) => None,
            Some(told) => Some(format!("version {} answers, expected {expected}", cut(&told))),
            None if self.required => {
                Some(format!("the answer tells no version, expected {expected}"))
            }
            None => None,
        }
    }
}
