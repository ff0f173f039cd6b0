//! Referrers: manifests that say of another one that they belong to it (OCI distribution
//! specification 1.1, "Listing Referrers").
//!
//! A registry that knows them answers a manifest's put with `OCI-Subject` and lists them itself.
//! For one that does not, the specification has clients keep the list: an index under the tag
//! `sha256-<hex>`. A registry has no way to put a tag only if nobody else has put it meanwhile, so
//! the list is read again after each put, and put again until all that was ever seen is in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderName, LINK};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Error;
use crate::repository::{MediaType, Repository};
use crate::transport::{Call, query};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The list is put so often at most, while others put theirs.
const PUTS: u32 = 8;

/// No list is read beyond so many pages.
const PAGES: u32 = 100;

/// What an index or a manifest tells of a blob or a manifest (OCI image specification, descriptor).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: String,
    /// The size in bytes.
    pub size: u64,
    /// What it is, of an artifact's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What its manifest is annotated with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, in base64, where it is tiny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// Of content that is neither artifact nor annotated.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: impl Into<String>, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest: digest.into(),
            size,
            artifact_type: None,
            annotations: BTreeMap::new(),
            data: None,
        }
    }
}

impl Repository {
    /// The referrers of this type that the manifest has, as far as the registry lists them, or the
    /// clients in its place.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`]; [`Error::NoList`].
    pub async fn referrers(
        &self,
        subject: &str,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, Error> {
        let listed = match self.listed(subject, artifact_type).await? {
            Some(listed) => listed,
            None => List::read(self, subject).await?.entries,
        };
        // A registry need not filter; entries that are not of the form are nobody's to judge here.
        let listed = listed.into_iter().filter_map(|entry| serde_json::from_value(entry).ok());
        Ok(listed
            .filter(|entry: &Descriptor| entry.artifact_type.as_deref() == Some(artifact_type))
            .collect())
    }

    /// What the registry itself lists; none if it does not know of referrers.
    async fn listed(
        &self,
        subject: &str,
        artifact_type: &str,
    ) -> Result<Option<Vec<Value>>, Error> {
        let query = query([("artifactType", artifact_type)]);
        let mut path = format!("/v2/{}/referrers/{subject}?{query}", self.name());
        let mut entries = Vec::new();
        for _ in 0..PAGES {
            let call = Call::new(Method::GET, path).header(ACCEPT, MediaType::OCI_INDEX)?;
            let answer = self.call(&call).await?;
            // The specification has 404; the others are how older ones say that there is no such way.
            if matches!(
                answer.status,
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST
            ) {
                return Ok(None);
            }
            let answer = answer.good(&self.registry(), "to list referrers")?;
            let list = List::parse(&answer.body).ok_or_else(|| Error::Protocol {
                what: format!("the referrers of {subject} are no index"),
            })?;
            entries.extend(list.entries);
            let next = answer.header(LINK).and_then(next);
            let next = next.and_then(|next| self.origin().follow(next));
            match next {
                Some((origin, next)) if origin == *self.origin() => path = next,
                _ => break,
            }
        }
        Ok(Some(entries))
    }

    /// Puts a manifest that has a subject under its digest; answers whether the registry lists it by
    /// itself. If not, [`Self::list_referrers`] is the client's to call.
    ///
    /// # Errors
    /// As [`Self::put_manifest`].
    pub async fn put_referrer(&self, digest: &str, body: Bytes) -> Result<bool, Error> {
        let answer = self.put(digest, MediaType::OCI_MANIFEST, body).await?;
        Ok(answer.header(SUBJECT).is_some())
    }

    /// Lists these referrers where the registry does not do so. What others have listed stays.
    ///
    /// # Errors
    /// As [`Self::put_manifest`]; [`Error::NoList`] when the tag is something else's;
    /// [`Error::ListContended`] when others put it again and again.
    pub async fn list_referrers(&self, subject: &str, ours: &[Descriptor]) -> Result<(), Error> {
        let ours = ours.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        let mut all = ours.map_err(|error| Error::Protocol { what: error.to_string() })?;
        let tag = tag(subject);
        for _ in 0..PUTS {
            let mut list = List::read(self, subject).await?;
            if !list.add(&all) {
                return Ok(());
            }
            all.clone_from(&list.entries);
            self.put_manifest(&tag, MediaType::OCI_INDEX, list.body()).await?;
        }
        let mut list = List::read(self, subject).await?;
        if list.add(&all) { Err(Error::ListContended { tag }) } else { Ok(()) }
    }
}

/// The tag of the list of a manifest's referrers ("Referrers Tag Schema").
fn tag(subject: &str) -> String {
    subject.replacen(':', "-", 1)
}

/// The address of the next page, of a `Link` header (RFC 8288).
fn next(link: &str) -> Option<&str> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let rest = rest.replace('"', "").to_ascii_lowercase();
    rest.split(';').any(|parameter| parameter.trim() == "rel=next").then_some(address)
}

/// An index whose every field and entry is kept as it is.
#[derive(Clone, Debug)]
struct List {
    index: serde_json::Map<String, Value>,
    entries: Vec<Value>,
}

impl List {
    async fn read(repository: &Repository, subject: &str) -> Result<Self, Error> {
        let tag = tag(subject);
        match repository.manifest(&tag).await? {
            None => Ok(Self::empty()),
            Some(found) => Self::parse(&found.body).ok_or(Error::NoList { tag }),
        }
    }

    fn empty() -> Self {
        let mut index = serde_json::Map::new();
        index.insert("schemaVersion".to_owned(), json!(2));
        index.insert("mediaType".to_owned(), json!(MediaType::OCI_INDEX));
        Self { index, entries: Vec::new() }
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let mut index: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
        match index.get("mediaType").map(Value::as_str) {
            // The field may be left out.
            None | Some(Some(MediaType::OCI_INDEX)) => {}
            Some(_) => return None,
        }
        let Some(Value::Array(entries)) = index.remove("manifests") else { return None };
        Some(Self { index, entries })
    }

    /// Adds those that are missing, told by their digests; answers whether any was.
    fn add(&mut self, entries: &[Value]) -> bool {
        let before = self.entries.len();
        for entry in entries {
            if !self.entries.iter().any(|one| one.get("digest") == entry.get("digest")) {
                self.entries.push(entry.clone());
            }
        }
        self.entries.len() > before
    }

    fn body(&self) -> Bytes {
        let mut index = self.index.clone();
        index.insert("manifests".to_owned(), Value::Array(self.entries.clone()));
        Value::Object(index).to_string().into()
    }
}

#[cfg(test)]
mod tests;
