use super::*;

use std::fs;

use proptest::prelude::*;
use serde_json::json;

fn directory(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

/// What an engine keeps of an archive with these files, and the archive.
fn split(files: &[(String, Vec<u8>)], into: &Path) -> (String, Vec<u8>) {
    let mut builder = tar::Builder::new(Vec::new());
    let (mut list, mut done) = (String::new(), 0);
    let bytes = |bytes: &[u8]| json!({"type": 2, "payload": STANDARD.encode(bytes)});
    for (name, data) in files {
        fs::write(into.join(name), data).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, data.as_slice()).unwrap();
        let whole = builder.get_ref();
        let padding = (512 - data.len() % 512) % 512;
        let begin = whole.len() - data.len() - padding;
        let file = json!({"type": 1, "name": name, "size": data.len(), "payload": "AAAAAAAAAAA="});
        list += &format!("{}\n{file}\n", bytes(&whole[done..begin]));
        done = begin + data.len();
    }
    let whole = builder.into_inner().unwrap();
    list += &format!("{}\n", bytes(&whole[done..]));
    (list, whole)
}

fn together(list: &str, files: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    assemble(list.as_bytes(), files, |block| {
        assert!(!block.is_empty());
        whole.extend_from_slice(&block);
        true
    })?;
    Ok(whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn an_archive_is_what_it_was(sizes in proptest::collection::vec(0usize..3 * BLOCK, 0..4), small in proptest::collection::vec(0usize..1030, 0..20)) {
        let place = tempfile::tempdir().unwrap();
        let files: Vec<_> = sizes.iter().chain(&small).enumerate().map(|(n, size)| {
            (format!("f{n}"), (0..*size).map(|at| (at % 251) as u8).collect::<Vec<_>>())
        }).collect();
        let (list, whole) = split(&files, place.path());
        prop_assert_eq!(together(&list, &directory(place.path())).unwrap(), whole);
    }
}

#[test]
fn paths_that_are_no_text_are_found() {
    let place = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(place.path().join(name), "au lait").unwrap();
    let line = json!({"type": 1, "name_raw": STANDARD.encode(b"caf\xe9"), "size": 7}).to_string();
    assert_eq!(together(&line, &directory(place.path())).unwrap(), b"au lait");
}

#[test]
fn links_lead_nowhere_outside() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("diff/etc")).unwrap();
    fs::write(place.path().join("secret"), "outside").unwrap();
    fs::write(place.path().join("diff/secret"), "inside!").unwrap();
    std::os::unix::fs::symlink("/", place.path().join("diff/up")).unwrap();
    std::os::unix::fs::symlink("/secret", place.path().join("diff/link")).unwrap();
    let files = directory(&place.path().join("diff"));
    let of =
        |name: &str| together(&json!({"type": 1, "name": name, "size": 7}).to_string(), &files);
    for name in ["up/secret", "../secret", "/secret"] {
        assert_eq!(of(name).unwrap(), b"inside!", "{name}");
    }
    assert!(of("link").is_err());
    assert!(of("etc").is_err(), "a directory is no file");
}

#[test]
fn what_is_not_of_that_form_is_told() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("short"), "abc").unwrap();
    let files = directory(place.path());
    let error = |list: &str| together(list, &files).unwrap_err().to_string();
    assert!(error(r#"{"type":1,"name":"none","size":3}"#).starts_with("none: "));
    assert!(error(r#"{"type":1,"name":"short","size":4}"#).starts_with("short: "));
    assert!(error(r#"{"type":3}"#).contains("unknown kind"));
    assert!(!error(r#"{"type":2,"payload":"%"}"#).is_empty());
    assert!(!error("no json").is_empty());
}

#[test]
fn nothing_more_is_read_once_nobody_takes_it() {
    let place = tempfile::tempdir().unwrap();
    let data = vec![1; 2 * BLOCK];
    let (list, _) = split(&[("a".into(), data)], place.path());
    let mut blocks = 0;
    let list = list + r#"{"type":1,"name":"none","size":3}"#;
    assemble(list.as_bytes(), &directory(place.path()), |_| {
        blocks += 1;
        false
    })
    .unwrap();
    assert_eq!(blocks, 1);
}
