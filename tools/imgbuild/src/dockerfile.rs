//! Where in a Dockerfile a step stands.
//!
//! The engine tells a failed step by its place in its stage and its text, not
//! by its line. This finds the line for people to look at; it judges nothing.

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instruction {
    /// The first line, from 1.
    line: usize,
    /// In capitals.
    word: String,
    /// What follows, continuation lines joined, white space made uniform.
    rest: String,
}

/// The line of the step with this text, such as `RUN make all`, that is the
/// `number`th of its stage `stage`.
pub(crate) fn line_of(
    dockerfile: &str,
    stage: Option<&str>,
    number: u32,
    text: &str,
) -> Option<usize> {
    let instructions = parse(dockerfile);
    let text = uniform(text);
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let same: Vec<&Instruction> = instructions.iter().filter(|i| i.word == word).collect();
    let exact: Vec<&&Instruction> = same.iter().filter(|i| i.rest == rest).collect();
    if let [only] = exact[..] {
        return Some(only.line);
    }
    // The same text twice, or one whose variables were filled in: count.
    let counted = nth(&instructions, stage, number).filter(|i| i.word == word);
    counted.map(|i| i.line).or_else(|| exact.first().map(|i| i.line)).or(match same[..] {
        [only] => Some(only.line),
        _ => None,
    })
}

/// A step, by its place in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The stage's name; none in a file of one stage.
    pub(crate) stage: Option<String>,
    /// Its place among the stage's steps, from 1, which is FROM.
    pub(crate) number: u32,
    /// How many steps the stage has.
    pub(crate) of: u32,
    /// The instruction, white space made uniform.
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The ADD that fetches `source`: what the engine fetches for it is a step of its own to the
/// engine, which knows it by the source's address only.
pub(crate) fn step_that_adds(dockerfile: &str, source: &str) -> Option<Found> {
    let instructions = parse(dockerfile);
    let steps = steps(&instructions);
    let adds = |step: &&Step<'_>| {
        step.instruction.word == "ADD"
            && step
                .instruction
                .rest
                .split(' ')
                .any(|word| word.trim_matches(['"', '[', ']', ',']) == source)
    };
    let found = steps.iter().find(adds)?;
    let of = steps.iter().filter(|step| step.stage == found.stage).count();
    let stages = instructions.iter().filter(|instruction| instruction.word == "FROM").count();
    Some(Found {
        stage: (stages > 1).then(|| found.stage.clone()),
        number: found.number,
        of: u32::try_from(of).unwrap_or(u32::MAX),
        text: format!("{} {}", found.instruction.word, found.instruction.rest),
        line: found.instruction.line,
    })
}

/// Whether an ARG declares `name`.
pub(crate) fn declares(dockerfile: &str, name: &str) -> bool {
    let declared = |instruction: &Instruction| {
        let mut words = instruction.rest.split(' ');
        instruction.word == "ARG" && words.any(|word| word.split('=').next() == Some(name))
    };
    parse(dockerfile).iter().any(declared)
}

/// An instruction that makes a step, with its place in its stage.
struct Step<'a> {
    stage: String,
    number: u32,
    instruction: &'a Instruction,
}

fn steps(instructions: &[Instruction]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let (mut stage, mut number, mut index) = (String::new(), 0, 0);
    for instruction in instructions {
        match instruction.word.as_str() {
            "FROM" => {
                let name = instruction.rest.rsplit_once(' ').filter(|(before, _)| {
                    before.rsplit(' ').next().is_some_and(|word| word.eq_ignore_ascii_case("as"))
                });
                stage = name.map_or_else(
                    || format!("stage-{index}"),
                    |(_, name)| name.to_ascii_lowercase(),
                );
                index += 1;
                number = 1;
            }
            "RUN" | "COPY" | "ADD" | "WORKDIR" => number += 1,
            _ => continue,
        }
        steps.push(Step { stage: stage.clone(), number, instruction });
    }
    steps
}

/// The `number`th instruction of the stage that makes a step; FROM is the first.
fn nth<'a>(
    instructions: &'a [Instruction],
    stage: Option<&str>,
    number: u32,
) -> Option<&'a Instruction> {
    let mut steps = steps(instructions).into_iter();
    let step = steps.find(|step| {
        step.number == number && stage.is_none_or(|stage| stage.eq_ignore_ascii_case(&step.stage))
    });
    step.map(|step| step.instruction)
}

fn parse(dockerfile: &str) -> Vec<Instruction> {
    let escape = escape(dockerfile);
    let mut instructions = Vec::new();
    let mut lines = dockerfile.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut text = String::new();
        let mut current = line;
        loop {
            match current.strip_suffix(escape) {
                Some(before) => text.push_str(before),
                None => {
                    text.push_str(current);
                    break;
                }
            }
            // Comments and blank lines inside a continued line are skipped.
            match lines
                .by_ref()
                .find(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'))
            {
                Some((_, next)) => current = next.trim_end(),
                None => break,
            }
        }
        for delimiter in heredocs(&text) {
            for (_, line) in lines.by_ref() {
                if line.trim_start_matches('\t') == delimiter {
                    break;
                }
            }
        }
        let text = uniform(&text);
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        instructions.push(Instruction {
            line: at + 1,
            word: word.to_ascii_uppercase(),
            rest: rest.to_owned(),
        });
    }
    instructions
}

/// The character that continues a line: `\`, or what the directive says.
fn escape(dockerfile: &str) -> char {
    dockerfile
        .lines()
        .map_while(|line| line.trim().strip_prefix('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("escape"))
        .and_then(|(_, value)| value.trim().chars().next())
        .unwrap_or('\\')
}

/// The words that end the here-documents that begin in this line.
fn heredocs(text: &str) -> Vec<String> {
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(word.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    text.split("<<")
        .skip(1)
        .filter_map(|after| {
            let after = after.strip_prefix('-').unwrap_or(after);
            let name: String = after
                .trim_start_matches(['"', '\''])
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some(name)
        })
        .collect()
}

fn uniform(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "\
# syntax=docker/dockerfile:1
ARG BASE=debian
FROM ${BASE} AS builder
RUN apt-get update \\
    # a comment
    && apt-get install -y gcc
COPY . /src
RUN make

FROM scratch
WORKDIR /app
COPY --from=builder /src/$NAME /app/
RUN <<EOF
FROM here on
EOF
RUN make
";

    #[test]
    fn lines_by_text_and_by_number() {
        let line = |stage, number, text| line_of(FILE, stage, number, text);
        assert_eq!(
            line(Some("builder"), 2, "RUN apt-get update     && apt-get install -y gcc"),
            Some(4)
        );
        assert_eq!(line(Some("builder"), 4, "RUN make"), Some(8));
        assert_eq!(line(Some("stage-1"), 5, "RUN make"), Some(16));
        assert_eq!(line(Some("stage-1"), 3, "COPY --from=builder /src/x /app/"), Some(12));
        assert_eq!(line(None, 1, "FROM docker.io/library/debian"), Some(3));
        assert_eq!(line(None, 9, "ADD x y"), None);
    }

    #[test]
    fn another_escape_character() {
        let file = "# escape=`\nFROM x\nRUN a `\n  b\nRUN c\n";
        assert_eq!(line_of(file, None, 2, "RUN a b"), Some(3));
        assert_eq!(line_of(file, None, 3, "RUN c"), Some(5));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_fault(file in "([A-Z# \\\\<\n-]|RUN|FROM|<<EOF){0,60}") {
            let _ = line_of(&file, None, 2, "RUN x");
        }
    }

    #[test]
    fn arguments_that_are_declared() {
        let file = "ARG A\nFROM x\narg B=1 C=\"x y\" \\\n  D\nRUN echo ARG E\n# ARG F\n";
        for (name, declared) in
            [("A", true), ("B", true), ("C", true), ("D", true), ("E", false), ("F", false)]
        {
            assert_eq!(declares(file, name), declared, "{name}");
        }
    }

    #[test]
    fn an_add_is_found_by_what_it_fetches() {
        let file = "FROM a AS one\nRUN x\nFROM b\nWORKDIR /w\nADD --chmod=600 \\\n  https://x.example/f /f\nRUN y\n";
        let found = step_that_adds(file, "https://x.example/f").unwrap();
        assert_eq!((found.number, found.of, found.line), (3, 4, 5));
        assert_eq!(found.stage.as_deref(), Some("stage-1"));
        assert_eq!(found.text, "ADD --chmod=600 https://x.example/f /f");
        assert_eq!(step_that_adds(file, "https://x.example/other"), None);
        let json = "FROM a\nADD [\"http://x.example/f\", \"/f\"]\n";
        assert_eq!(step_that_adds(json, "http://x.example/f").unwrap().stage, None);
    }
}
