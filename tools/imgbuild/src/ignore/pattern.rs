//! One pattern of an ignore file.
//!
//! The rules are those of moby's `patternmatcher`, which is what docker and
//! BuildKit use: Go's `filepath.Match` within a path component, plus `**`.
//! Three shapes of pattern are matched by plain comparison there, and the
//! comparison is laxer than the general rule (`**file` matches `my-file`), so
//! the shapes are told apart here too.

/// Four times as long as a path may be, in bytes. What it takes to try a pattern grows with it.
const LENGTH_MAX: usize = 16 * 1024;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: Box<str>,
    negated: bool,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    /// No wildcard at all.
    Exact,
    /// Only a `**` at the end.
    Prefix,
    /// Only a `**` at the beginning.
    Suffix,
    Glob(Box<[Token]>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Char(char),
    /// `?`: one character but `/`.
    One,
    /// `*`: any characters but `/`.
    Star,
    /// `**` or `**/` before more: nothing, or anything up to a `/`.
    Dirs,
    /// `**` at the end: anything.
    Rest,
    Class(Box<Class>),
}

/// `[a-z]`. It is apart, since a file may hold a million tokens and has few classes.
#[derive(Debug, Clone, PartialEq)]
struct Class {
    negated: bool,
    ranges: Ranges,
}

/// What is wrong with a pattern. It does not repeat the pattern, which is a file's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is not valid: {0}")]
pub(crate) struct BadPattern(pub(crate) &'static str);

impl Pattern {
    /// Compiles a pattern; `None` for a blank one.
    pub(crate) fn new(raw: &str) -> Result<Option<Self>, BadPattern> {
        let trimmed = raw.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        if trimmed.len() > LENGTH_MAX {
            return Err(BadPattern("the pattern is longer than any path"));
        }
        let cleaned = clean(trimmed);
        let (negated, text): (bool, Box<str>) = match cleaned.strip_prefix('!') {
            Some("") => {
                return Err(BadPattern("`!` needs a pattern behind it"));
            }
            Some(rest) => (true, rest.into()),
            None => (false, cleaned.into()),
        };
        let shape = compile(&text).map_err(BadPattern)?;
        Ok(Some(Self { text, negated, shape }))
    }

    /// Whether the pattern takes back what earlier ones matched.
    pub(crate) fn negated(&self) -> bool {
        self.negated
    }

    /// Whether this very path matches; its parents are not looked at.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match &self.shape {
            Shape::Exact => *path == *self.text,
            Shape::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            Shape::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Shape::Glob(tokens) => glob(tokens, path),
        }
    }

    /// The path below which alone the pattern can match, if its wildcards are
    /// all at the end (`dir`, `dir/*`, `dir/**`).
    pub(crate) fn fixed_prefix(&self) -> Option<&str> {
        let text = self.text.strip_suffix("/**").unwrap_or(&*self.text);
        let text = text.strip_suffix("/*").unwrap_or(text);
        (!text.contains(['*', '[', ']', '?', '^', '\\'])).then_some(text)
    }
}

/// Go's `path.Clean`: no empty and no `.` components, `..` resolved.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn compile(text: &str) -> Result<Shape, &'static str> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut special, mut leading, mut trailing) = (false, false, false);
    let mut at = 0;
    while at < chars.len() {
        let begin = at;
        at += 1;
        match chars[begin] {
            '*' if chars.get(at) == Some(&'*') => {
                at += 1;
                if chars.get(at) == Some(&'/') {
                    at += 1;
                }
                if at < chars.len() {
                    tokens.push(Token::Dirs);
                    special |= begin != 0;
                } else {
                    // Behind another wildcard the plain comparison is off.
                    special |= leading;
                    trailing = begin != 0;
                    tokens.push(Token::Rest);
                }
                leading |= begin == 0;
            }
            '*' => {
                tokens.push(Token::Star);
                special = true;
            }
            '?' => {
                tokens.push(Token::One);
                special = true;
            }
            '\\' => {
                tokens.push(Token::Char(escaped(chars.get(at))?));
                special = true;
                at += 1;
            }
            '[' => {
                let (class, next) = class(&chars, at)?;
                tokens.push(class);
                special = true;
                at = next;
            }
            plain => {
                special |= plain == ']';
                tokens.push(Token::Char(plain));
            }
        }
    }
    Ok(match (special, leading, trailing) {
        (true, ..) => Shape::Glob(tokens.into()),
        (false, true, _) => Shape::Suffix,
        (false, false, true) => Shape::Prefix,
        (false, false, false) => Shape::Exact,
    })
}

/// The character behind a `\`. Of a letter or a digit docker makes something else, or an error: its
/// matcher hands them on to a regular expression.
fn escaped(c: Option<&char>) -> Result<char, &'static str> {
    match c {
        Some(c) if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(*c),
        Some(_) => Err("a `\\` must not stand before a letter or a digit"),
        None => Err("a `\\` at its end escapes nothing"),
    }
}

/// Reads a class behind its `[`: as `filepath.Match` does, with the named classes of regular
/// expressions (`[[:digit:]]`), which docker's matcher takes as well.
fn class(chars: &[char], mut at: usize) -> Result<(Token, usize), &'static str> {
    const OPEN: &str = "a `[` is not closed";
    let negated = chars.get(at) == Some(&'^');
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    let bound = |at: &mut usize| -> Result<char, &'static str> {
        let begin = *at;
        *at += 1;
        match chars.get(begin) {
            Some('-' | ']') => Err("a `-` or `]` in brackets must be escaped"),
            Some('\\') => {
                *at += 1;
                escaped(chars.get(begin + 1))
            }
            Some(plain) => Ok(*plain),
            None => Err(OPEN),
        }
    };
    loop {
        if chars.get(at) == Some(&']') && !ranges.is_empty() {
            return Ok((Token::Class(Box::new(Class { negated, ranges })), at + 1));
        }
        if let Some((named, next)) = named(chars, at) {
            ranges.extend(named?);
            at = next;
            continue;
        }
        let low = bound(&mut at)?;
        let mut high = low;
        if chars.get(at) == Some(&'-') {
            at += 1;
            high = bound(&mut at)?;
        }
        if low > high {
            return Err("a range in brackets runs backwards");
        }
        ranges.push((low, high));
    }
}

type Ranges = Vec<(char, char)>;

/// No class has a longer name.
const NAME_MAX: usize = 16;

/// A class such as `[:digit:]` within brackets, and where it ends.
fn named(chars: &[char], at: usize) -> Option<(Result<Ranges, &'static str>, usize)> {
    let inside = chars.get(at..)?.strip_prefix(&['[', ':'])?;
    let inside = inside.get(..NAME_MAX).unwrap_or(inside);
    let length = inside.windows(2).position(|two| two == [':', ']'])?;
    let name: String = inside.iter().take(length).collect();
    let (negated, name) = name.strip_prefix('^').map_or((false, &name[..]), |name| (true, name));
    let ranges = ascii_class(name).map(|ranges| if negated { others(&ranges) } else { ranges });
    Some((ranges.ok_or("brackets hold an unknown class"), at + 2 + length + 2))
}

/// The classes of RE2, which know ASCII only.
fn ascii_class(name: &str) -> Option<Ranges> {
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(ranges.to_vec())
}

/// All characters but these ranges of ASCII, which are in order.
fn others(ranges: &[(char, char)]) -> Ranges {
    let mut others = Vec::new();
    let mut next = 0_u8;
    let bytes =
        |(low, high): &(char, char)| Some((u8::try_from(*low).ok()?, u8::try_from(*high).ok()?));
    for (low, high) in ranges.iter().filter_map(bytes) {
        if next < low {
            others.push((char::from(next), char::from(low - 1)));
        }
        next = high + 1;
    }
    others.push((char::from(next), char::MAX));
    others
}

/// Follows all ways through the tokens at once, so that no pattern is slow.
fn glob(tokens: &[Token], path: &str) -> bool {
    // Most patterns begin or end with a letter that most paths have not.
    let differs = |token: Option<&Token>, c: Option<char>| match token {
        Some(Token::Char(wanted)) => c != Some(*wanted),
        _ => false,
    };
    if differs(tokens.first(), path.chars().next())
        || differs(tokens.last(), path.chars().next_back())
    {
        return false;
    }
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    // `inside` marks a `**/` that has eaten something and waits for its `/`.
    let mut inside = vec![false; tokens.len()];
    let (mut next, mut next_inside) = (states.clone(), inside.clone());
    skip_empty(tokens, &mut states);
    for c in path.chars() {
        next.fill(false);
        next_inside.fill(false);
        for (at, token) in tokens.iter().enumerate() {
            let here = states[at];
            match token {
                Token::Char(wanted) => next[at + 1] |= here && c == *wanted,
                Token::One => next[at + 1] |= here && c != '/',
                Token::Star => next[at] |= here && c != '/',
                Token::Rest => next[at] |= here,
                Token::Class(class) => {
                    let within = |(low, high): &(char, char)| (*low..=*high).contains(&c);
                    next[at + 1] |= here && class.ranges.iter().any(within) != class.negated;
                }
                Token::Dirs => {
                    if here || inside[at] {
                        next_inside[at] = true;
                        next[at + 1] |= c == '/';
                    }
                }
            }
        }
        skip_empty(tokens, &mut next);
        std::mem::swap(&mut states, &mut next);
        std::mem::swap(&mut inside, &mut next_inside);
    }
    states[tokens.len()]
}

/// Tokens that may match nothing let their successor begin at once.
fn skip_empty(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if states[at] && matches!(token, Token::Star | Token::Rest | Token::Dirs) {
            states[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clean_like_go() {
        for (path, wanted) in [
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("../../a", "../../a"),
            ("/../a", "/a"),
            ("", "."),
            ("/", "/"),
            ("./", "."),
            ("a/b/..", "a"),
            ("!a/", "!a"),
            ("!/a", "!/a"),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(path in "[a./!*]{0,24}") {
            let once = clean(&path);
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn any_pattern_and_path_are_handled(pattern in "[ab*?/!\\\\\\[\\]^.-]{0,20}", path in "[ab/.]{0,30}") {
            if let Ok(Some(pattern)) = Pattern::new(&pattern) {
                let _ = pattern.matches(&path);
            }
        }

        #[test]
        fn a_name_matches_itself_when_it_is_escaped(name in "[a-z*?\\[\\]]{1,12}") {
            let escape = |c: char| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] };
            let escaped: String = name.chars().flat_map(escape).collect();
            prop_assert!(Pattern::new(&escaped).unwrap().unwrap().matches(&name));
        }
    }
}
