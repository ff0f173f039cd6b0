//! The container's environment, from `--env` and `--env-file`.

use std::collections::BTreeMap;

/// Where a name without a value gets it from: this process's environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables. Nobody may read one of their values in a message, wherever it came from; so this
/// has no `Debug`.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

/// Why a variable cannot be had. It never holds a value.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("the environment has no variable {name}, which --env asks for")]
    Unset { name: String },
    #[error("{place} has no value, and the environment has no variable of that name")]
    UnsetInFile { place: String },
    #[error("{place} has no name before the =")]
    NoName { place: String },
    #[error("{place} has a name with white space in it")]
    Space { place: String },
    #[error("{place} is not UTF-8 text or holds a NUL")]
    NotText { place: String },
}

impl Environment {
    /// Adds one `--env`: a later one goes before an earlier one and before every file.
    pub(crate) fn option(&mut self, text: &str, lookup: Lookup<'_>) -> Result<(), EnvError> {
        let place = || "--env".to_owned();
        if text.contains('\0') {
            return Err(EnvError::NotText { place: place() });
        }
        match text.split_once('=') {
            Some(("", _)) => Err(EnvError::NoName { place: place() }),
            Some((name, value)) => {
                self.variables.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
            None if text.is_empty() => Err(EnvError::NoName { place: place() }),
            None => {
                let unset = || EnvError::Unset { name: text.to_owned() };
                self.variables.insert(text.to_owned(), lookup(text).ok_or_else(unset)?);
                Ok(())
            }
        }
    }

    /// Adds a file of docker's format: one `NAME=value` or `NAME` a line, values as they stand
    /// (no quotes, no trailing comments), lines that begin with `#` skipped. A name without a
    /// value that this environment does not have is an error here, where docker leaves it out.
    pub(crate) fn file(
        &mut self,
        name: &str,
        bytes: &[u8],
        lookup: Lookup<'_>,
    ) -> Result<(), EnvError> {
        // Docker's client skips a byte order mark, which Windows editors write.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let place = || format!("{name} line {}", index + 1);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| EnvError::NotText { place: place() })?.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match text.split_once('=') {
                Some(("", _)) => return Err(EnvError::NoName { place: place() }),
                Some((name, _)) if name.contains(char::is_whitespace) => {
                    return Err(EnvError::Space { place: place() });
                }
                Some((name, value)) => {
                    self.variables.insert(name.to_owned(), value.to_owned());
                }
                None if text.trim_end().contains(char::is_whitespace) => {
                    return Err(EnvError::Space { place: place() });
                }
                None => {
                    // Whoever took another file for this one must not find its lines in a log.
                    let name = text.trim_end();
                    let unset = || EnvError::UnsetInFile { place: place() };
                    self.variables.insert(name.to_owned(), lookup(name).ok_or_else(unset)?);
                }
            }
        }
        Ok(())
    }

    /// Adds a variable that was kept in a record.
    pub(crate) fn restored(&mut self, name: String, value: String) {
        self.variables.insert(name, value);
    }

    /// The variables by name.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "SET").then(|| "from here".to_owned())
    }

    fn file(text: &[u8]) -> Result<Environment, EnvError> {
        let mut environment = Environment::default();
        environment.file("x.env", text, &lookup).map(|()| environment)
    }

    fn pairs(environment: &Environment) -> Vec<(&str, &str)> {
        environment.variables().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = b"\xef\xbb\xbfA=1\r\n\n  # comment\n\tB = x # y\nC=\"q\"\nD=\nSET\nE=a=b\n";
        // A space before = is part of docker's name and refused; so is it here.
        assert!(matches!(file(text), Err(EnvError::Space { .. })));
        let text = b"\xef\xbb\xbfA=1\r\n\n  # comment\n\tB= x # y \nC=\"q\"\nD=\nSET \nE=a=b";
        let environment = file(text).unwrap();
        assert_eq!(
            pairs(&environment),
            [
                ("A", "1"),
                ("B", " x # y "),
                ("C", "\"q\""),
                ("D", ""),
                ("E", "a=b"),
                ("SET", "from here")
            ]
        );
    }

    #[test]
    fn errors_name_the_line_and_never_the_value() {
        let unset = file(b"\ncanary\n").err().unwrap().to_string();
        assert!(unset.starts_with("x.env line 2 has no value") && !unset.contains("canary"));
        for bad in [&b"canary"[..], b"=canary", b"A B=canary", b"canary canary", b"A=canary\xff"] {
            let error = file(bad).err().unwrap().to_string();
            assert!(error.contains("x.env line 1") && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_option_goes_before_a_file() {
        let mut environment = file(b"A=file\nB=file").unwrap();
        environment.option("A=option", &lookup).unwrap();
        environment.option("SET", &lookup).unwrap();
        assert_eq!(pairs(&environment), [("A", "option"), ("B", "file"), ("SET", "from here")]);
        for bad in ["", "=x", "MISSING", "A=\0"] {
            assert!(environment.option(bad, &lookup).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_value_of_a_file_arrives(
            vars in proptest::collection::btree_map("[A-Z_]{1,8}", "[^\r\n\0]{0,20}", 0..8)
        ) {
            let text: String = vars.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
            let environment = file(text.as_bytes()).unwrap();
            prop_assert_eq!(environment.variables(), &vars);
        }

        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = file(&bytes);
        }
    }
}
