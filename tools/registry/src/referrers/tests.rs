use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

fn entry(n: u8) -> Box<RawValue> {
    raw(
        &json!({"digest": format!("sha256:{n}"), "mediaType": "m", "size": n, "platform": {"os": "x"}}),
    )
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

fn values(entries: &[Box<RawValue>]) -> Vec<Value> {
    entries.iter().map(|entry| value(entry)).collect()
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

fn digests(list: &List) -> BTreeSet<String> {
    list.entries.iter().map(|entry| value(entry)["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_tag_of_the_list() {
    assert_eq!(tag("sha256:ab"), "sha256-ab");
}

#[test]
fn the_next_page_is_that_of_the_link() {
    assert_eq!(next("</v2/x?last=1>; rel=\"next\""), Some("/v2/x?last=1"));
    assert_eq!(next("<https://r.example/y>; a=b; rel=next"), Some("https://r.example/y"));
    assert_eq!(next("</v2/x>; rel=\"prev\""), None);
    assert_eq!(next("nonsense"), None);
}

#[test]
fn what_others_have_written_stays_to_the_field() {
    let text = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [entry(1)],
        "annotations": {"their": "own"},
    });
    let mut list = List::parse(text.to_string().as_bytes()).unwrap();
    assert!(list.add(&[entry(2)]));
    let index: Value = serde_json::from_slice(&list.body()).unwrap();
    assert_eq!(index["manifests"], json!([entry(1), entry(2)]));
    assert_eq!(index["annotations"], text["annotations"]);
}

#[test]
fn a_list_has_as_many_entries_as_people_make() {
    let list = |entries: usize, fields: usize| {
        let fields: String = (0..fields).map(|n| format!("\"f{n}\":0,")).collect();
        let entries = vec!["0"; entries].join(",");
        List::parse(format!("{{{fields}\"manifests\":[{entries}]}}").as_bytes()).is_some()
    };
    assert!(list(ENTRIES, FIELDS) && !list(ENTRIES + 1, 0) && !list(0, FIELDS + 1));
}

#[test]
fn what_is_no_list_is_left_alone() {
    let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST});
    for body in ["", "[]", "{}", &manifest.to_string()] {
        assert!(List::parse(body.as_bytes()).is_none(), "{body}");
    }
}

proptest! {
    #[test]
    fn adding_loses_nothing_and_is_done_once(
        theirs in proptest::collection::vec(any::<u8>(), 0..9),
        ours in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let entries = |numbers: &[u8]| numbers.iter().map(|n| entry(*n)).collect::<Vec<_>>();
        let mut list = List::empty();
        list.add(&entries(&theirs));
        let before = list.entries.clone();
        list.add(&entries(&ours));
        prop_assert!(values(&list.entries).starts_with(&values(&before)));
        let all: BTreeSet<String> =
            theirs.iter().chain(&ours).map(|n| format!("sha256:{n}")).collect();
        prop_assert_eq!(digests(&list), all);
        prop_assert!(!list.add(&entries(&ours)) && !list.add(&entries(&theirs)));
        let again = List::parse(&list.body()).unwrap();
        prop_assert_eq!(values(&again.entries), values(&list.entries));
    }
}
