use super::*;
use proptest::prelude::*;

fn url(text: &str) -> Url {
    match text.parse() {
        Ok(Target::Http(url)) => url,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_forms_that_people_write() {
    let app = url("HTTP://App.example:8000?a=b#top");
    assert_eq!(app.to_string(), "http://app.example:8000/?a=b");
    assert_eq!(app.host_header(), "app.example:8000");
    assert_eq!(url("https://[::1]/x").host_header(), "[::1]");
    assert_eq!(url("https://a:443").host_header(), "a");
    assert_eq!(url("http://a:443").host_header(), "a:443");
    let tcp = Target::Tcp(Address { host: "db".into(), port: 5432 });
    assert_eq!("tcp://db:5432".parse(), Ok(tcp));
    let tls = Target::Tls(Address { host: "::1".into(), port: 636 });
    assert_eq!("TLS://[::1]:636".parse(), Ok(tls));
    assert_eq!(url("h2c://a/x").scheme, Scheme::H2c);
    assert_eq!(url("h2c://a:80").host_header(), "a");
    assert_eq!("container://web-1".parse(), Ok(Target::Container("web-1".into())));
}

#[test]
fn a_socket_is_a_path() {
    assert_eq!("unix:///run/a%3Ab".parse(), Ok(Target::Unix("/run/a:b".into())));
    for text in ["http+unix:///run/a.sock:/health?x=1", "http+unix://%2Frun%2Fa.sock/health?x=1"] {
        let url = url(text);
        assert_eq!(url.socket.as_deref(), Some(Path::new("/run/a.sock")));
        assert_eq!((url.path.as_str(), url.host_header().as_str()), ("/health?x=1", "localhost"));
        assert_eq!(url.to_string(), "http+unix:///run/a.sock:/health?x=1");
    }
    assert_eq!(url("http+unix:///run/a.sock").path, "/");
    let long = format!("unix:///{}", "x".repeat(200));
    assert!(long.parse::<Target>().unwrap_err().to_string().contains("too long"));
}

#[test]
fn what_is_wrong_is_named() {
    for (text, reason) in [
        ("localhost:8000", "http://localhost:8000"),
        ("/run/app.sock", "write unix:///run/app.sock or http+unix:///run/app.sock:/health"),
        ("ftp://a", "none of http"),
        ("unix://run/a", "absolute path"),
        ("unix://", "absolute path"),
        ("http+unix://a/b", "absolute path"),
        ("container://", "name or id"),
        ("container://a/../b", "name or id"),
        ("tls://a", "port is missing"),
        ("tcp://a", "port is missing"),
        ("tcp://a:1/x", "no path"),
        ("http://", "not a host"),
        ("http://:80", "host is missing"),
        ("http://a:0", "not a port"),
        ("http://a:99999", "not a port"),
        ("http://a:", "not a port"),
        ("http://[::x]", "not a"),
        ("http://a/ü x", "%XX"),
        ("http://a b", "not a host"),
    ] {
        let error = text.parse::<Target>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_login_is_kept_and_not_shown() {
    for (text, shown) in [
        ("http://me:hun%2Fter2@a:81/x", "http://a:81/x"),
        ("https://hunter2@a/", "https://a/"),
        ("h2c://me:hunt@er2@a/", "h2c://a/"),
        ("http+unix://me:hunter2@/run/a.sock:/x", "http+unix:///run/a.sock:/x"),
        ("http+unix://me:hunter2@%2Frun%2Fa.sock/x", "http+unix:///run/a.sock:/x"),
    ] {
        let url = url(text);
        assert_eq!(url.to_string(), shown);
        assert!(url.login.is_some(), "{text}");
        assert!(!format!("{url:?}").contains("ter2"), "{url:?}");
    }
    assert!(url("http://a/@me").login.is_none());
}

#[test]
fn a_password_in_a_wrong_target_is_not_told() {
    for text in [
        "http://me:hunter2@a:x",
        "http://me:hunter2@",
        "http://me:hunter2:@a b",
        "tcp://me:hunter2@db:5432",
        "tls://hunter2@db:5432",
        "unix://hunter2@/run/a.sock",
        "container://hunter2@a",
        "ftp://me:hunter2@a",
        "me:hunter2@a:80",
        "http:/me:hunter2@a",
        "http+unix://me:hunter2@run/a.sock",
    ] {
        let error = text.parse::<Target>().unwrap_err().to_string();
        assert!(!error.contains("hun") && !error.contains("ter2"), "{text}: {error}");
    }
}

#[test]
fn a_scheme_without_its_slashes_is_told_its_form() {
    for (text, form) in [
        ("unix:/run/a.sock", "unix:///SOCKET"),
        ("http+unix:/run/a.sock:/x", "http+unix:///SOCKET:/PATH"),
        ("http:a/x", "http://HOST:PORT/PATH"),
        ("TCP:db:5432", "tcp://HOST:PORT"),
        ("container:web", "container://NAME"),
    ] {
        let error = text.parse::<Target>().unwrap_err().to_string();
        assert!(error.contains("two slashes") && error.ends_with(form), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_shown_reads_back(text in "(http|https|h2c|tcp|tls|unix|http\\+unix|container)://[a-z:\\[\\]0-9./?#@ %-]{0,16}") {
        if let Ok(mut target) = text.parse::<Target>() {
            if let Target::Http(url) = &mut target {
                url.login = None;
            }
            prop_assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
}
