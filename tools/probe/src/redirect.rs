//! Redirects: where they may lead, and what goes along.
//!
//! The answer of a service decides here what this machine asks next, so that it may decide little:
//! only URLs of http and https are followed, never from https to http and never to a socket; what
//! was meant for one origin is not told to another.

use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};

use slipway_untrusted::of_the_link;

use crate::json::cut;
use crate::request::Hidden;
use crate::{Answer, ProbeError, Request, Scheme, Target, Url};

/// The statuses that name another place (RFC 9110, section 15.4).
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where an answer leads, for people; none if it is not a redirect.
pub(crate) fn location(answer: &Answer) -> Option<String> {
    let to = answer.headers.get(LOCATION).filter(|_| is_redirect(answer.status))?;
    Some(shown(&String::from_utf8_lossy(to.as_bytes())))
}

/// A URL from outside for people: cleaned, cut, and without user and password.
pub(crate) fn shown(url: &str) -> String {
    match (url.split_once("//"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, place))) if rest.contains('@') => {
            cut(&format!("{scheme}//…@{place}"))
        }
        _ => cut(url),
    }
}

impl Request {
    /// The request that follows a redirect, as far as the answer is one.
    pub(crate) fn redirected(
        &self,
        from: &Url,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<(Url, Self)>, ProbeError> {
        if !is_redirect(status) {
            return Ok(None);
        }
        let Some(location) = headers.get(LOCATION) else { return Ok(None) };
        let location = String::from_utf8_lossy(location.as_bytes());
        let refused = |why| ProbeError::BadRedirect { to: shown(&location), why };
        let to = joined(from, &location).map_err(refused)?;
        let mut next = Self { path: to.path.clone(), ..self.clone() };
        let keeps = matches!(status.as_u16(), 307 | 308)
            || matches!(self.method, Method::GET | Method::HEAD);
        if !keeps {
            next.method = Method::GET;
            next.body = Hidden::default();
            next.headers.remove(CONTENT_TYPE);
        }
        if !from.shares_origin(&to) {
            if !next.body.0.is_empty() {
                return Err(refused("it would take the request's body to another origin"));
            }
            next.headers.clear();
            for name in [USER_AGENT, ACCEPT] {
                if let Some(value) = self.headers.get(&name) {
                    next.headers.insert(name, value.clone());
                }
            }
            let host = HeaderValue::from_str(&to.host_header());
            next.headers.insert(HOST, host.map_err(|_| refused("its host cannot be sent"))?);
        }
        Ok(Some((to, next)))
    }
}

/// Where a redirect leads, whole or relative to where it came from; or why it is not followed.
fn joined(from: &Url, location: &str) -> Result<Url, &'static str> {
    // The crate reads URLs as browsers do; `h2c` is a scheme of ours.
    let scheme = if from.scheme == Scheme::Https { "https" } else { "http" };
    let base = url::Url::parse(&format!("{scheme}://{}{}", from.address, from.path));
    let base = base.map_err(|_| "what it is relative to is not a URL")?;
    let to = base.join(location).map_err(|_| "it is not a URL")?;
    match (scheme, to.scheme()) {
        ("https", "http") => return Err("it leads from https to http"),
        (_, "http" | "https") => {}
        _ => return Err("only http and https are followed"),
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("it holds a user or a password");
    }
    let Ok(Target::Http(mut url)) = to.as_str().parse() else {
        return Err("its host or path cannot be sent");
    };
    let address = url.address.host.parse();
    if address.is_ok_and(of_the_link) {
        return Err("it leads to what a machine's own network tells about it");
    }
    if to.origin() == base.origin() {
        url.scheme = from.scheme;
        url.socket.clone_from(&from.socket);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn url(text: &str) -> Url {
        let Ok(Target::Http(url)) = text.parse() else { panic!("{text}") };
        url
    }

    fn redirected(
        request: &Request,
        from: &str,
        status: u16,
        to: &str,
    ) -> Result<Option<(Url, Request)>, ProbeError> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(to).unwrap())]);
        request.redirected(&url(from), StatusCode::from_u16(status).unwrap(), &headers)
    }

    fn request(from: &str) -> Request {
        let request = Request::of_url(&url(from), Duration::from_secs(1)).unwrap();
        let request = request.header("authorization", "hunter2").unwrap();
        request.header("host", "other.example").unwrap()
    }

    /// Where a redirect of a request with a secret and a body leads, and what is sent there.
    fn follow(from: &str, status: u16, to: &str) -> Option<(String, Request)> {
        let request = request(from).method(Method::POST).body("x=1");
        let followed = redirected(&request, from, status, to).unwrap();
        followed.map(|(to, request)| (to.to_string(), request))
    }

    /// Why a redirect of a plain request is not followed.
    fn refused(from: &str, to: &str) -> String {
        redirected(&request(from), from, 302, to).unwrap_err().to_string()
    }

    #[test]
    fn a_redirect_is_followed_as_http_has_it() {
        let (to, request) = follow("http://a:8000/x/y?z", 302, "../w?q=1").unwrap();
        assert_eq!(to, "http://a:8000/w?q=1");
        assert_eq!((request.method.clone(), request.body.0.len()), (Method::GET, 0));
        let (_, request) = follow("http://a/", 307, "/b").unwrap();
        assert_eq!((request.method.clone(), request.body.0.len()), (Method::POST, 3));
        assert_eq!(request.headers["authorization"], "hunter2");
        assert_eq!(request.headers["host"], "other.example");
        let (to, _) = follow("http+unix:///run/a.sock:/x", 301, "http://localhost/y").unwrap();
        assert_eq!(to, "http+unix:///run/a.sock:/y");
        let (to, _) = follow("h2c://a/x", 301, "/y").unwrap();
        assert_eq!(to, "h2c://a/y");
        assert!(follow("http://a/", 304, "/b").is_none());
    }

    #[test]
    fn another_origin_is_told_no_secret() {
        for to in ["http://b/", "https://a/", "//a:81/", "http://a.example/"] {
            let (_, request) = follow("http://a/", 303, to).unwrap();
            assert_eq!(request.headers.get("authorization"), None, "{to}");
            assert_ne!(request.headers["host"], "other.example", "{to}");
            // What went away does not come back with the first origin.
            let back = redirected(&request, "http://b/", 302, "http://a/").unwrap().unwrap().1;
            assert_eq!(back.headers.get("authorization"), None, "{to}");
        }
        let request = request("http://a/").method(Method::POST).body("x=1");
        let error = redirected(&request, "http://a/", 307, "http://b/").unwrap_err().to_string();
        assert!(error.contains("body"), "{error}");
    }

    #[test]
    fn a_redirect_does_not_ask_for_the_machine_s_credentials() {
        for to in
            ["http://169.254.169.254/latest/", "http://2852039166/", "http://[fd00:ec2::254]/"]
        {
            assert!(refused("http://a/", to).contains("own network"), "{to}");
        }
    }

    #[test]
    fn a_redirect_leads_to_http_and_https_only() {
        for to in [
            "http+unix:///var/run/docker.sock:/info",
            "unix:///var/run/docker.sock",
            "container://web",
            "tcp://db:5432",
            "tls://db:5432",
            "h2c://a/",
            "file:///etc/passwd",
            "ftp://a/",
            "gopher://a/",
            "data:,x",
            "javascript:alert(1)",
        ] {
            let error = refused("http://a/", to);
            assert_eq!(
                error,
                format!("a redirect to {to} is not followed: only http and https are followed")
            );
        }
        let down = "a redirect to http://127.0.0.1/ is not followed: it leads from https to http";
        assert_eq!(refused("https://a/", "http://127.0.0.1/"), down);
        // A socket is not reached by its name either.
        let (to, _) = redirected(&request("http://a/"), "http://a/", 302, "http://localhost/")
            .unwrap()
            .unwrap();
        assert_eq!(to.socket, None);
    }

    #[test]
    fn where_a_redirect_leads_is_told_without_what_is_secret() {
        let told = refused("http://a/", "http://me:hunter2@b/x");
        assert_eq!(
            told,
            "a redirect to http://…@b/x is not followed: it holds a user or a password"
        );
        assert!(!refused("http://a/", "http://me:hun/ter2@b/").contains("ter2"));
        assert_eq!(shown("/users/@me"), "/users/@me");
        let long = shown(&format!("http://{}", "x".repeat(9000)));
        assert_eq!(long.chars().count(), 81);
    }

    proptest! {
        #[test]
        fn no_location_leads_elsewhere(
            from in prop::sample::select(vec!["http://a:81/x", "https://a/x", "h2c://a/x", "http+unix:///run/a.sock:/x"]),
            to in "([a-z+2]{0,9}:)?(//)?[\\PC]{0,30}",
        ) {
            let Ok(value) = HeaderValue::from_str(&to) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(LOCATION, value)]);
            let begun = url(from);
            match request(from).redirected(&begun, StatusCode::FOUND, &headers) {
                Ok(Some((to, next))) => {
                    prop_assert!(to.login.is_none());
                    prop_assert!(to.socket.is_none() || to.socket == begun.socket);
                    prop_assert!(begun.scheme != Scheme::Https || to.scheme == Scheme::Https);
                    prop_assert_eq!(next.headers.contains_key("authorization"), begun.shares_origin(&to));
                }
                Ok(None) => prop_assert!(false),
                Err(error) => prop_assert!(error.to_string().chars().count() < 200),
            }
        }
    }
}
