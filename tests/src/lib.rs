//! What the tests over the built tools share: the binaries, the lab, the pipe.
//!
//! The binaries are those that `tests/run.sh` has just built, in `SLIPWAY_BIN_DIR`; the lab is the
//! one that it has started, whose addresses it exports. Without them a test fails and says so.

pub mod fuzz;
pub mod lab;
pub mod load;
pub mod podman;
pub mod process;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The five tools, in the order of the pipe.
pub const TOOLS: [&str; 5] = ["imgbuild", "ecrlogin", "imgpush", "remote-swap", "healthwait"];

/// A variable that `tests/run.sh` sets.
///
/// # Panics
/// When it is not set, saying what to run.
#[must_use]
pub fn from_run_sh(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `sh tests/run.sh`"))
}

/// The path of a built tool.
#[must_use]
pub fn binary(tool: &str) -> PathBuf {
    let path = PathBuf::from(from_run_sh("SLIPWAY_BIN_DIR")).join(tool);
    assert!(path.is_file(), "{} is not built: run `sh tests/run.sh`", path.display());
    path
}

/// A tool with nothing of this machine in its environment but the search path.
#[must_use]
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// The top directory of the project.
#[must_use]
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The JSON Schema of the whole contract, made from the types of all tools.
#[must_use]
pub fn schema() -> Value {
    slipway_release::schema(&[
        slipway_shell::settings_schema::<imgbuild::ImgBuild>(),
        slipway_shell::settings_schema::<ecrlogin::EcrLogin>(),
        slipway_shell::settings_schema::<imgpush::ImgPush>(),
        slipway_shell::settings_schema::<remote_swap::RemoteSwap>(),
        slipway_shell::settings_schema::<healthwait::HealthWait>(),
    ])
}

/// Reads what a tool printed: one JSON object and a newline that fits the schema.
///
/// # Panics
/// When it is anything else.
#[must_use]
pub fn document(stdout: &[u8]) -> Value {
    let text = std::str::from_utf8(stdout).expect("stdout is UTF-8");
    assert!(text.ends_with('\n') && !text.trim_end().contains('\n'), "not one line: {text:?}");
    let document: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_valid(&document);
    document
}

/// Checks a document against the schema.
///
/// # Panics
/// When it does not fit, saying where.
pub fn assert_valid(document: &Value) {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is valid");
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\nin {document:#}");
}
