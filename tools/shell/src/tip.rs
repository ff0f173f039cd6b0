//! What to try instead of a wrong command line.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// A hint on one line, if there is something better to say than where the help is.
pub(crate) fn tip(error: &Error, command: &Command, args: &[OsString]) -> Option<String> {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let missing: Vec<_> = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        return Some(format!(
            "give {}",
            missing.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    if let Some(option) = meant_for(error, command, args) {
        return Some(format!("the value of {option} is written with an equals sign: {option}=…"));
    }
    let tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    // What is behind `--` may be a command that is run: nobody who misspelt an option means that.
    if let Some(tip) = tips.into_iter().find(|tip| !tip.contains("'-- ")) {
        return Some(tip.to_owned());
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            Some(format!("it takes {}", values.join(", ")))
        }
        _ => None,
    }
}

/// The option before the value that has no place: one whose value may be left out, so that it takes
/// one with an equals sign only.
fn meant_for(error: &Error, command: &Command, args: &[OsString]) -> Option<String> {
    let kind = match error.kind() {
        ErrorKind::InvalidValue => ContextKind::InvalidValue,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return None,
    };
    let Some(ContextValue::String(value)) = error.get(kind) else { return None };
    let position = args.iter().position(|arg| arg == value.as_str())?;
    let before = args.get(position.checked_sub(1)?)?.to_str()?;
    let long = before.strip_prefix("--")?;
    let option = command.get_arguments().find(|arg| arg.get_long() == Some(long))?;
    let switch = option.get_value_parser().possible_values().is_some();
    let fits = !switch || matches!(value.as_str(), "true" | "false");
    (option.is_require_equals_set() && fits).then(|| before.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::CommandLine;
    use clap::Args;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    #[derive(Args, Serialize, Deserialize, JsonSchema)]
    struct Options {
        #[arg(value_parser = ["go", "stop"], default_value = "go")]
        action: String,
        #[arg(long)]
        pull: bool,
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "x")]
        place: Option<String>,
        #[arg(long)]
        tag: Option<String>,
    }

    fn said(args: &[&str]) -> Option<String> {
        let args: Vec<_> = std::iter::once(&"demo").chain(args).map(OsString::from).collect();
        let error = CommandLine::<Options>::parse("demo", "1", args.iter().cloned()).err().unwrap();
        tip(&error, &crate::options::command::<Options>("demo", "1"), &args)
    }

    #[test]
    fn a_value_without_its_equals_sign_is_told() {
        assert!(said(&["--place", "/tmp/x"]).unwrap().ends_with("--place=…"));
        assert!(said(&["--pull", "false"]).unwrap().ends_with("--pull=…"));
        assert_eq!(said(&["--pull", "walk"]).unwrap(), "it takes go, stop");
        assert_eq!(said(&["--tag", "a", "walk"]).unwrap(), "it takes go, stop");
    }

    #[test]
    fn what_was_meant_is_suggested() {
        assert!(said(&["sto"]).unwrap().contains("'stop'"));
        assert!(said(&["--pul"]).unwrap().contains("'--pull'"));
        assert_eq!(said(&["--tag"]), None);
    }
}
