//! What a container may do: its user, its capabilities, and where it may write, in the notation of
//! `docker run`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::values::Reason;

/// The security option that is set unless `=false` says otherwise (prctl(2),
/// `PR_SET_NO_NEW_PRIVS`): no program in the container gets more rights than who starts it.
const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

/// What a container may do. The default is the engine's own: that of releases which were deployed
/// before there were options for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Confinement {
    /// The user, where it is not the image's.
    pub(crate) user: Option<String>,
    /// Whether the root file system is read-only.
    pub(crate) read_only: bool,
    /// File systems in memory: paths, and options as `docker run` takes them.
    pub(crate) tmpfs: BTreeMap<String, String>,
    /// Without `CAP_`, in capitals.
    pub(crate) cap_add: BTreeSet<String>,
    /// Without `CAP_`, in capitals.
    pub(crate) cap_drop: BTreeSet<String>,
    /// `NAME` or `NAME=VALUE`.
    pub(crate) security_opt: BTreeSet<String>,
    /// How many processes and threads there may be; none for no limit.
    pub(crate) pids_limit: Option<i64>,
}

/// `--user`.
pub(crate) fn user(text: &str) -> Result<String, Reason> {
    let word = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() <= 2 && parts.iter().all(|part| word(part)) {
        return Ok(text.to_owned());
    }
    Err("write USER or USER:GROUP, by name or number".to_owned())
}

/// `--tmpfs`.
pub(crate) fn tmpfs(text: &str) -> Result<(String, String), Reason> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    if !path.starts_with('/') || path == "/" {
        return Err("the path in the container must be absolute, and not /".to_owned());
    }
    if options.contains(':') {
        return Err("it has more than a path and options".to_owned());
    }
    Ok((path.to_owned(), options.to_owned()))
}

/// `--cap-add` and `--cap-drop`. The engine knows which ones there are.
pub(crate) fn capability(text: &str) -> Result<String, Reason> {
    let name = plain_capability(text);
    // A prefix that stands twice would come off once more each time that the name is compared.
    let plain = !name.is_empty() && !name.starts_with("CAP_");
    if plain && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(name);
    }
    Err("write the name of a capability, such as NET_BIND_SERVICE, or ALL".to_owned())
}

/// The name of a capability as it is compared: engines and people write `CAP_` or leave it out.
pub(crate) fn plain_capability(text: &str) -> String {
    let name = text.to_ascii_uppercase();
    name.strip_prefix("CAP_").map_or_else(|| name.clone(), str::to_owned)
}

/// `--security-opt`, read as the engine reads it (`NAME=VALUE`, or `NAME:VALUE` as of old); none
/// where it takes back what is set unless told otherwise.
fn security_opt(text: &str) -> Result<(String, Option<String>), Reason> {
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let whole = |value: &str| (name.to_owned(), Some(format!("{name}={value}")));
    match (name, value) {
        (NO_NEW_PRIVILEGES, None | Some("true")) => Ok((name.to_owned(), Some(name.to_owned()))),
        (NO_NEW_PRIVILEGES, Some("false")) => Ok((name.to_owned(), None)),
        (NO_NEW_PRIVILEGES, Some(_)) => Err("it is true or false".to_owned()),
        ("seccomp", Some("unconfined")) => Ok(whole("unconfined")),
        // A profile would be a file of this machine, which docker's client sends.
        ("seccomp", _) => {
            Err("of seccomp only unconfined can be asked for; profiles are not taken".to_owned())
        }
        ("apparmor" | "label", Some(value)) if !value.is_empty() => Ok(whole(value)),
        _ => Err("write no-new-privileges=false, apparmor=PROFILE, label=LABEL or \
                  seccomp=unconfined"
            .to_owned()),
    }
}

/// All `--security-opt`, and what is set unless they say otherwise.
pub(crate) fn security_opts(texts: &[String]) -> Result<BTreeSet<String>, (String, Reason)> {
    let mut all = BTreeSet::from([NO_NEW_PRIVILEGES.to_owned()]);
    for text in texts {
        match security_opt(text).map_err(|reason| (text.clone(), reason))? {
            (name, None) => {
                all.remove(&name);
            }
            (_, Some(whole)) => {
                all.insert(whole);
            }
        }
    }
    Ok(all)
}

/// A security option as it is compared, in whichever form an engine tells it.
pub(crate) fn plain_security_opt(text: &str) -> String {
    match security_opt(text) {
        Ok((_, Some(whole))) => whole,
        Ok((name, None)) => format!("{name}=false"),
        Err(_) => text.to_owned(),
    }
}

/// `--pids-limit`; none for no limit.
pub(crate) fn pids_limit(number: i64) -> Result<Option<i64>, Reason> {
    match number {
        -1 | 0 => Ok(None),
        1.. => Ok(Some(number)),
        _ => Err("write a number of processes, or -1 for no limit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opts(texts: &[&str]) -> Vec<String> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        security_opts(&texts).unwrap().into_iter().collect()
    }

    #[test]
    fn new_privileges_are_refused_unless_they_are_asked_for() {
        assert_eq!(opts(&[]), ["no-new-privileges"]);
        for text in ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"] {
            assert_eq!(opts(&[text]), ["no-new-privileges"]);
        }
        assert_eq!(opts(&["no-new-privileges=false"]), Vec::<String>::new());
        let all = opts(&["seccomp:unconfined", "label=type:svirt_t", "apparmor=mine"]);
        let wanted =
            ["apparmor=mine", "label=type:svirt_t", "no-new-privileges", "seccomp=unconfined"];
        assert_eq!(all, wanted);
    }

    #[test]
    fn no_file_of_this_machine_is_asked_for() {
        for bad in ["seccomp=/etc/passwd", "seccomp", "apparmor=", "no-new-privileges=1", "", "x"] {
            assert!(security_opts(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_in_dockers_notation() {
        assert_eq!(capability("cap_net_raw").as_deref(), Ok("NET_RAW"));
        assert_eq!(capability("ALL").as_deref(), Ok("ALL"));
        assert_eq!(tmpfs("/run"), Ok(("/run".to_owned(), String::new())));
        let sized = ("/tmp".to_owned(), "size=16m,mode=1777".to_owned());
        assert_eq!(tmpfs("/tmp:size=16m,mode=1777"), Ok(sized));
        for good in ["10001", "app", "10001:10001", "app:staff"] {
            assert!(user(good).is_ok(), "{good}");
        }
        for bad in ["", ":", "a:", ":b", "a:b:c", "a b"] {
            assert!(user(bad).is_err(), "{bad}");
        }
        for bad in ["run", "/", "", "/run:a:b"] {
            assert!(tmpfs(bad).is_err(), "{bad}");
        }
        for bad in ["", "CAP_", "net raw", "NET-RAW"] {
            assert!(capability(bad).is_err(), "{bad}");
        }
        assert_eq!((pids_limit(-1), pids_limit(0)), (Ok(None), Ok(None)));
        assert_eq!(pids_limit(5), Ok(Some(5)));
        assert!(pids_limit(-2).is_err());
    }

    proptest! {
        #[test]
        fn what_was_read_reads_the_same_again(text in "(apparmor|label|seccomp|no-new-privileges)[=:]?[a-z=:]{0,8}") {
            if let Ok((_, Some(whole))) = security_opt(&text) {
                prop_assert_eq!(plain_security_opt(&whole), whole.clone());
            }
        }
    }
}
