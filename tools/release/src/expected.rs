//! What was expected, in words of people and without the value that was found: it may be a secret in
//! the wrong place.

use std::fmt::Display;

use serde_json::Value;

/// What a value should have been, from serde's message on why it is not.
#[must_use]
pub fn expected(error: &impl Display) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    for (begin, label) in [("missing field `", "it lacks"), ("duplicate field `", "it has twice")] {
        if let Some(field) = text.strip_prefix(begin) {
            return format!("{label} {}", field.trim_end_matches('`'));
        }
    }
    if let Some((_, known)) = text.split_once(", expected ") {
        return format!("expected {}", plain(known));
    }
    text.to_owned()
}

/// serde's and Rust's words in those of JSON's users.
fn plain(known: &str) -> String {
    let whole = |from: &str, to: u64| format!("a whole number from {from} to {to}");
    match known {
        "a string" | "a borrowed string" | "string" | "str" => "a text".to_owned(),
        "a sequence" | "a tuple" => "a list".to_owned(),
        "a map" | "map" => "an object".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" => whole("0", u8::MAX.into()),
        "u16" => whole("0", u16::MAX.into()),
        "u32" => whole("0", u32::MAX.into()),
        "u64" | "usize" => "a whole number from 0 on".to_owned(),
        "a nonzero u16" => whole("1", u16::MAX.into()),
        "a nonzero u32" => whole("1", u32::MAX.into()),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        known if known.starts_with("struct ") || known.starts_with("a struct") => {
            "an object".to_owned()
        }
        known if known.starts_with("a sequence") => "a list".to_owned(),
        known if known.starts_with("variant of enum") || known.starts_with("enum ") => {
            "one of the words that the schema lists".to_owned()
        }
        known => known.replace('`', ""),
    }
}

/// Where a list stands in the place of an object, if it does anywhere: serde takes the former for the
/// latter, field by field. `read` is what was made of `given`, written again.
pub(crate) fn list_for_object(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(given), Value::Array(read)) => {
            given.iter().zip(read).enumerate().find_map(|(index, (given, read))| {
                Some(format!("[{index}]{}", list_for_object(given, read)?))
            })
        }
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(key, given)| {
            Some(format!(".{key}{}", list_for_object(given, read.get(key)?)?))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_value_is_never_told() {
        for (message, told) in [
            ("invalid type: string \"hunter2\", expected struct Registry", "expected an object"),
            (
                "invalid type: integer `87654321`, expected a string at line 1 column 9",
                "expected a text",
            ),
            (
                "invalid value: integer `70000`, expected u16",
                "expected a whole number from 0 to 65535",
            ),
            ("unknown variant `hunter2`, expected one of `a`, `b`", "expected one of a, b"),
            ("unknown variant `hunter2`, expected `a` or `b`", "expected a or b"),
            ("missing field `host`", "it lacks host"),
            ("invalid length 1, expected struct Image with 22 elements", "expected an object"),
            ("\"5\" is not a duration", "\"5\" is not a duration"),
        ] {
            assert_eq!(expected(&message), told);
        }
    }

    #[test]
    fn lists_in_the_place_of_objects_are_found() {
        let read = json!({"a": {"b": [{"c": 1}]}, "d": [1]});
        assert_eq!(list_for_object(&json!([]), &read).as_deref(), Some(""));
        assert_eq!(list_for_object(&json!({"a": [[]]}), &read).as_deref(), Some(".a"));
        assert_eq!(list_for_object(&json!({"a": {"b": [[1]]}}), &read).as_deref(), Some(".a.b[0]"));
        assert_eq!(list_for_object(&read, &read), None);
    }
}
