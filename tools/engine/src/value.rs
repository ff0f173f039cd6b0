//! Reading JSON of an engine into types. A few bytes of JSON may become a large value in memory
//! (`{}` in a list of containers is hundreds of bytes), so values are counted before they are made.

use serde::de::DeserializeOwned;
use slipway_untrusted::clean_line;

use crate::error::Error;

/// Values in a list whose elements are small types of ours: some thousand containers or images.
pub(crate) const LIST: usize = 1 << 18;

/// Values in an answer about one thing, in a type that holds all of it.
pub(crate) const ONE: usize = 1 << 15;

/// Reads one value of at most so many values in all.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8], most: usize) -> Result<T, Error> {
    if count(text) > most {
        return Err(Error::Protocol { what: format!("more than {most} values in one answer") });
    }
    serde_json::from_slice(text)
        .map_err(|error| Error::Protocol { what: clean_line(&error.to_string()).into_owned() })
}

/// At least as many as there are values: each but the first of a list or an object follows a comma.
fn count(text: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn values(value: &Value) -> usize {
        1 + match value {
            Value::Array(all) => all.iter().map(values).sum(),
            Value::Object(all) => all.values().map(values).sum(),
            _ => 0,
        }
    }

    #[test]
    fn a_short_text_of_many_values_is_refused() {
        let text = format!("[{}{{}}]", "{},".repeat(ONE));
        assert!(read::<Value>(text.as_bytes(), ONE).is_err());
        assert!(read::<Value>(br#"{"a":",[{,[{\",[{"}"#, 3).is_ok());
        let error = read::<u8>(b"\"\x1b[31m\"", 9).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    proptest! {
        #[test]
        fn no_value_is_missed(text in r#"(\[|\]|\{|\}|,|:|"|\\|1|"a"|"b":|null){0,30}"#) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                prop_assert!(count(text.as_bytes()) >= values(&value), "{}", text);
            }
        }
    }
}
