use super::*;
use proptest::prelude::*;

fn blob(kind: &str, fill: u8) -> Vec<u8> {
    let mut blob = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
    blob.extend(kind.as_bytes());
    blob.extend([0, 0, 0, 4, fill, fill, fill, fill]);
    blob
}

fn line(hosts: &str, kind: &str, fill: u8) -> String {
    format!("{hosts} {kind} {} a comment\n", STANDARD.encode(blob(kind, fill)))
}

fn hashed(name: &str) -> String {
    let salt = [7u8; 20];
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).unwrap();
    mac.update(name.as_bytes());
    format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac.finalize().into_bytes()))
}

fn judge(text: &str, host: &str, port: u16, kind: &str, fill: u8) -> Result<(), Error> {
    let target = Target { user: "u".into(), host: host.into(), port };
    let trust = Trust::KnownHosts { names: Names::of(&target), entries: parse(text, "kh") };
    trust.judge(&Offered { blob: &blob(kind, fill), fingerprint: "SHA256:f".into() })
}

const ED: &str = "ssh-ed25519";

#[test]
fn a_listed_key_is_trusted_under_each_kind_of_name() {
    for hosts in ["app", "other,app", "APP", "a*", "*", "?pp", "*,!other", &hashed("app")] {
        judge(&line(hosts, ED, 1), "App", 22, ED, 1).unwrap();
    }
    for hosts in ["[app]:2222", "[*]:2222", &hashed("[app]:2222"), "app"] {
        judge(&line(hosts, ED, 1), "app", 2222, ED, 1).unwrap();
    }
}

#[test]
fn an_unlisted_host_is_unknown() {
    for hosts in [
        "other",
        "app.example.com",
        "[app]:2222",
        "*,!app",
        "!app,*",
        &hashed("other"),
        "|1|x|y",
        "|1|",
        "|2|aa|aa",
    ] {
        let verdict = judge(&line(hosts, ED, 1), "app", 22, ED, 1);
        assert!(matches!(verdict, Err(Error::HostKeyUnknown { .. })), "{hosts}");
    }
}

#[test]
fn another_key_of_the_type_is_a_mismatch_with_its_place() {
    let text = format!("# comment\n\n{}", line("app", ED, 1));
    match judge(&text, "app", 22, ED, 2) {
        Err(Error::HostKeyMismatch { known, algorithm, .. }) => {
            assert_eq!((known.as_str(), algorithm.as_str()), ("kh:3", ED))
        }
        other => panic!("{other:?}"),
    }
    // Known by a key of another type only: nothing contradicts it, and nothing vouches for it either.
    let verdict = judge(&line("app", "ssh-rsa", 1), "app", 22, ED, 2);
    assert!(matches!(verdict, Err(Error::HostKeyUnknown { .. })));
    // The same name without its port may vouch and may not contradict.
    let verdict = judge(&line("app", ED, 1), "app", 2222, ED, 2);
    assert!(matches!(verdict, Err(Error::HostKeyUnknown { ref host, .. }) if host == "[app]:2222"));
}

#[test]
fn two_keys_of_one_type_are_both_good() {
    let text = line("app", ED, 1) + &line("app", ED, 2);
    judge(&text, "app", 22, ED, 2).unwrap();
}

#[test]
fn a_revoked_key_is_refused_even_if_it_is_listed_too() {
    for text in [
        line("app", ED, 1) + "@revoked " + &line("*", ED, 1),
        "@revoked ".to_owned() + &line(&hashed("app"), ED, 1) + &line("app", ED, 1),
    ] {
        let verdict = judge(&text, "app", 22, ED, 1);
        assert!(matches!(verdict, Err(Error::HostKeyRevoked { .. })), "{verdict:?}");
    }
    // Revoked for somebody else.
    judge(&(line("app", ED, 1) + "@revoked " + &line("other", ED, 1)), "app", 22, ED, 1).unwrap();
}

#[test]
fn a_certificate_authority_vouches_for_nothing() {
    let verdict = judge(&("@cert-authority ".to_owned() + &line("*", ED, 1)), "app", 22, ED, 1);
    assert!(matches!(verdict, Err(Error::HostKeyUnknown { .. })));
}

#[test]
fn broken_lines_are_passed_over() {
    let lying = format!("app ssh-rsa {}\n", STANDARD.encode(blob(ED, 1)));
    let text = format!("app\napp {ED}\napp {ED} %%%\napp {ED} AAAA\n@revoked\n{lying}");
    assert_eq!(parse(&text, "kh"), []);
}

#[test]
fn the_host_is_asked_for_the_key_type_that_is_known() {
    let target: Target = "u@app".parse().unwrap();
    let trust = Trust::KnownHosts {
        names: Names::of(&target),
        entries: parse(&line("app", "ssh-rsa", 1), "kh"),
    };
    assert_eq!(trust.attempts()[0][..2], ["ssh-rsa", "ssh-ed25519"]);
}

#[test]
fn fingerprints_are_checked_before_they_are_used() {
    let good = format!("SHA256:{}", STANDARD.encode([5u8; 32]));
    assert_eq!(normal_fingerprint(&good).unwrap(), good.trim_end_matches('='));
    for bad in ["", "SHA256:", "SHA256:abc", "MD5:00:11", "SHA256:%%", &good[7..]] {
        assert!(normal_fingerprint(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_name_matches_itself_and_every_wildcard_made_of_it(name in "[a-z0-9.-]{1,12}", at in 0usize..12) {
        prop_assert!(wildcard(&name, &name));
        let at = at.min(name.len() - 1);
        let star = format!("{}*{}", &name[..at], &name[at + 1..]);
        let mark = format!("{}?{}", &name[..at], &name[at + 1..]);
        prop_assert!(wildcard(&star, &name) && wildcard(&mark, &name));
        let longer = format!("{name}x");
        prop_assert!(!wildcard(&mark, &longer));
    }

    #[test]
    fn no_file_panics_and_none_trusts_by_chance(text in "\\PC{0,80}") {
        prop_assert!(judge(&text, "app", 22, ED, 1).is_err());
    }
}
