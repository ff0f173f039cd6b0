//! What a file is, by its content.

use std::io::Read;

use serde::Deserialize;

/// SPDX as JSON (IANA media types registry).
pub(crate) const SPDX: &str = "application/spdx+json";
/// CycloneDX as JSON (IANA media types registry).
pub(crate) const CYCLONE_DX: &str = "application/vnd.cyclonedx+json";
/// An in-toto statement, such as SLSA provenance.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// A statement that is signed, in its envelope (DSSE).
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Anything.
pub(crate) const ANYTHING: &str = "application/octet-stream";

/// The fields that tell; all others are passed over without being held.
#[derive(Deserialize)]
struct Marks {
    #[serde(rename = "spdxVersion")]
    spdx: Option<String>,
    /// SPDX 3 is JSON-LD, which names its vocabulary.
    #[serde(rename = "@context")]
    vocabulary: Option<String>,
    #[serde(rename = "bomFormat")]
    bom: Option<String>,
    #[serde(rename = "_type")]
    kind: Option<String>,
    #[serde(rename = "payloadType")]
    payload: Option<String>,
}

/// The longest text in a document that is looked at, in bytes: the parser holds each one whole.
const TEXT: u64 = 16 * 1024 * 1024;

/// Reads on as long as no text in it is too long.
struct Texts<R> {
    content: R,
    /// Bytes since a quotation mark.
    length: u64,
    last: u8,
}

impl<R: Read> Read for Texts<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.content.read(buffer)?;
        for byte in buffer.iter().take(read) {
            let ends = *byte == b'"' && self.last != b'\\';
            self.length = if ends { 0 } else { self.length + 1 };
            self.last = *byte;
        }
        if self.length > TEXT { Err(std::io::ErrorKind::InvalidData.into()) } else { Ok(read) }
    }
}

/// The media type of a JSON document that is known; none of anything else, nor of one that is cut
/// off.
pub(crate) fn of(content: impl Read) -> Option<&'static str> {
    let marks: Marks = serde_json::from_reader(Texts { content, length: 0, last: 0 }).ok()?;
    let begins = |mark: &Option<String>, with| {
        mark.as_deref().is_some_and(|mark: &str| mark.starts_with(with))
    };
    if begins(&marks.spdx, "SPDX-") || begins(&marks.vocabulary, "https://spdx.org/rdf/") {
        Some(SPDX)
    } else if marks.bom.as_deref() == Some("CycloneDX") {
        Some(CYCLONE_DX)
    } else if begins(&marks.kind, "https://in-toto.io/Statement/") {
        Some(IN_TOTO)
    } else if marks.payload.as_deref() == Some(IN_TOTO) {
        Some(ENVELOPE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told_by_its_content() {
        for (text, kind) in [
            (r#"{"name": "x", "spdxVersion": "SPDX-2.3"}"#, Some(SPDX)),
            (r#"{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}"#, Some(SPDX)),
            (r#"{"bomFormat": "CycloneDX", "components": [{"_type": 1}]}"#, Some(CYCLONE_DX)),
            (r#"{"_type": "https://in-toto.io/Statement/v1", "subject": []}"#, Some(IN_TOTO)),
            (r#"{"payloadType": "application/vnd.in-toto+json", "payload": ""}"#, Some(ENVELOPE)),
            (r#"{"spdxVersion": 2}"#, None),
            (r#"{"spdxVersion": "SPDX-2.3", "files": ["#, None),
            (r#"{"a": 1}"#, None),
            ("[]", None),
            ("", None),
            ("SPDXVersion: SPDX-2.3\n", None),
        ] {
            assert_eq!(of(text.as_bytes()), kind, "{text}");
        }
    }

    #[test]
    fn a_text_without_end_is_not_held() {
        let endless = br#"{"spdxVersion": "#.chain(&b"\""[..]).chain(std::io::repeat(b'x'));
        assert_eq!(of(endless), None);
        let quoted = br#"{"x": ""#.chain(Quotes);
        assert_eq!(of(quoted), None);
    }

    /// `\"` without end.
    struct Quotes;

    impl Read for Quotes {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let even = buffer.len() / 2 * 2;
            buffer[..even].as_chunks_mut::<2>().0.fill(*br#"\""#);
            Ok(even)
        }
    }
}
