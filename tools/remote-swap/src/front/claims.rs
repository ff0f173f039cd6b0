//! What the headers of a request claim of the client, and what the front tells itself. Pure.

use std::fmt::Write;

/// Headers that only a proxy has to set. Each is believed by some server, framework or library.
const CLAIMS: &[&str] = &[
    "forwarded",
    "x-forwarded",
    "x-forwarded-.*",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-for",
    "x-original-host",
    "x-original-proto",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
];

/// The rules for what a client, or a proxy before the front, tells.
pub(super) struct Claims {
    /// Whether some peers are trusted (`acl trusted`).
    some_trusted: bool,
    /// The published port.
    port: u16,
}

impl Claims {
    pub(super) fn new(some_trusted: bool, port: u16) -> Self {
        Self { some_trusted, port }
    }

    pub(super) fn text(&self) -> String {
        let unless = if self.some_trusted { " unless trusted" } else { "" };
        let mut text = format!(
            "  http-request del-header '^({})$' -m reg{unless}
  http-request del-header '^(proxy|{})$' -m reg
",
            pattern(CLAIMS.iter().map(|name| name.replace('-', "[-_]"))),
            pattern(CLAIMS.iter().flat_map(|name| with_underscores(name))),
        );
        let port = self.port.to_string();
        for (name, value) in [
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "%[req.hdr(Host)]"),
            ("X-Forwarded-Port", port.as_str()),
        ] {
            let _ = writeln!(
                text,
                "  http-request set-header {name} {value} unless {{ req.hdr({name}) -m found }}"
            );
        }
        // Where a trusted proxy says none of it, this front does not begin to: whoever reads
        // `Forwarded` would believe that in the place of the proxy's X-Forwarded-For.
        let tells = if self.some_trusted {
            text.push_str("  acl tells req.hdr(Forwarded) -m found\n");
            text.push_str("  http-request set-var(txn.tells) bool(true) if !trusted or tells\n");
            "{ var(txn.tells) -m bool } "
        } else {
            ""
        };
        let _ = write!(
            text,
            "  http-request set-header X-Real-IP %[src]{unless}
  http-request add-header Forwarded 'for=%[src];proto=http' if {tells}!{{ src -m sub : }}
  http-request add-header Forwarded 'for=\"[%[src]]\";proto=http' if {tells}{{ src -m sub : }}
  option forwardfor
"
        );
        text
    }
}

fn pattern(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join("|")
}

/// The ways to write a name with at least one underscore. To an application that gets headers as
/// variables (WSGI, CGI, PHP) they are the same name, and a proxy that sets the usual one passes
/// the others on as its client sent them.
fn with_underscores(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('-').collect();
    (1..parts.len())
        .map(|at| format!("{}_{}", parts[..at].join("[-_]"), parts[at..].join("[-_]")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_anywhere() {
        assert_eq!(with_underscores("forwarded"), Vec::<String>::new());
        assert_eq!(with_underscores("x-real-ip"), ["x_real[-_]ip", "x[-_]real_ip"]);
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        assert!(!Claims::new(false, 80).text().contains("trusted"));
        let text = Claims::new(true, 80).text();
        assert_eq!(text.matches("unless trusted").count(), 2);
        // Words of the configuration, none of which ends early.
        assert!(text.lines().all(|line| line.matches('\'').count() % 2 == 0), "{text}");
    }
}
