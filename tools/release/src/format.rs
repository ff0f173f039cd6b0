//! White space of JSON text.
//!
//! The document keeps what it does not know as the text that came in, so that no number or
//! escape is changed on its way through; only the white space between tokens is made uniform.

/// Rewrites the white space of valid JSON: none at all, or an indent of two spaces if `pretty`.
/// Every other character stays as it is.
pub(crate) fn format(json: &str, pretty: bool) -> String {
    let mut out = String::with_capacity(json.len());
    let mut depth = 0_usize;
    let mut chars = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        if pretty {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                out.push(c);
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(if pretty { ": " } else { ":" }),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_white_space_between_tokens_changes() {
        let text = "{ \"a\" : [ 1.50e+1 ,\n\t{ } , [ ] ],\"b\\\" :\": \" { , \" }";
        assert_eq!(format(text, false), r#"{"a":[1.50e+1,{},[]],"b\" :":" { , "}"#);
    }

    #[test]
    fn pretty_is_the_usual_form() {
        let value = json!({"a": [1, {"b": []}], "c": {}, "d": "x: [y], {z}"});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(format(&value.to_string(), true), pretty);
    }

    proptest::proptest! {
        #[test]
        fn the_value_stays(text in "[ -~]{0,40}", number in proptest::num::f64::NORMAL, pretty: bool) {
            let value = json!({ &text: [number, { "deep": [text] }] });
            let back: Value = serde_json::from_str(&format(&value.to_string(), pretty)).unwrap();
            proptest::prop_assert_eq!(back, value);
        }
    }
}
