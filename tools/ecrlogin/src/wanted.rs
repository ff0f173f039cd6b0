//! Which registries a token is wanted for: what options and document say together.

use serde_json::Value;
use slipway_release::{Document, Failure, Image, Push, Registry};

use crate::host::{is_account, is_region, target};
use crate::token::Target;
use crate::{Error, Options};

/// The registries that the document names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Where the image is, or goes to.
    pub(crate) own: Option<Target>,
    /// Whether that is so by a name that the image has, and not by a login of an earlier run.
    pub(crate) by_image: bool,
    /// Others: logins of an earlier run, and image names in the tools' settings.
    pub(crate) others: Vec<Target>,
}

impl Named {
    /// Reads the document.
    pub(crate) fn of(document: &Document, before: &Registry) -> Result<Self, Failure> {
        let image: Image = document.get()?.unwrap_or_default();
        let push: Push = document.get()?.unwrap_or_default();
        let known = push.reference.into_iter().chain(image.pushed_reference).chain(image.tags);
        let mut own = before.host.as_deref().and_then(target).into_iter().collect::<Vec<_>>();
        let by_image = own.is_empty();
        own.extend(known.flat_map(|name| mentioned(&name).collect::<Vec<_>>()));
        let mut own = own.into_iter();

        let mut settings = Vec::new();
        for tool in ["imgbuild", "imgpush", "remote-swap"] {
            for value in document.settings(tool)?.values() {
                texts(value, &mut settings);
            }
        }
        let before = before.others.iter().filter_map(|other| target(&other.host));
        let settings = settings.iter().flat_map(|text| mentioned(text));
        Ok(Self { own: own.next(), by_image, others: own.chain(before).chain(settings).collect() })
    }
}

/// All texts of a value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// The private registries whose images a text names, as a reference or as a value in it
/// (`BASE=HOST/NAME`, `type=registry,ref=HOST/NAME`). The public one is pulled from without a login,
/// and few may have one, so that it has to be asked for.
fn mentioned(text: &str) -> impl Iterator<Item = Target> {
    let words = text.split(['=', ',']).filter_map(|word| word.split_once('/'));
    words.filter_map(|(host, _)| target(host)).filter(|target| !target.public)
}

/// The registries to ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The image's own, and what flags ask for besides.
    pub(crate) asked: Vec<Target>,
    /// What the document names besides: the work may be done without a login there.
    pub(crate) named: Vec<Target>,
}

/// Joins flags and document. A flag and a host name that contradict each other are an error that
/// names both, be it a flag's host name or an image's. That of an earlier run's login fills in what no
/// flag says: a saved document can be logged in elsewhere.
pub(crate) fn wanted(options: &Options, named: Named) -> Result<Wanted, Error> {
    if let Some(id) = options.registry_id.iter().find(|id| !is_account(id)) {
        return Err(Error::BadAccount { account: id.clone() });
    }
    if let Some(region) = options.region.as_ref().filter(|region| !is_region(region)) {
        return Err(Error::BadRegion { region: region.clone() });
    }
    let mut asked = given(options)?;
    if asked.is_empty() {
        if let (true, Some(image), Some(flag)) = (named.by_image, &named.own, &options.region) {
            agree(image, flag)?;
        }
        asked.push(own(options, named.own));
    }
    let mut wanted = Wanted { asked, named: Vec::new() };
    for other in named.others {
        if !wanted.asked.iter().chain(&wanted.named).any(|known| same(known, &other)) {
            wanted.named.push(other);
        }
    }
    Ok(wanted)
}

/// Whether the flag says the region that the host name has, which the public registry has none of.
fn agree(named: &Target, flag: &str) -> Result<(), Error> {
    match &named.host {
        Some(host) if !named.public && named.region.as_deref() != Some(flag) => {
            let (flag, host) = (flag.to_owned(), host.clone());
            Err(Error::Conflict { what: "region", flag, host })
        }
        _ => Ok(()),
    }
}

/// What the flags ask for: host names, or accounts; the public registry is nobody's own, so that it
/// is the last.
fn given(options: &Options) -> Result<Vec<Target>, Error> {
    let mut hosts = Vec::new();
    for host in &options.registry {
        let parsed = target(host).ok_or_else(|| Error::NotEcr { host: host.clone() })?;
        if let Some(flag) = &options.region {
            agree(&parsed, flag)?;
        }
        hosts.push(parsed);
    }
    let (public, mut wanted): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| host.public);
    if let Some(host) = wanted.first().and_then(|first| first.host.clone()) {
        let unknown = |id: &&String| !wanted.iter().any(|host| host.account.as_ref() == Some(*id));
        if let Some(flag) = options.registry_id.iter().find(unknown) {
            return Err(Error::Conflict { what: "account", flag: flag.clone(), host });
        }
    } else {
        wanted.extend(options.registry_id.iter().map(|id| Target {
            account: Some(id.clone()),
            region: options.region.clone(),
            ..Target::default()
        }));
    }
    wanted.extend(public);
    let mut unique: Vec<Target> = Vec::new();
    for target in wanted {
        if !unique.iter().any(|known| same(known, &target)) {
            unique.push(target);
        }
    }
    Ok(unique)
}

/// The image's registry where no flag tells it: that of the document, moved to the region of the
/// flag, or the caller's own.
fn own(options: &Options, known: Option<Target>) -> Target {
    match (known, &options.region) {
        (Some(known), Some(region)) if !known.public && known.region.as_ref() != Some(region) => {
            Target { account: known.account, region: Some(region.clone()), ..Target::default() }
        }
        (Some(known), _) => known,
        (None, region) => Target { region: region.clone(), ..Target::default() },
    }
}

/// Whether two mean one login: the same host, or what one of them does not say is left to it.
fn same(one: &Target, other: &Target) -> bool {
    match (&one.host, &other.host) {
        (Some(one), Some(other)) => one == other,
        _ => {
            one.public == other.public && one.account == other.account && one.region == other.region
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    fn options(args: &[&str]) -> Options {
        let command = Options::augment_args(Command::new("ecrlogin").no_binary_name(true));
        Options::from_arg_matches(&command.get_matches_from(args)).unwrap()
    }

    fn of(args: &[&str], document: &str) -> Result<Vec<String>, Error> {
        let text = format!(r#"{{"schema":"slipway.release/v1"{document}}}"#);
        let document = Document::parse(text.as_bytes()).unwrap();
        let before = document.get().unwrap().unwrap_or_default();
        let wanted = wanted(&options(args), Named::of(&document, &before).unwrap())?;
        let text = |text: Option<String>| text.unwrap_or_else(|| "own".to_owned());
        let shown = |it: Target| {
            it.host.unwrap_or_else(|| format!("{}@{}", text(it.account), text(it.region)))
        };
        let named = wanted.named.into_iter().map(|it| format!("({})", shown(it)));
        Ok(wanted.asked.into_iter().map(shown).chain(named).collect())
    }

    const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    const OTHER: &str = "210987654321.dkr.ecr.us-east-1.amazonaws.com";

    #[test]
    fn without_a_word_it_is_the_callers_own() {
        assert_eq!(of(&[], "").unwrap(), ["own@own"]);
        assert_eq!(of(&["--region", "us-east-1"], "").unwrap(), ["own@us-east-1"]);
    }

    #[test]
    fn the_host_gives_what_no_flag_says() {
        let before = format!(r#","registry":{{"host":"{HOST}"}}"#);
        assert_eq!(of(&[], &before).unwrap(), [HOST]);
        assert_eq!(of(&["--region", "us-east-1"], &before).unwrap(), ["123456789012@us-east-1"]);
        assert_eq!(of(&["--registry", OTHER], &before).unwrap(), [OTHER]);
    }

    #[test]
    fn a_contradiction_names_both() {
        for (args, flag) in [
            (["--registry", HOST, "--region", "us-east-1"], "us-east-1"),
            (["--registry", HOST, "--registry-id", "210987654321"], "210987654321"),
        ] {
            let error = of(&args, "").unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(HOST), "{error}");
        }
        let image = format!(r#","image":{{"tags":["web:1","{HOST}/web:1"]}}"#);
        let error = of(&["--region", "us-east-1"], &image).unwrap_err().to_string();
        assert!(error.contains("us-east-1") && error.contains(HOST), "{error}");
        assert_eq!(of(&["--region", "eu-central-1"], &image).unwrap(), [HOST]);
    }

    #[test]
    fn flags_that_cannot_be_right_are_refused() {
        for args in [["--registry-id", "12"], ["--region", "Frankfurt"], ["--registry", "quay.io"]]
        {
            assert!(of(&args, "").is_err(), "{args:?}");
        }
    }

    #[test]
    fn several_accounts_and_the_public_registry_go_together() {
        let ids = ["--registry-id", "123456789012", "--registry-id", "210987654321"];
        let both = of(&[&ids[..], &["--registry", "public.ecr.aws"]].concat(), "").unwrap();
        assert_eq!(both, ["123456789012@own", "210987654321@own", "public.ecr.aws"]);
        let hosts = of(&["--registry", "public.ecr.aws", "--registry", HOST], "").unwrap();
        assert_eq!(hosts, [HOST, "public.ecr.aws"]);
        let twice = of(&["--registry", HOST, "--registry", HOST], "").unwrap();
        assert_eq!(twice, [HOST]);
    }

    #[test]
    fn images_that_the_document_names_are_logged_in_for() {
        let document = format!(
            r#","registry":{{"host":"{HOST}","others":[{{"host":"public.ecr.aws"}}]}},
            "settings":{{"imgbuild":{{"build_arg":["BASE={OTHER}/python:3"],"cache_from":["type=registry,ref={OTHER}/cache,mode=max"]}},
            "remote-swap":{{"front_image":"public.ecr.aws/docker/library/haproxy:3.2"}}}}"#
        );
        let other = format!("({OTHER})");
        assert_eq!(of(&[], &document).unwrap(), [HOST, "(public.ecr.aws)", &other]);
        let tags = format!(r#","image":{{"tags":["{OTHER}/web:1"]}}"#);
        assert_eq!(of(&[], &tags).unwrap(), [OTHER]);
        let settings =
            format!(r#","settings":{{"remote-swap":{{"front_image":"{OTHER}/front:1"}}}}"#);
        assert_eq!(of(&[], &settings).unwrap(), ["own@own", &other]);
    }

    #[test]
    fn a_name_that_only_holds_a_host_is_none() {
        let document =
            format!(r#","settings":{{"imgbuild":{{"label":["x={OTHER}","y=a/{OTHER}/b"]}}}}"#);
        assert_eq!(of(&[], &document).unwrap(), ["own@own"]);
    }
}
