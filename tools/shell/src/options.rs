//! A tool's options from the command line, the environment and the document.
//!
//! One struct a tool serves clap, serde and the schema. A flag goes before the environment, that
//! before the document's settings, and those before the default.

mod origins;
mod settings;

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use slipway_release::{Code, Document, Failure};

pub(crate) use origins::{Origins, variable};
pub(crate) use settings::warn_of_strangers;

use crate::TrustFacts;
use crate::trust::{self, Place};

// No doc comment: clap would take it for the text at the head of --help.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Common {
    /// Do not read a document from stdin
    #[arg(long, help_heading = "Document")]
    pub(crate) no_input: bool,
    /// Write secrets even if stdout is not a pipe
    #[arg(long, help_heading = "Document")]
    pub(crate) reveal: bool,
    /// Let the document's settings decide all that a flag may decide
    // One variable for a whole pipeline.
    #[arg(
        long, env = "SLIPWAY_TRUST_SETTINGS", hide_env = true, action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
        value_name = "BOOL", help_heading = "Document"
    )]
    pub(crate) trust_settings: bool,
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

/// Options together with where they came from.
pub(crate) struct Joined<O> {
    pub(crate) options: O,
    pub(crate) origins: Origins,
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

impl<O: Args + Serialize + DeserializeOwned + JsonSchema> CommandLine<O> {
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
    /// `facts` answers what the rule of trust has to know of them; it is told which options the
    /// document decided.
    pub(crate) fn options(
        self,
        document: &Document,
        facts: impl Fn(&O, &dyn Fn(&str) -> bool) -> TrustFacts,
    ) -> Result<Joined<O>, Failure> {
        let mut origins = Origins { tool: self.tool, ..Origins::default() };
        let source = |id: &str| self.matches.value_source(id);
        let of = |wanted| {
            let ids = self.matches.ids().map(|id| id.as_str().to_owned());
            ids.filter(|id| source(id) == Some(wanted)).collect()
        };
        origins.environment = of(ValueSource::EnvVariable);
        origins.flags = of(ValueSource::CommandLine);
        let settings = settings::of(document, self.tool)?;
        if settings.is_empty() {
            return Ok(Joined { options: self.given, origins });
        }
        let Ok(Value::Object(mut merged)) = serde_json::to_value(&self.given) else {
            return Err(Failure::new(Code::Internal, "the options cannot be serialized"));
        };
        let defaults = merged.clone();
        let known = settings::Known::of::<O>();
        for (key, value) in settings {
            if !merged.contains_key(&key) {
                return Err(settings::unknown(self.tool, &key, &merged));
            }
            if !matches!(source(&key), Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
                merged.insert(key.clone(), known.in_form(&key, value));
                origins.document.push(key);
            }
        }
        let options = settings::read::<O>(self.tool, &merged)?;
        if !self.common.trust_settings {
            let from_document = |key: &str| origins.decided(key);
            let facts = || facts(&options, &from_document);
            let place = Place::of_process(&facts)?;
            for key in &origins.document {
                // What says the same as nothing decides nothing.
                if merged.get(key) != defaults.get(key) {
                    self.trusted(key, &merged, &known, &place)?;
                }
            }
        }
        Ok(Joined { options, origins })
    }

    /// Refuses a setting that the document may not decide.
    fn trusted(
        &self,
        key: &str,
        merged: &Map<String, Value>,
        known: &settings::Known,
        place: &Place<'_>,
    ) -> Result<(), Failure> {
        let value = merged.get(key).unwrap_or(&Value::Null);
        trust::check(known.mark(key), value, place).map_err(|why| {
            let command = command::<O>(self.tool, "");
            let arg = command.get_arguments().find(|arg| arg.get_id() == key);
            let flag = match arg.and_then(Arg::get_long) {
                Some(long) => format!("--{long} or {}", variable(self.tool, key)),
                None => "it on the command line".to_owned(),
            };
            trust::refusal(self.tool, key, &flag, &why)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Args, Serialize, Deserialize, JsonSchema, Debug, PartialEq)]
    struct Options {
        #[arg(default_value = ".")]
        #[schemars(extend("x-trust" = "path:context"))]
        context: String,
        #[arg(long)]
        #[schemars(extend("x-trust" = "document"))]
        pull: bool,
        #[arg(long = "tag")]
        #[schemars(extend("x-trust" = "document"))]
        tag: Vec<String>,
        #[arg(long, default_value_t = 3)]
        #[schemars(extend("x-trust" = "document"))]
        tries: u32,
        #[arg(long)]
        #[schemars(extend("x-trust" = "command-line"))]
        program: Option<String>,
        #[arg(long)]
        forgotten: Option<String>,
    }

    fn options(args: &[&str], settings: &str) -> Result<Options, Failure> {
        let args = std::iter::once(&"demo").chain(args).map(OsString::from);
        let text = format!(r#"{{"schema":"slipway.release/v1","settings":{{"demo":{settings}}}}}"#);
        let line = CommandLine::<Options>::parse("demo", "1", args).unwrap();
        let joined =
            line.options(&Document::parse(text.as_bytes()).unwrap(), |_, _| TrustFacts::default())?;
        Ok(joined.options)
    }

    fn plain() -> Options {
        let (context, tag) = (".".to_owned(), Vec::new());
        Options { context, pull: false, tag, tries: 3, program: None, forgotten: None }
    }

    #[test]
    fn a_flag_goes_before_the_document_and_that_before_the_default() {
        let settings = r#"{"pull":true,"tag":["a"],"context":"app"}"#;
        let merged = options(&[], settings).unwrap();
        assert_eq!(
            merged,
            Options { context: "app".into(), pull: true, tag: vec!["a".into()], ..plain() }
        );
        let merged = options(&["web", "--pull=false", "--tag=b", "--tries=1"], settings).unwrap();
        assert_eq!(
            merged,
            Options { context: "web".into(), tag: vec!["b".into()], tries: 1, ..plain() }
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
        assert!(failure.hint.unwrap().starts_with("tag is meant, maybe"));
        let failure = options(&[], r#"{"zebra":1}"#).unwrap_err();
        assert!(failure.hint.unwrap().contains("tag, tries"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let failure = options(&[], r#"{"tag":[1]}"#).unwrap_err();
        assert_eq!(failure.code, Code::BadSetting);
        assert!(failure.message.contains("settings.demo.tag[0]"), "{}", failure.message);
    }

    #[test]
    fn the_document_decides_what_it_may_and_nothing_else() {
        let failure = options(&[], r#"{"program":"sh"}"#).unwrap_err();
        assert_eq!((failure.code, failure.exit), (Code::UntrustedSetting, 3));
        assert!(failure.message.contains("settings.demo.program"), "{}", failure.message);
        let hint = failure.hint.unwrap();
        for way in ["--program or DEMO_PROGRAM", "--trust-settings", "SLIPWAY_TRUST_SETTINGS=true"]
        {
            assert!(hint.contains(way), "{hint}");
        }
        let program = options(&["--trust-settings"], r#"{"program":"sh"}"#).unwrap().program;
        assert_eq!(program.as_deref(), Some("sh"));
        let own = options(&["--program", "ls"], r#"{"program":"sh"}"#).unwrap();
        assert_eq!(own.program.as_deref(), Some("ls"), "what does not count is not refused");
        assert_eq!(options(&[], r#"{"program":null}"#).unwrap(), plain());
        let forgotten = options(&[], r#"{"forgotten":"x"}"#).unwrap_err();
        assert_eq!(forgotten.code, Code::UntrustedSetting, "an option without a mark is refused");
        let outside = options(&[], r#"{"context":"/etc"}"#).unwrap_err();
        assert_eq!(outside.code, Code::UntrustedSetting);
        assert!(outside.hint.unwrap().contains("on the command line"));
    }

    #[test]
    fn names_with_hyphens_and_texts_for_lists_are_taken() {
        assert_eq!(options(&[], r#"{"tag":"a"}"#).unwrap().tag, ["a"]);
        let twice =
            r#"{"schema":"slipway.release/v1","settings":{"demo":{"pull":true},"demo":{}}}"#;
        assert!(Document::parse(twice.as_bytes()).is_ok(), "the last one counts");
    }

    #[test]
    fn no_value_is_repeated_in_an_error() {
        for settings in
            [r#"{"tries":"hunter2"}"#, r#"{"tag":{"hunter2":1}}"#, r#"{"pull":"hunter2"}"#]
        {
            let failure = options(&[], settings).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
        let failure = options(&[], r#"{"tries":"hunter2"}"#).unwrap_err();
        assert!(
            failure.message.ends_with("expected a whole number from 0 to 4294967295"),
            "{failure:?}"
        );
    }
}
