//! A list of patterns, applied in order: the last one that matches decides.

use super::pattern::{BadPattern, Pattern};

/// The patterns of one ignore file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matcher {
    patterns: Vec<Pattern>,
}

/// What is known of a directory, for its children.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parent(Vec<bool>);

impl Matcher {
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let mut compiled = Vec::new();
        for pattern in patterns {
            compiled.extend(Pattern::new(pattern)?);
        }
        Ok(Self { patterns: compiled })
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `path` matches, and what its children need to know. `parent`
    /// is what this returned for the directory that holds `path`.
    ///
    /// This is `MatchesUsingParentResults` of moby's patternmatcher, down to
    /// the patterns that it passes over since they could not change anything.
    pub(crate) fn matches(&self, path: &str, parent: Option<&Parent>) -> (bool, Parent) {
        let mut matched = false;
        let mut own = vec![false; self.patterns.len()];
        for (at, pattern) in self.patterns.iter().enumerate() {
            let by_parent = parent.is_some_and(|parent| parent.0.get(at) == Some(&true));
            let hit = by_parent || (pattern.negated() == matched && pattern.matches(path));
            own[at] = hit;
            if hit {
                matched = !pattern.negated();
            }
        }
        (matched, Parent(own))
    }

    /// Whether nothing below the excluded directory `path` can be taken back
    /// by a later `!` pattern.
    pub(crate) fn excludes_all_below(&self, path: &str) -> bool {
        self.patterns
            .iter()
            .filter(|pattern| pattern.negated())
            .all(|pattern| pattern.fixed_prefix().is_some_and(|prefix| !reaches(prefix, path)))
    }

    /// Whether nothing below the directory `path`, which does not match
    /// itself, can match.
    pub(crate) fn matches_none_below(&self, path: &str) -> bool {
        self.patterns
            .iter()
            .filter(|pattern| !pattern.negated())
            .all(|pattern| pattern.fixed_prefix().is_some_and(|prefix| !reaches(prefix, path)))
    }
}

/// Whether `prefix` is `directory` or lies below it.
fn reaches(prefix: &str, directory: &str) -> bool {
    prefix.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Asks for a path as a walk does, directory by directory.
    fn walk(matcher: &Matcher, path: &str) -> bool {
        let mut parent = None;
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            let (_, info) = matcher.matches(&path[..at], parent.as_ref());
            parent = Some(info);
        }
        matcher.matches(path, parent.as_ref()).0
    }

    fn one(pattern: &str, path: &str) -> bool {
        walk(&Matcher::new([pattern]).unwrap(), path)
    }

    // The facts of moby/patternmatcher's table.
    #[test]
    fn single_patterns() {
        let hits = [
            ("**", "file"),
            ("**", "file/"),
            ("**/", "file"),
            ("**", "/"),
            ("**/", "dir/file/"),
            ("**/**", "dir/file"),
            ("dir/**", "dir/file"),
            ("dir/**", "dir/dir2/file/"),
            ("**/dir", "dir"),
            ("**/dir", "dir/file"),
            ("**/dir2/*", "dir/dir2/file"),
            ("**/dir2/*", "dir/dir2/file/"),
            ("**/dir2/**", "dir/dir2/dir3/file"),
            ("**file", "file"),
            ("**file", "dir/file"),
            ("**/file", "dir/file"),
            ("**file", "dir/dir/file"),
            ("**/file", "dir/dir/file"),
            ("**/file*", "dir/dir/file"),
            ("**/file*", "dir/dir/file.txt"),
            ("**/file*txt", "dir/dir/file.txt"),
            ("**/file*.txt", "dir/dir/file.txt"),
            ("**/file*.txt*", "dir/dir/file.txt"),
            ("**/**/*.txt", "dir/dir/file.txt"),
            ("**/*.txt", "file.txt"),
            ("**/**/*.txt", "file.txt"),
            ("a**/*.txt", "a/file.txt"),
            ("a**/*.txt", "a/dir/file.txt"),
            ("a**/*.txt", "a/dir/dir/file.txt"),
            ("a/*.txt", "a/file.txt"),
            ("a/*.txt**", "a/file.txt"),
            ("a[b-d]e", "ace"),
            ("a[^b-d]e", "aze"),
            (".*", ".foo"),
            ("abc.def", "abc.def"),
            ("abc?def", "abcZdef"),
            ("**/foo/bar", "foo/bar"),
            ("**/foo/bar", "dir/foo/bar"),
            ("**/foo/bar", "dir/dir2/foo/bar"),
            ("abc/**", "abc/def"),
            ("abc/**", "abc/def/ghi"),
            ("**/.foo", ".foo"),
            ("a(b)c/def", "a(b)c/def"),
            ("a.|)$(}+{bc", "a.|)$(}+{bc"),
            ("dist/*.whl", "dist/p-2.4.0+g08-py3-none-any.whl"),
            ("a\\\\", "a\\"),
            ("a\\*b", "a*b"),
            // Go's own table for filepath.Match, with parents.
            ("a*", "ab/c"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("a?b", "a☺b"),
            ("a[^a]b", "a☺b"),
            ("[a-ζ]*", "α"),
            ("[\\]a]", "]"),
            ("[x\\-]", "-"),
            ("[\\-x]", "x"),
            ("*x", "xxx"),
        ];
        for (pattern, path) in hits {
            assert!(one(pattern, path), "{pattern} should match {path}");
        }
        let misses = [
            ("**/**/*.txt2", "dir/dir/file.txt"),
            ("a/*.txt", "a/dir/file.txt"),
            ("a[b-d]e", "ae"),
            ("a[b-d]e", "aae"),
            (".*", "foo"),
            ("abc.def", "abcdef"),
            ("abc.def", "abcZdef"),
            ("abc?def", "abcdef"),
            ("abc/**", "abc"),
            ("**/.foo", "bar.foo"),
            ("a(b)c/def", "a(b)c/xyz"),
            ("a*/b", "a/c/b"),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f"),
            ("a*b?c*x", "abxbbxdbxebxczzy"),
            ("ab[^c]", "abc"),
            ("a\\*b", "ab"),
            ("a???b", "a☺b"),
            ("*[a-ζ]", "A"),
            ("a?b", "a/b"),
            ("a*b", "a/b"),
            ("[x\\-]", "z"),
        ];
        for (pattern, path) in misses {
            assert!(!one(pattern, path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn order_and_exceptions() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["!fileutils.go", "*.go"], "fileutils.go", true),
            (&["*.go", "!fileutils.go"], "fileutils.go", false),
            (&["docs", "!docs/README.md"], "docs/README.md", false),
            (&["docs/", "!docs/README.md"], "docs/README.md", false),
            (&["docs/*", "!docs/README.md"], "docs/README.md", false),
            (&["docs", "  !docs/README.md"], "docs/README.md", false),
            (&["docs", "!docs/README.md  ", ""], "docs/README.md", false),
            (&["**", "!util/docker/web"], "util/docker/web/foo", false),
            (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
            (&["**", "!dist/*.whl"], "dist/p+1.whl", false),
            (&["*", "!webapp", "**/*.py[co]"], "webapp/x.pyc", true),
            (&["*", "!webapp", "**/*.py[co]"], "webapp/x.py", false),
            (&[], "any", false),
        ];
        for (patterns, path, wanted) in cases {
            let matcher = Matcher::new(patterns.iter().copied()).unwrap();
            assert_eq!(walk(&matcher, path), *wanted, "{patterns:?} on {path}");
        }
    }

    #[test]
    fn syntax_errors() {
        for pattern in
            ["!", "[", "[^", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]"]
        {
            assert!(Matcher::new([pattern]).is_err(), "{pattern} was accepted");
        }
    }

    #[test]
    fn a_directory_is_skipped_only_when_nothing_below_can_come_back() {
        let matcher = Matcher::new(["*", "!webapp/static/**", "!a*b"]).unwrap();
        assert!(!matcher.excludes_all_below("webapp"), "a wildcard exception may be anywhere");
        let matcher = Matcher::new(["*", "!webapp/static/**"]).unwrap();
        assert!(!matcher.excludes_all_below("webapp"));
        assert!(matcher.excludes_all_below("web") && matcher.excludes_all_below("tests"));
        let includes = Matcher::new(["src/main.py", "*.txt"]).unwrap();
        assert!(!includes.matches_none_below("tests"));
        let includes = Matcher::new(["src/main.py"]).unwrap();
        assert!(includes.matches_none_below("tests") && !includes.matches_none_below("src"));
    }

    proptest! {
        #[test]
        fn skipping_a_directory_never_loses_a_file(
            patterns in proptest::collection::vec("!?[ab*/]{1,6}", 1..5),
            path in "[ab]{1,2}(/[ab]{1,2}){1,3}",
        ) {
            let Ok(matcher) = Matcher::new(patterns.iter().map(String::as_str)) else { return Ok(()) };
            for (at, _) in path.match_indices('/') {
                let directory = &path[..at];
                if walk(&matcher, directory) && matcher.excludes_all_below(directory) {
                    prop_assert!(walk(&matcher, &path), "{patterns:?}: {directory} skipped, {path} lost");
                }
            }
        }
    }
}
