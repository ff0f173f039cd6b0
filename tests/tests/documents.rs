//! What is checked in beside the code says what the code does: the schema, the table of codes, the
//! sample documents.

use serde_json::Value;
use slipway_release::Code;
use slipway_tests::{assert_valid, project, schema};

fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_checked_in_schema_is_that_of_the_types() {
    let checked_in = read("docs/release.v1.schema.json");
    assert!(
        checked_in == format!("{:#}\n", schema()),
        "docs/release.v1.schema.json is not up to date: `cargo run -q -p slipway-tests --bin schema > docs/release.v1.schema.json`"
    );
}

#[test]
fn the_table_of_codes_is_that_of_the_program() {
    let contract = read("docs/contract.md");
    for code in Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.as_str(), code.exit(), code.meaning());
        assert!(contract.contains(&row), "docs/contract.md has no row\n{row}");
    }
}

#[test]
fn the_page_of_options_is_what_help_says() {
    let page = read("docs/options.md");
    for name in slipway_tests::TOOLS {
        let help = slipway_tests::lab::run(slipway_tests::tool(name).arg("--help"));
        assert!(page.contains(&help), "docs/options.md is not up to date: `just options`");
    }
}

/// The sample documents, in the order of the pipe, with the section that each tool added.
const SAMPLES: [(&str, &str); 5] = [
    ("1-imgbuild.json", "image"),
    ("2-ecrlogin.json", "registry"),
    ("3-imgpush.json", "push"),
    ("4-remote-swap.json", "deploy"),
    ("5-healthwait.json", "health"),
];

#[test]
fn the_samples_fit_the_schema_and_hold_no_secret() {
    let mut before: Option<Value> = None;
    for (file, section) in SAMPLES {
        let text = read(&format!("examples/documents/{file}"));
        let sample: Value = serde_json::from_str(&text).unwrap();
        assert_valid(&sample);
        assert!(sample[section].is_object(), "{file} has no {section}");
        assert!(sample["registry"].get("password").is_none(), "{file}");
        if let Some(before) = before {
            for (key, value) in before.as_object().unwrap() {
                // The registry's section loses its password in what is saved, nothing else.
                assert_eq!(&sample[key], value, "{file} keeps {key}");
            }
        }
        before = Some(sample);
    }
}

#[test]
fn the_sample_settings_are_all_known() {
    assert_valid(&serde_json::from_str(&read("examples/slipway.json")).unwrap());
}
