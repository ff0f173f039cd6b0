//! What clients tell of themselves, and what a load balancer does.

use super::place::{Talk, all_of, headers, place};
use super::site::one;

/// What only a proxy has to tell, each as some application or framework believes it. An underscore
/// is the same as a hyphen to all that hand headers on as variables (WSGI, CGI, PHP).
const CLAIMS: &str = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Prefix: /evil\r\nX_Forwarded_For: 203.0.113.8\r\nX-Real-IP: 203.0.113.9\r\nX_Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.10;host=shop.example\r\nTrue-Client-IP: 203.0.113.11\r\nX-Original-URL: /admin\r\n";

#[test]
fn what_a_client_claims_of_itself_does_not_reach_the_application() {
    let app = place("green-claims", 8250);
    app.turned(one(), &[]);
    let mut talk = Talk::to(&app);
    let mine = talk.stream.local_addr().unwrap().ip().to_string();
    let (_, body) = talk.ask("/headers", CLAIMS);
    assert!(!body.contains("203.0.113") && !body.contains("shop.example"), "{body}");
    let seen: Vec<(String, String)> = serde_json::from_str(&body).unwrap();
    assert_eq!(all_of(&seen, "x-forwarded-for"), [mine.as_str()]);
    assert_eq!(all_of(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(all_of(&seen, "x-forwarded-host"), ["app.example"]);
    assert_eq!(all_of(&seen, "x-forwarded-port"), ["8250"]);
    assert_eq!(all_of(&seen, "x-real-ip"), [mine.as_str()]);
    assert_eq!(all_of(&seen, "forwarded"), [format!("for={mine};proto=http")]);
    for name in ["x-forwarded-prefix", "x_forwarded_for", "x_real-ip", "x-original-url"] {
        assert!(all_of(&seen, name).is_empty(), "{name}: {seen:?}");
    }
}

#[test]
fn what_a_trusted_proxy_tells_is_kept() {
    let app = place("green-trusted", 8251);
    app.turned(one(), &["--trusted-proxy", "2001:db8::/32", "--trusted-proxy", "198.18.0.0/15"]);
    let mine = Talk::to(&app).stream.local_addr().unwrap().ip().to_string();
    let seen = headers(&app, CLAIMS);
    assert_eq!(all_of(&seen, "x-forwarded-proto"), ["https"]);
    assert_eq!(all_of(&seen, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(all_of(&seen, "x-forwarded-port"), ["443"]);
    assert_eq!(all_of(&seen, "x-forwarded-for").join(", "), format!("203.0.113.7, {mine}"));
    assert_eq!(all_of(&seen, "x-real-ip"), ["203.0.113.9"]);
    let forwarded = format!("for=203.0.113.10;host=shop.example, for={mine};proto=http");
    assert_eq!(all_of(&seen, "forwarded").join(", "), forwarded);
    // A load balancer passes on what it does not know: names with underscores are its client's.
    assert!(all_of(&seen, "x_forwarded_for").is_empty(), "{seen:?}");
    // What it does not tell is what the front sees.
    let seen = headers(&app, "");
    assert_eq!(all_of(&seen, "x-forwarded-for"), [mine.as_str()]);
    assert_eq!(all_of(&seen, "x-forwarded-proto"), ["http"]);
    assert!(all_of(&seen, "forwarded").is_empty(), "{seen:?}");

    // A front that is told of other proxies forgets those of before.
    app.turned(one(), &["--trusted-proxy", "192.0.2.1"]);
    let seen = headers(&app, CLAIMS);
    assert_eq!(all_of(&seen, "x-forwarded-for"), [mine.as_str()]);
}

#[test]
fn an_upgrade_to_another_protocol_does_not_reach_the_application() {
    const H2C: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let app = place("green-h2c", 8252);
    app.turned(one(), &[]);
    let seen = headers(&app, H2C);
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(all_of(&seen, name).is_empty(), "{name}: {seen:?}");
    }
    // Nor what a client would have the application take for its own connection's.
    let seen = headers(&app, "Connection: close, X-Forwarded-For\r\n");
    assert!(!all_of(&seen, "connection").join(",").contains("orwarded"), "{seen:?}");
    // Where it is asked for, it does.
    app.turned(one(), &["--front-upgrade", "websocket", "--front-upgrade", "h2c"]);
    assert_eq!(all_of(&headers(&app, H2C), "upgrade"), ["h2c"]);
    assert!(all_of(&headers(&app, &H2C.replace("h2c", "h3c")), "upgrade").is_empty());
}
