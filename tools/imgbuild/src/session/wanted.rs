//! What of a directory the engine asks for.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tonic::metadata::MetadataMap;

use super::filesync::Source;
use crate::context::name::text_of;
use crate::context::{Filter, follow};
use crate::ignore::Matcher;

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The name that the session has for the directory.
    pub(crate) directory: String,
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) follow: Vec<String>,
}

impl Wanted {
    pub(super) fn read(metadata: &MetadataMap) -> Self {
        let values = |key: &str| -> Vec<String> {
            // Values beyond ASCII come in the encoding of a query.
            let encoded = metadata
                .get(format!("{key}-encoded"))
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"));
            metadata
                .get_all(key)
                .iter()
                .map(|value| match encoded {
                    true => decode(&String::from_utf8_lossy(value.as_bytes())),
                    false => text_of(value.as_bytes()).into_owned(),
                })
                .collect()
        };
        Self {
            directory: values("dir-name").pop().unwrap_or_default(),
            include: values("include-patterns"),
            exclude: values("exclude-patterns"),
            follow: values("followpaths"),
        }
    }

    /// The same as a filter of `source`, which is that directory.
    pub(crate) fn filter(&self, source: &Source) -> Result<Filter, impl std::error::Error + use<>> {
        let followed = match (source, self.follow.is_empty()) {
            (_, true) => None,
            (Source::Directory(root), false) => follow(root, &self.follow),
            (Source::Virtual(_), false) => Some(self.follow.clone()),
        };
        let mut include = self.include.clone();
        include.extend(followed.unwrap_or_default());
        let include = if include.is_empty() {
            None
        } else {
            Some(Matcher::new(include.iter().map(String::as_str))?)
        };
        Matcher::new(self.exclude.iter().map(String::as_str))
            .map(|exclude| Filter { include, exclude })
    }
}

/// A value as Go's `url.QueryEscape` wrote it.
fn decode(value: &str) -> String {
    let value = value.replace('+', " ");
    let bytes: Vec<u8> = percent_decode_str(&value).collect();
    text_of(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataValue;

    #[test]
    fn what_is_wanted_is_read_from_metadata() {
        let mut metadata = MetadataMap::new();
        metadata.insert("dir-name", MetadataValue::from_static("context"));
        metadata.append("exclude-patterns", MetadataValue::from_static("*"));
        metadata.append("exclude-patterns", MetadataValue::from_static("%21caf%C3%A9+%26%3D"));
        metadata.append("exclude-patterns", MetadataValue::from_static("caf%E9%2B"));
        metadata.insert("exclude-patterns-encoded", MetadataValue::from_static("1"));
        metadata.append("followpaths", MetadataValue::from_static("a+b"));
        let wanted = Wanted::read(&metadata);
        assert_eq!(wanted.directory, "context");
        assert_eq!(wanted.exclude, ["*", "!café &=", &text_of(b"caf\xe9+")]);
        assert_eq!(wanted.follow, ["a+b"]);
    }
}
