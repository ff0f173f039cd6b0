//! Where the options came from, for errors that name them.

use slipway_release::{Code, Failure};

/// Where the options came from.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// The tool.
    pub(crate) tool: &'static str,
    /// Options of the document's settings.
    pub(crate) document: Vec<String>,
    /// Options of the environment.
    pub(crate) environment: Vec<String>,
    /// Options of the command line.
    pub(crate) flags: Vec<String>,
}

impl Origins {
    /// Whether the document decided this option.
    pub(crate) fn decided(&self, key: &str) -> bool {
        self.document.iter().any(|known| known == key)
    }

    /// A failure that blames a flag which nobody gave blames what was given: the variable, or the
    /// document's setting, which is no wrong command line then.
    pub(crate) fn told(&self, mut failure: Failure) -> Failure {
        if failure.code != Code::Usage {
            return failure;
        }
        let mut blamed = false;
        for key in &self.document {
            let (message, hint) = (&failure.message, failure.hint.as_deref().unwrap_or_default());
            let setting = format!("settings.{}.{key}", self.tool);
            let (message, in_message) = renamed(message, key, &setting);
            let (hint, in_hint) = renamed(hint, key, &setting);
            blamed |= in_message || (in_hint && !failure.message.contains("--"));
            failure.message = message;
            failure.hint = failure.hint.map(|_| hint);
        }
        for key in &self.environment {
            let variable = variable(self.tool, key);
            failure.message = renamed(&failure.message, key, &variable).0;
        }
        if blamed {
            failure.exit = Code::BadSetting.exit();
            failure.code = Code::BadSetting;
        }
        failure
    }
}

/// The variable of an option.
pub(crate) fn variable(tool: &str, key: &str) -> String {
    format!("{tool}_{key}").replace('-', "_").to_uppercase()
}

/// The text with another name in the place of the flag, and whether it was in there.
fn renamed(text: &str, key: &str, name: &str) -> (String, bool) {
    let flag = format!("--{}", key.replace('_', "-"));
    let mut out = String::new();
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find(&flag) {
        let behind = &rest[at + flag.len()..];
        let whole = !behind.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
            && !rest[..at].ends_with('-');
        out.push_str(&rest[..at]);
        out.push_str(if whole { name } else { &flag });
        found |= whole;
        rest = behind;
    }
    out.push_str(rest);
    (out, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(document: &[&str], environment: &[&str]) -> Origins {
        let own = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        Origins {
            tool: "demo",
            document: own(document),
            environment: own(environment),
            flags: Vec::new(),
        }
    }

    #[test]
    fn the_setting_is_blamed_and_not_a_flag_that_nobody_gave() {
        let failure = || {
            Failure::new(Code::Usage, "--no-cache and --no-cache-filter: `x` is odd")
                .hint("see --tag")
        };
        let told = origins(&["no_cache"], &["tag"]).told(failure());
        assert_eq!(told.message, "settings.demo.no_cache and --no-cache-filter: `x` is odd");
        assert_eq!((told.code, told.exit), (Code::BadSetting, 3));
        let told = origins(&["tag"], &["no_cache_filter"]).told(failure());
        assert_eq!(told.message, "--no-cache and DEMO_NO_CACHE_FILTER: `x` is odd");
        assert_eq!((told.code, told.exit), (Code::Usage, 2));
        let other = Failure::new(Code::BuildFailed, "--tag");
        assert_eq!(origins(&["tag"], &[]).told(other).message, "--tag");
    }
}
