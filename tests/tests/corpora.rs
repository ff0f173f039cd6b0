//! The fuzzer's corpora as ordinary tests: what once broke a parser does not do so again.

use std::fs;

use slipway_tests::fuzz::targets;
use slipway_tests::project;

#[test]
fn every_target_takes_every_file_of_its_corpus() {
    let corpora = project().join("tests/fuzz/corpus");
    for (name, target) in targets() {
        let files = fs::read_dir(corpora.join(name));
        let files: Vec<_> = files.unwrap_or_else(|_| panic!("no corpus of {name}")).collect();
        assert!(!files.is_empty(), "no seeds of {name}");
        for file in files {
            let path = file.expect("listed").path();
            println!("{}", path.display());
            target(&fs::read(path).expect("read"));
        }
        target(b"");
    }
}

#[test]
fn every_corpus_has_a_target() {
    for directory in fs::read_dir(project().join("tests/fuzz/corpus")).expect("there") {
        let name = directory.expect("listed").file_name().into_string().expect("plain");
        assert!(slipway_tests::fuzz::target(&name).is_some(), "{name} is fuzzed by nothing");
    }
}
