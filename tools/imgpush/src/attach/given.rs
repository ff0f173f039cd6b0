//! What the options say of a file. Pure.

/// The top-level media types (RFC 6838, RFC 8081, RFC 9695): so that a path with `=` and `/` in it is
/// not taken for a media type.
const TOP: [&str; 10] = [
    "application",
    "audio",
    "example",
    "font",
    "haptics",
    "image",
    "message",
    "model",
    "multipart",
    "text",
];

/// A file that is to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) path: String,
    /// The media type that was given with it.
    pub(crate) media_type: Option<String>,
    /// Whether it has to be a bill of materials.
    pub(crate) sbom: bool,
}

/// The files of both options, without doubles and in their order.
pub(crate) fn given(sboms: &[String], others: &[String]) -> Vec<Given> {
    let sboms = sboms.iter().map(|path| Given { path: path.clone(), media_type: None, sbom: true });
    let mut all: Vec<Given> = Vec::new();
    for one in sboms.chain(others.iter().map(|text| attached(text))) {
        if !all.iter().any(|other| (&other.path, &other.media_type) == (&one.path, &one.media_type))
        {
            all.push(one);
        }
    }
    all
}

/// Reads `FILE[=MEDIATYPE]`.
fn attached(text: &str) -> Given {
    let (path, media_type) = match text.rsplit_once('=') {
        Some((path, kind)) if !path.is_empty() && is_media_type(kind) => {
            (path, Some(kind.to_owned()))
        }
        _ => (text, None),
    };
    Given { path: path.to_owned(), media_type, sbom: false }
}

/// `type/subtype` as RFC 6838, section 4.2, has it.
fn is_media_type(text: &str) -> bool {
    let Some((top, sub)) = text.split_once('/') else { return false };
    TOP.contains(&top)
        && sub.len() <= 127
        && sub.starts_with(|first: char| first.is_ascii_alphanumeric())
        && sub.chars().all(|one| one.is_ascii_alphanumeric() || "!#$&-^_.+".contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (String, Option<String>) {
        let given = attached(text);
        (given.path, given.media_type)
    }

    #[test]
    fn a_media_type_may_follow() {
        let kind = "application/vnd.example.report+json";
        assert_eq!(read(&format!("a.json={kind}")), ("a.json".into(), Some(kind.into())));
        for path in ["a.json", "a=b", "build=1/a.json", "=text/plain", "a=text/", "a=text/a b"] {
            assert_eq!(read(path), (path.into(), None));
        }
        assert_eq!(read("a=b=text/plain"), ("a=b".into(), Some("text/plain".into())));
    }

    #[test]
    fn a_file_is_attached_once() {
        let text = |text: &str| vec![text.to_owned(), text.to_owned()];
        let all = given(&text("a"), &[text("a"), text("b"), text("b=text/plain")].concat());
        assert_eq!(all.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["a", "b", "b"]);
        assert!(all[0].sbom && !all[1].sbom);
    }

    proptest! {
        #[test]
        fn any_path_may_have_a_media_type(path in ".+", sub in "[a-z][a-z0-9.+-]{0,20}") {
            let kind = format!("application/{sub}");
            prop_assert_eq!(read(&format!("{path}={kind}")), (path, Some(kind)));
        }
    }
}
