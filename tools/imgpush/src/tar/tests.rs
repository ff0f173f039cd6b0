//! Archives that another implementation wrote.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Path, data and whether it is a file, of each entry; the archive cut into pieces of these lengths.
fn read(archive: &[u8], cuts: &[usize]) -> Result<Vec<(String, Vec<u8>, bool)>, TarError> {
    let mut tar = Tar::new();
    let mut found = Vec::new();
    let (mut rest, mut cuts) = (archive, cuts.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        rest = later;
        let mut input = Bytes::copy_from_slice(now);
        while let Some(event) = tar.next(&mut input)? {
            match event {
                Event::Entry { path, file, .. } => found.push((path, Vec::new(), file)),
                Event::Data(data) => found.last_mut().unwrap().1.extend_from_slice(&data),
                Event::End => {}
            }
        }
    }
    assert!(tar.finished());
    Ok(found)
}

fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_pax_header_names_path_and_size_of_the_next_entry_only() {
    let mut builder = tar::Builder::new(Vec::new());
    let path = format!("{}/layer.tar", "d".repeat(300));
    builder.append_pax_extensions([("path", path.as_bytes()), ("size", b"3")]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("short").unwrap();
    header.set_size(3);
    header.set_cksum();
    builder.append(&header, b"abc".as_slice()).unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_link_name("../x").unwrap();
    header.set_cksum();
    builder.append(&header, b"".as_slice()).unwrap();
    let found = read(&builder.into_inner().unwrap(), &[7]).unwrap();
    assert_eq!(found[0], (path, b"abc".to_vec(), true));
    assert_eq!(found[1], ("short".to_owned(), Vec::new(), false));
}

#[test]
fn what_is_broken_is_told() {
    let good = archive(&[("a".to_owned(), b"x".to_vec())]);
    let mut bad = good.clone();
    bad[0] ^= 1;
    assert_eq!(read(&bad, &[512]), Err(TarError("a header's sum is wrong")));
    let mut tar = Tar::new();
    let mut cut = Bytes::copy_from_slice(&good[..512]);
    while tar.next(&mut cut).unwrap().is_some() {}
    assert!(!tar.finished());
}

#[test]
fn large_sizes_are_binary() {
    let mut field = [0; 12];
    field[0] = 0x80;
    field[4..].copy_from_slice(&(9_u64 << 33).to_be_bytes());
    assert_eq!(number(&field), Ok(9 << 33));
    assert_eq!(number(b"0000644 \0\0\0\0"), Ok(0o644));
    assert!(number(b"hello       ").is_err());
    assert!(number(&[0xff; 12]).is_err() && number(&[0xff; 8]).is_err());
}

proptest! {
    #[test]
    fn entries_do_not_depend_on_how_bytes_arrive(
        entries in proptest::collection::vec(("[a-z]{1,150}", proptest::collection::vec(any::<u8>(), 0..1500)), 0..5),
        cuts in proptest::collection::vec(1usize..900, 1..9),
    ) {
        let found = read(&archive(&entries), &cuts).unwrap();
        let wanted: Vec<_> = entries.into_iter().map(|(path, data)| (path, data, true)).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let mut tar = Tar::new();
        let mut input = Bytes::from(bytes);
        while let Ok(Some(_)) = tar.next(&mut input) {}
    }
}
