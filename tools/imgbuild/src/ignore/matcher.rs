//! A list of patterns, applied in order: the last one that matches decides.

use std::sync::Arc;

use super::pattern::{BadPattern, Pattern};

/// The patterns of one ignore file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matcher {
    patterns: Arc<[Pattern]>,
}

/// What is known of a directory, for its children: the patterns that matched it, one bit each, since
/// a walk holds one of these for every directory on its way down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parent(Vec<u64>);

impl Parent {
    fn of(patterns: usize) -> Self {
        Self(vec![0; patterns.div_ceil(64)])
    }

    fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

impl Matcher {
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let mut compiled = Vec::new();
        for pattern in patterns {
            compiled.extend(Pattern::new(pattern)?);
        }
        Ok(Self::of(compiled))
    }

    /// One of these patterns.
    pub(crate) fn of(patterns: Vec<Pattern>) -> Self {
        Self { patterns: patterns.into() }
    }

    /// Whether `path` matches, and what its children need to know. `parent`
    /// is what this returned for the directory that holds `path`.
    ///
    /// This is `MatchesUsingParentResults` of moby's patternmatcher, down to
    /// the patterns that it passes over since they could not change anything.
    pub(crate) fn matches(&self, path: &str, parent: Option<&Parent>) -> (bool, Parent) {
        let mut matched = false;
        let mut own = Parent::of(self.patterns.len());
        for (at, pattern) in self.patterns.iter().enumerate() {
            let by_parent = parent.is_some_and(|parent| parent.has(at));
            let hit = by_parent || (pattern.negated() == matched && pattern.matches(path));
            if hit {
                own.set(at);
                matched = !pattern.negated();
            }
        }
        (matched, own)
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

    // As docker's own client 28 and BuildKit of Docker 20.10 judge them; the end-to-end tests ask
    // both of them again.
    #[test]
    fn syntax_errors() {
        for pattern in [
            "!",
            "[",
            "[]",
            "[^]",
            "[^",
            "[^bc",
            "a[",
            "[a-z",
            "[]a]",
            "[^]a]",
            "[-]",
            "[x-]",
            "[-x]",
            "[+--]",
            "[a-b-c]",
            "\\",
            "a\\",
            "\\q",
            "[\\q]",
            "\\é",
            "[[:foo:]]",
            "[z-a]",
            "![z-a]",
            "[~-!]",
            "[\\~-\\!]",
            "[ab-aé-a]",
            "**[z-a]",
            "**/[z-a]",
            "no/[z-a]x",
            // Digits to docker's matcher, a `d` by its description: refused rather than guessed.
            "\\d",
            "[\\d]",
        ] {
            assert!(Matcher::new([pattern]).is_err(), "{pattern} was accepted");
        }
        for pattern in [
            "]",
            "a]",
            "[!a]",
            "[^a]",
            "[a-a]",
            "[\\]]",
            "x\\*",
            "[*]",
            "[[:alpha:]]",
            "a^*",
            "[[:]",
        ] {
            assert!(Matcher::new([pattern]).is_ok(), "{pattern} was refused");
        }
    }

    #[test]
    fn named_classes() {
        for (class, hits, misses) in [
            ("[[:alpha:]]", "aZ", "5é[:"),
            ("[[:digit:]x]", "5x", "a:"),
            ("[^[:digit:]]", "a:", "5"),
            ("[[:^digit:]]", "aé", "5"),
            ("[[:word:]-]", "", ""),
            ("[[:punct:]]", "!~[", "a "),
            ("[[:alp]", "[:alp", "x]"),
        ] {
            let Ok(matcher) = Matcher::new([class]) else {
                assert!(hits.is_empty(), "{class}");
                continue;
            };
            for c in hits.chars() {
                assert!(walk(&matcher, &c.to_string()), "{class} should match {c}");
            }
            for c in misses.chars() {
                assert!(!walk(&matcher, &c.to_string()), "{class} should not match {c}");
            }
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
