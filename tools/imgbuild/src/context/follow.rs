//! The paths that a build asks for, with the links on the way to them.
//!
//! BuildKit names the sources of a Dockerfile's COPY lines so that only those
//! are sent. A source may lead through links, and then the link and what it
//! leads to are both needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::name;
use crate::ignore::{Matcher, clean};

/// Links that lead to links end somewhere; a circle does not.
const DEPTH_MAX: usize = 255;

/// The patterns to include for these paths; `None` when one is the root, so
/// that everything is wanted.
pub(crate) fn follow(root: &Path, paths: &[String]) -> Option<Vec<String>> {
    let mut found = BTreeSet::new();
    for path in paths {
        resolve(root, path, &mut found, 0);
    }
    if found.contains(".") || found.contains("") {
        return None;
    }
    Some(found.into_iter().collect())
}

fn resolve(root: &Path, path: &str, found: &mut BTreeSet<String>, depth: usize) {
    // A path that climbs above the root stays in it.
    let path = clean(&format!("/{path}"));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        found.insert(".".to_owned());
        return;
    }
    let mut current = String::new();
    for (at, part) in parts.iter().enumerate() {
        let directory = current.clone();
        if !current.is_empty() {
            current.push('/');
        }
        current.push_str(part);
        let targets = targets(root, &directory, part);
        if targets.is_empty() {
            continue;
        }
        if !found.insert(current.clone()) || depth == DEPTH_MAX {
            return;
        }
        let rest = parts[at + 1..].join("/");
        for target in targets {
            resolve(root, &format!("{target}/{rest}"), found, depth + 1);
        }
        return;
    }
    found.insert(current);
}

/// Where the links lead that `part` names in `directory`, as paths from the
/// root; a part with wildcards may name several.
fn targets(root: &Path, directory: &str, part: &str) -> Vec<String> {
    if !part.contains(['*', '?', '[']) {
        return link(root, directory, part).into_iter().collect();
    }
    let Ok(matcher) = Matcher::new([part]) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(root.join(name::name(directory))) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| name::text(&entry.file_name()).into_owned())
        .filter(|name| matcher.matches(name, None).0)
        .filter_map(|name| link(root, directory, &name))
        .collect()
}

fn link(root: &Path, directory: &str, name: &str) -> Option<String> {
    let path = root.join(name::name(directory)).join(name::name(name));
    let target = fs::read_link(path).ok()?;
    let target = name::text(target.as_os_str());
    Some(if target.starts_with('/') {
        target.into_owned()
    } else {
        format!("{directory}/{target}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn of(root: &Path, paths: &[&str]) -> Option<Vec<String>> {
        follow(root, &paths.iter().map(|&p| p.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn links_bring_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("real/sub")).unwrap();
        fs::write(root.join("real/sub/f"), "").unwrap();
        symlink("real", root.join("alias")).unwrap();
        symlink("/real/sub/f", root.join("abs")).unwrap();
        symlink("../../../etc/passwd", root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();

        let some = |paths: &[&str]| Some(paths.iter().map(|&p| p.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(root, &["real/sub"]), some(&["real/sub"]));
        assert_eq!(of(root, &["/missing"]), some(&["missing"]));
        assert_eq!(of(root, &["alias/sub/f"]), some(&["alias", "real/sub/f"]));
        assert_eq!(of(root, &["abs"]), some(&["abs", "real/sub/f"]));
        assert_eq!(of(root, &["up"]), some(&["etc/passwd", "up"]));
        assert_eq!(of(root, &["loop"]), some(&["loop"]));
        assert_eq!(of(root, &["al*"]), some(&["al*", "real"]));
        assert_eq!(of(root, &["real", "."]), None);
        assert_eq!(of(root, &["real/.."]), None);
    }
}
