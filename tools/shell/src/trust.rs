//! How far the settings of the document are trusted.
//!
//! Whoever can write the document may decide what is built, what is deployed and how it runs on hosts
//! that this machine trusts already, and nothing else. Each option says so of itself, by the mark
//! `x-trust` in its schema; this is the one place where a setting is let through or refused by it.
//! docs/security.md tells people why.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use slipway_release::{Code, Failure};
use slipway_untrusted::{clean_line, of_the_link};

/// The key of the mark in an option's schema.
pub(crate) const KEY: &str = "x-trust";

/// Who may decide an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The document, too.
    Document,
    /// The command line and the environment alone: it runs a program, chooses where credentials go
    /// or whose they are, whom to trust, or what is written on this machine.
    CommandLine,
    /// The document, too, as long as the paths in the value stay below the working directory.
    Path(Form),
    /// The document, too, as long as it names no variable of the environment.
    Value,
    /// The document, too, if what the variables that it names are sent to is known to this machine.
    Destination,
    /// The document, too, as long as the target is on the network and neither this machine nor the
    /// service that tells a cloud machine about itself.
    Target,
}

/// Where the paths stand in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is one.
    Whole,
    /// It is one, or a URL.
    Context,
    /// `NAME=PATH`, or a URL in its place.
    Named,
    /// `KEY=VALUE,…`, in which `src`, `source` and `dest` have paths and `env` a variable.
    Keys,
    /// `PATH[=TYPE]`.
    Typed,
    /// `@PATH`, or something else.
    At,
}

/// Where a URL in the place of a path may lead.
const SCHEMES: [&str; 5] = ["https", "http", "git", "ssh", "docker-image"];

impl Mark {
    /// Reads a mark; none if there is no such mark.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Some(match text {
            "document" => Self::Document,
            "command-line" => Self::CommandLine,
            "path" => Self::Path(Form::Whole),
            "path:context" => Self::Path(Form::Context),
            "path:named" => Self::Path(Form::Named),
            "path:keys" => Self::Path(Form::Keys),
            "path:typed" => Self::Path(Form::Typed),
            "path:at" => Self::Path(Form::At),
            "variable:value" => Self::Value,
            "variable:destination" => Self::Destination,
            "target" => Self::Target,
            _ => return None,
        })
    }
}

/// What only the tool knows of its options, for the rule of trust.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrustFacts {
    /// Whether all that the values of variables are sent to was given on this machine, or is a host
    /// whose key is known here.
    pub known_destination: bool,
    /// Whether targets are asked from another machine than this one.
    pub from_elsewhere: bool,
}

/// What the rule has to know beside the setting.
pub(crate) struct Place<'a> {
    /// The working directory, links resolved.
    directory: PathBuf,
    /// Asked for only where it matters.
    facts: &'a dyn Fn() -> TrustFacts,
}

impl<'a> Place<'a> {
    /// That of this process.
    pub(crate) fn of_process(facts: &'a dyn Fn() -> TrustFacts) -> Result<Self, Failure> {
        let directory = std::env::current_dir().and_then(|it| it.canonicalize());
        let directory = directory.map_err(|error| {
            let message = format!("the working directory cannot be read: {error}");
            Failure::new(Code::FileUnreadable, message).hint("run it in a directory that exists")
        })?;
        Ok(Self { directory, facts })
    }
}

/// Lets a setting through, or says why not. An option without a readable mark is one that somebody
/// forgot: it counts as one of the command line.
pub(crate) fn check(mark: Option<Mark>, value: &Value, place: &Place<'_>) -> Result<(), String> {
    match mark.unwrap_or(Mark::CommandLine) {
        Mark::Document => Ok(()),
        Mark::CommandLine => Err("only a flag or the environment may decide it".to_owned()),
        Mark::Destination if (place.facts)().known_destination => Ok(()),
        Mark::Destination => Err("it names a variable of this machine's environment, and not \
             everything that its value would be sent to is known here"
            .to_owned()),
        mark => texts(value).try_for_each(|text| match mark {
            Mark::Path(form) => paths(form, text, &place.directory),
            Mark::Value if !text.contains('=') => Err(variable(text)),
            Mark::Target => target(text, (place.facts)().from_elsewhere),
            _ => Ok(()),
        }),
    }
}

/// The failure of a setting that was refused.
pub(crate) fn refusal(tool: &str, key: &str, flag: &str, why: &str) -> Failure {
    let message = format!("settings.{tool}.{key} in the document is not taken: {why}");
    Failure::new(Code::UntrustedSetting, message).hint(format!(
        "give {flag} where {tool} is run; where whoever writes the document may do \
         all that you may, --trust-settings or SLIPWAY_TRUST_SETTINGS=true trusts all of it"
    ))
}

/// The texts of a value: itself, or those in a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let one = std::slice::from_ref(value);
    value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str)
}

fn variable(name: &str) -> String {
    format!("it takes the variable {} from this machine's environment", clean_line(name))
}

fn paths(form: Form, text: &str, directory: &Path) -> Result<(), String> {
    match form {
        Form::Whole => inside(text, directory),
        Form::Context => path_or_url(text, directory),
        Form::Named => text.split_once('=').map_or(Ok(()), |(_, it)| path_or_url(it, directory)),
        Form::Typed => match text.rsplit_once('=') {
            // Both readings, since the file's name may have an equals sign.
            Some((path, _)) => inside(path, directory).and_then(|()| inside(text, directory)),
            None => inside(text, directory),
        },
        Form::At => text.strip_prefix('@').map_or(Ok(()), |path| inside(path, directory)),
        Form::Keys => text.split(',').try_for_each(|field| {
            let Some((key, value)) = field.split_once('=') else { return Ok(()) };
            let value = value.trim().trim_matches('"');
            match key.trim().trim_matches('"').to_ascii_lowercase().as_str() {
                "src" | "source" | "dest" | "destination" => inside(value, directory),
                "env" => Err(variable(value)),
                _ => Ok(()),
            }
        }),
    }
}

fn path_or_url(text: &str, directory: &Path) -> Result<(), String> {
    match text.split_once("://") {
        Some((scheme, _)) if SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) => Ok(()),
        Some((scheme, _)) => Err(format!("it leads to {}://…", clean_line(scheme))),
        None => inside(text, directory),
    }
}

/// Whether a path stays below the working directory, links followed.
fn inside(text: &str, directory: &Path) -> Result<(), String> {
    let path = Path::new(text);
    let outside = || format!("the path {} leads out of the working directory", clean_line(text));
    let mut deep = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => deep += 1,
            Component::CurDir => {}
            Component::ParentDir => deep = deep.checked_sub(1).ok_or_else(outside)?,
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    // What does not exist yet leads where its nearest existing parent leads. A link without a target
    // could get one.
    let mut known = directory.to_owned();
    for component in path.components() {
        known.push(component);
        if known.symlink_metadata().is_err() {
            return Ok(());
        }
        known = known.canonicalize().map_err(|_| outside())?;
        if !known.starts_with(directory) {
            return Err(outside());
        }
    }
    Ok(())
}

/// Whether a target is on the network, and no other service of this machine.
fn target(text: &str, elsewhere: bool) -> Result<(), String> {
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" | "h2c" | "tcp" | "tls" => {}
        "container" => return Ok(()),
        _ => return Err("it asks a socket of this machine".to_owned()),
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.');
    let (loopback, metadata) = match host.parse::<IpAddr>().map(|it| it.to_canonical()) {
        Ok(address) => (address.is_loopback(), of_the_link(address)),
        // Numbers that only the resolver takes for an address, such as 2130706433 or 0x7f.1.
        Err(_) if host.rsplit('.').next().is_some_and(numeric) => (true, true),
        Err(_) => (host.eq_ignore_ascii_case("localhost"), false),
    };
    if metadata {
        Err("it asks for what a machine's own network tells about it".to_owned())
    } else if loopback && !elsewhere {
        Err("it asks this machine itself".to_owned())
    } else {
        Ok(())
    }
}

fn numeric(label: &str) -> bool {
    label.starts_with(|c: char| c.is_ascii_digit())
        && label.chars().all(|c| c.is_ascii_hexdigit() || c == 'x' || c == 'X')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn takes(mark: &str, value: &Value, directory: &Path) -> bool {
        let directory = directory.canonicalize().unwrap();
        let place = Place { directory, facts: &TrustFacts::default };
        check(Some(Mark::read(mark).unwrap()), value, &place).is_ok()
    }

    #[test]
    fn what_has_no_mark_is_refused() {
        let facts = || TrustFacts { known_destination: true, from_elsewhere: true };
        let place = Place { directory: "/".into(), facts: &facts };
        assert!(check(None, &json!(1), &place).is_err());
        assert!(check(Mark::read("documents"), &json!(1), &place).is_err());
        assert!(check(Mark::read("variable:destination"), &json!("a=B"), &place).is_ok());
        assert!(!takes("variable:destination", &json!("a=B"), Path::new("/")));
    }

    #[test]
    fn paths_stay_below_the_working_directory() {
        let place = tempfile::tempdir().unwrap();
        let work = place.path().join("work");
        fs::create_dir_all(work.join("app/deep")).unwrap();
        fs::write(work.join("file"), "").unwrap();
        fs::write(place.path().join("secret"), "").unwrap();
        symlink("../secret", work.join("out")).unwrap();
        symlink("..", work.join("app/up")).unwrap();
        symlink("../..", work.join("app/upper")).unwrap();
        symlink("/nowhere/yet", work.join("dangling")).unwrap();
        for path in ["app", "./app/deep", "app/../file", "file", "new/one", "app/up/file", "."] {
            assert!(takes("path", &json!(path), &work), "{path}");
        }
        for path in [
            "/etc/passwd",
            "..",
            "../secret",
            "app/../../secret",
            "out",
            "app/upper/secret",
            "dangling",
            "new/../../x",
            "/dev/fd/3",
            "app/upper",
            "dangling/x",
            "file/../../secret",
        ] {
            assert!(!takes("path", &json!(path), &work), "{path}");
            assert!(!takes("path", &json!(["file", path]), &work), "{path}");
            assert!(!takes("path:keys", &json!([format!("id=x,src={path}")]), &work), "{path}");
            assert!(
                !takes("path:keys", &json!(format!("type=local,\"dest={path}\"")), &work),
                "{path}"
            );
            assert!(!takes("path:named", &json!(format!("base={path}")), &work), "{path}");
            assert!(!takes("path:typed", &json!(format!("{path}=text/plain")), &work), "{path}");
            assert!(!takes("path:at", &json!(format!("@{path}")), &work), "{path}");
            assert!(!takes("path:context", &json!(path), &work), "{path}");
        }
    }

    #[test]
    fn the_forms_of_values() {
        let here = Path::new("/tmp");
        for (mark, value) in [
            ("path:context", "https://example.com/web.git#main"),
            ("path:context", "git@example.com:web.git"),
            ("path:named", "base=docker-image://python:3"),
            ("path:keys", "type=registry,ref=example.com/x"),
            ("path:at", "{\"a\": \"/x\"}"),
            ("variable:value", "A=1"),
            ("target", "https://app.example.com:8443/health"),
            ("target", "tcp://10.0.0.7:5432"),
            ("target", "container://web"),
        ] {
            assert!(takes(mark, &json!([value]), here), "{mark} {value}");
        }
        for (mark, value) in [
            ("path:context", "file:///etc"),
            ("path:named", "base=oci-layout:///etc"),
            ("path:keys", "id=x,env=AWS_SECRET_ACCESS_KEY"),
            ("path:keys", "id=x, ENV = HOME"),
            ("variable:value", "AWS_SECRET_ACCESS_KEY"),
            ("command-line", ""),
            ("target", "unix:///var/run/docker.sock"),
            ("target", "http+unix:///var/run/docker.sock:/info"),
            ("target", "http://169.254.169.254/latest/meta-data"),
            ("target", "http://u:p@[fd00:ec2::254]/"),
            ("target", "http://[::ffff:169.254.169.254]/"),
            ("target", "http://localhost.:9200/"),
            ("target", "http://2852039166/"),
            ("target", "http://0x7f.1/"),
            ("target", "tcp://127.1:22"),
            ("target", "odd"),
        ] {
            assert!(!takes(mark, &json!([value]), here), "{mark} {value}");
        }
        assert!(target("http://localhost:8000/health", true).is_ok(), "another machine's");
        assert!(target("http://169.254.169.254/", true).is_err());
    }
}
