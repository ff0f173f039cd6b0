//! A tool's options from the command line, the environment and the document.
//!
//! One struct a tool serves clap, serde and the schema. A flag goes before the environment, that
//! before the document's settings, and those before the default.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use slipway_release::{Code, Document, Failure};

// No doc comment: clap would take it for the text at the head of --help.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Common {
    /// Do not read a document from stdin
    #[arg(long, help_heading = "Document")]
    pub(crate) no_input: bool,
    /// Write secrets even if stdout is not a pipe
    #[arg(long, help_heading = "Document")]
    pub(crate) reveal: bool,
    /// Print the JSON Schema of the document and exit
    #[arg(long, help_heading = "Document")]
    pub(crate) schema: bool,
}

/// The command line as it was read; [`CommandLine::options`] joins it with the document.
pub(crate) struct CommandLine<O> {
    tool: &'static str,
    given: O,
    matches: ArgMatches,
    pub(crate) common: Common,
}

/// The clap command of a tool. Each long option of the tool can also be given in the environment,
/// as `TOOL_OPTION`; each switch also takes `=true` and `=false`, so that a flag can overrule a
/// setting either way.
pub(crate) fn command<O: Args>(tool: &'static str, version: &'static str) -> Command {
    let prefix = tool.replace('-', "_").to_uppercase();
    let command = O::augment_args(Command::new(tool).version(version)).mut_args(|arg| {
        let arg = both_ways(arg);
        match arg.get_long() {
            Some(long) => {
                let name = format!("{prefix}_{}", long.replace('-', "_").to_uppercase());
                arg.env(name).hide_env(true)
            }
            None => arg,
        }
    });
    Common::augment_args(command).after_help(format!(
        "Every option can also be set in the environment ({prefix}_OPTION) and in the document \
         (settings.{tool}); a flag goes before the environment, that before the document."
    ))
}

fn both_ways(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_parser(clap::value_parser!(bool))
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
}

impl<O: Args + Serialize + DeserializeOwned> CommandLine<O> {
    /// Reads the command line; the first argument is the program's name.
    pub(crate) fn parse(
        tool: &'static str,
        version: &'static str,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let matches = command::<O>(tool, version).try_get_matches_from(args)?;
        let given = O::from_arg_matches(&matches)?;
        let common = Common::from_arg_matches(&matches)?;
        Ok(Self { tool, given, matches, common })
    }

    /// What flags and environment say, without the document.
    pub(crate) fn given(&self) -> &O {
        &self.given
    }

    /// What flags and environment say, where there is no document.
    pub(crate) fn into_given(self) -> O {
        self.given
    }

    /// The options, with the document's settings where neither flag nor environment said anything.
    pub(crate) fn options(self, document: &Document) -> Result<O, Failure> {
        let settings = document.settings(self.tool)?;
        if settings.is_empty() {
            return Ok(self.given);
        }
        let Ok(Value::Object(mut merged)) = serde_json::to_value(&self.given) else {
            return Err(Failure::new(Code::Internal, "the options cannot be serialized"));
        };
        for (key, value) in settings {
            if !merged.contains_key(&key) {
                return Err(unknown(self.tool, &key, &merged));
            }
            let source = self.matches.value_source(&key);
            if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
                merged.insert(key, value);
            }
        }
        serde_path_to_error::deserialize(Value::Object(merged)).map_err(|error| {
            let path = error.path().to_string();
            Failure::new(
                Code::BadSetting,
                format!("settings.{}.{path} in the document: {}", self.tool, error.inner()),
            )
            .hint(format!("{} --schema shows the type of every setting", self.tool))
        })
    }
}

fn unknown(tool: &str, key: &str, known: &Map<String, Value>) -> Failure {
    let name = key.replace('-', "_");
    let failure = Failure::new(
        Code::UnknownSetting,
        format!("settings.{tool}.{key} in the document is not an option of {tool}"),
    );
    if known.contains_key(&name) {
        return failure.hint(format!("write it {name}"));
    }
    let names: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    failure.hint(format!("it knows {}", names.into_iter().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Args, Serialize, Deserialize, Debug, PartialEq)]
    struct Options {
        #[arg(default_value = ".")]
        context: String,
        #[arg(long)]
        pull: bool,
        #[arg(long = "tag")]
        tag: Vec<String>,
        #[arg(long, default_value_t = 3)]
        tries: u32,
    }

    fn options(args: &[&str], settings: &str) -> Result<Options, Failure> {
        let args = std::iter::once(&"demo").chain(args).map(OsString::from);
        let text = format!(r#"{{"schema":"slipway.release/v1","settings":{{"demo":{settings}}}}}"#);
        CommandLine::parse("demo", "1", args)
            .unwrap()
            .options(&Document::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_flag_goes_before_the_document_and_that_before_the_default() {
        let settings = r#"{"pull":true,"tag":["a"],"context":"app"}"#;
        let merged = options(&[], settings).unwrap();
        assert_eq!(
            merged,
            Options { context: "app".into(), pull: true, tag: vec!["a".into()], tries: 3 }
        );
        let merged = options(&["web", "--pull=false", "--tag=b", "--tries=1"], settings).unwrap();
        assert_eq!(
            merged,
            Options { context: "web".into(), pull: false, tag: vec!["b".into()], tries: 1 }
        );
    }

    #[test]
    fn a_flag_that_repeats_the_default_still_goes_first() {
        assert_eq!(options(&["--tries", "3"], r#"{"tries":9}"#).unwrap().tries, 3);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let failure = options(&[], r#"{"tagg":["a"]}"#).unwrap_err();
        assert_eq!(failure.code, Code::UnknownSetting);
        assert!(failure.message.contains("settings.demo.tagg"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("tries"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let failure = options(&[], r#"{"tag":[1]}"#).unwrap_err();
        assert_eq!(failure.code, Code::BadSetting);
        assert!(failure.message.contains("settings.demo.tag[0]"), "{}", failure.message);
    }
}
