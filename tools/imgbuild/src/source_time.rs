//! The time that an image is given in the place of the time at which it was built.

use jiff::Timestamp;

use crate::error::Error;

/// The option, as it names itself in errors.
const OPTION: &str = "--source-date-epoch";

/// What `--source-date-epoch` says; else the variable of the same meaning that all tools of
/// reproducible builds read (<https://reproducible-builds.org/specs/source-date-epoch/>); else the
/// time of the commit. None where nothing says it, or where it is to be the time of the build.
pub(crate) fn source_time(
    option: Option<&str>,
    variable: Option<&str>,
    committed: Option<Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    let variable = variable.filter(|text| !text.is_empty());
    match (option, variable) {
        (Some("now"), _) => Ok(None),
        (Some(text), _) => read(text).map(Some),
        (None, Some(text)) => read(text).map(Some),
        (None, None) => Ok(committed),
    }
}

fn read(text: &str) -> Result<Timestamp, Error> {
    let seconds = text.parse::<u32>().ok();
    seconds.and_then(|seconds| Timestamp::from_second(seconds.into()).ok()).ok_or_else(|| {
        let why = format!("`{text}` is not a number of seconds since 1970, nor `now`");
        Error::BadOption { option: OPTION, why }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_goes_before_the_variable_and_that_before_the_commit() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let commit = Some(at(7));
        let time = |option, variable| source_time(option, variable, commit).unwrap();
        assert_eq!(time(Some("5"), Some("6")), Some(at(5)));
        assert_eq!(time(None, Some("6")), Some(at(6)));
        assert_eq!(time(None, Some("")), commit);
        assert_eq!(time(None, None), commit);
        assert_eq!(time(Some("now"), Some("6")), None);
        assert_eq!(source_time(None, None, None).unwrap(), None);
        assert_eq!(at(5).to_string(), "1970-01-01T00:00:05Z");
        for bad in ["", "-1", "1.5", "2026-11-23", "99999999999"] {
            assert!(source_time(Some(bad), None, None).is_err(), "{bad}");
        }
    }
}
