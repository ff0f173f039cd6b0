//! Referrers: manifests that say of another one that they belong to it (OCI distribution
//! specification 1.1, "Listing Referrers").
//!
//! A registry that knows them answers a manifest's put with `OCI-Subject` and lists them itself.
//! For one that does not, the specification has clients keep the list: an index under the tag
//! `sha256-<hex>`. A registry has no way to put a tag only if nobody else has put it meanwhile, so
//! the list is read again after each put, and put again until all that was ever seen is in it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderName, LINK};
use http::{Method, StatusCode};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::Error;
use crate::repository::{MediaType, Repository};
use crate::transport::{Call, query};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The list is put so often at most, while others put theirs.
const PUTS: u32 = 8;

/// No list is read beyond so many pages.
const PAGES: usize = 100;

/// No list has more entries: what makes more of them is not at work for anybody.
const ENTRIES: usize = 10_000;

/// Nor more fields of its own.
const FIELDS: usize = 64;

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

    fn is(&self, artifact_type: &str) -> bool {
        self.artifact_type.as_deref() == Some(artifact_type)
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
        if let Some(listed) = self.listed(subject, artifact_type).await? {
            return Ok(listed);
        }
        let list = List::read(self, subject).await?;
        Ok(list.descriptors().filter(|it| it.is(artifact_type)).collect())
    }

    /// What the registry itself lists; none if it does not know of referrers.
    async fn listed(
        &self,
        subject: &str,
        artifact_type: &str,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let query = query([("artifactType", artifact_type)]);
        let mut path = format!("/v2/{}/referrers/{subject}?{query}", self.name());
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        while seen.len() < PAGES && seen.insert(path.clone()) {
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
                what: format!("the referrers of {subject} are no index").into(),
            })?;
            // A registry need not filter; entries that are not of the form are nobody's to judge here.
            entries.extend(list.descriptors().filter(|it| it.is(artifact_type)));
            if entries.len() > ENTRIES {
                let what = format!("there are more than {ENTRIES} referrers of {subject}").into();
                return Err(Error::Protocol { what });
            }
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
        let ours = ours.iter().map(to_raw_value).collect::<Result<Vec<_>, _>>();
        let mut all = ours.map_err(|error| Error::Protocol { what: error.to_string().into() })?;
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
        if list.add(&all) { Err(Error::ListContended { tag: tag.into() }) } else { Ok(()) }
    }
}

/// The tag of the list of a manifest's referrers ("Referrers Tag Schema").
fn tag(subject: &str) -> String {
    subject.replacen(':', "-", 1)
}

/// The address of the next page, of a `Link` header (RFC 8288).
pub(crate) fn next(link: &str) -> Option<&str> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let rest = rest.replace('"', "").to_ascii_lowercase();
    rest.split(';').any(|parameter| parameter.trim() == "rel=next").then_some(address)
}

/// An index whose every field and entry is kept as it is.
#[derive(Clone, Debug, Default)]
struct List {
    index: Fields,
    entries: Vec<Box<RawValue>>,
}

/// The fields of an index beside its entries.
type Fields = Vec<(String, Box<RawValue>)>;

/// What tells entries apart.
#[derive(Deserialize)]
struct Digest {
    digest: Option<String>,
}

impl List {
    async fn read(repository: &Repository, subject: &str) -> Result<Self, Error> {
        let tag = tag(subject);
        match repository.manifest(&tag).await? {
            None => Ok(Self::empty()),
            Some(found) => Self::parse(&found.body).ok_or(Error::NoList { tag: tag.into() }),
        }
    }

    fn empty() -> Self {
        let field = |name: &str, value: Value| Some((name.to_owned(), to_raw_value(&value).ok()?));
        let index =
            [field("schemaVersion", json!(2)), field("mediaType", json!(MediaType::OCI_INDEX))];
        Self { index: index.into_iter().flatten().collect(), entries: Vec::new() }
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let list: Self = serde_json::from_slice(body).ok()?;
        let kind = list.index.iter().find(|(name, _)| name == "mediaType");
        // The field may be left out.
        let known = |kind: &RawValue| {
            serde_json::from_str::<String>(kind.get())
                .is_ok_and(|kind| kind == MediaType::OCI_INDEX)
        };
        kind.is_none_or(|(_, kind)| known(kind)).then_some(list)
    }

    /// The entries that have the form of a descriptor.
    fn descriptors(&self) -> impl Iterator<Item = Descriptor> {
        self.entries.iter().filter_map(|entry| serde_json::from_str(entry.get()).ok())
    }

    /// Adds those that are missing, told by their digests; answers whether any was.
    fn add(&mut self, entries: &[Box<RawValue>]) -> bool {
        let digest = |entry: &RawValue| {
            serde_json::from_str::<Digest>(entry.get()).ok().and_then(|entry| entry.digest)
        };
        let mut known: HashSet<_> = self.entries.iter().map(|entry| digest(entry)).collect();
        let before = self.entries.len();
        for entry in entries {
            if known.insert(digest(entry)) {
                self.entries.push(entry.clone());
            }
        }
        self.entries.len() > before
    }

    fn body(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.index {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("manifests", &self.entries)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for List {
    /// Keeps each value as its text, and no more of them than a list of people has: a registry's four
    /// MiB of `[0,0,…` would be a hundred as values.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List, A::Error> {
        let (mut index, mut entries) = (Vec::new(), None);
        while let Some(name) = map.next_key::<String>()? {
            if name == "manifests" {
                entries = Some(map.next_value::<Entries>()?.0);
            } else if index.len() < FIELDS {
                index.push((name, map.next_value()?));
            } else {
                return Err(A::Error::custom("too many fields"));
            }
        }
        let entries = entries.ok_or_else(|| A::Error::missing_field("manifests"))?;
        Ok(List { index, entries })
    }
}

struct Entries(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            if entries.len() == ENTRIES {
                return Err(A::Error::custom("too many entries"));
            }
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

/// What is read of a list is written as it was, and nothing is there twice after it was added.
pub(crate) fn round_trip(body: &[u8]) {
    let Some(mut list) = List::parse(body) else { return };
    assert!(list.entries.len() <= ENTRIES && list.index.len() <= FIELDS);
    let again = List::parse(&list.body());
    assert_eq!(again.map(|again| again.entries.len()), Some(list.entries.len()));
    let entries = list.entries.clone();
    assert!(!list.add(&entries));
}

#[cfg(test)]
mod tests;
