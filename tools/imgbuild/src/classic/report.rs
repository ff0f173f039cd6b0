//! The classic builder's account of a build: plain lines, from which steps and the image's id are
//! read. Docker and Podman word them alike.

use std::collections::VecDeque;
use std::mem;

use slipway_untrusted::clean_line;
use slipway_untrusted::limit::ENGINE_MESSAGE;

use crate::mask::Mask;

/// How many of a step's last lines are kept for an error.
const TAIL: usize = 50;

/// What is known of the build so far.
#[derive(Default)]
pub(crate) struct Report {
    mask: Mask,
    /// The step that runs: its number, how many there are, and its text.
    pub(crate) step: Option<Step>,
    pub(crate) cached: u32,
    /// The last lines of the step's output.
    log: VecDeque<String>,
    id: Option<String>,
    /// A line that has no end yet.
    rest: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) number: u32,
    pub(crate) of: u32,
    pub(crate) text: String,
}

impl Report {
    /// A report that shows nothing of what `mask` hides.
    pub(crate) fn new(mask: Mask) -> Self {
        Self { mask, ..Self::default() }
    }

    /// What is hidden.
    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Takes a piece of the account; whole lines go to `each`, and what is too long for one in pieces.
    pub(crate) fn take(&mut self, text: &str, each: &mut dyn FnMut(&str)) {
        for piece in text.split_inclusive('\n') {
            self.rest.push_str(piece);
            if !piece.ends_with('\n') && ENGINE_MESSAGE.admit(self.rest.len() as u64).is_ok() {
                continue;
            }
            let line = mem::take(&mut self.rest);
            let line = clean_line(&self.mask.hide(line.trim_end())).into_owned();
            if !line.is_empty() {
                self.line(&line);
                each(&line);
            }
        }
    }

    /// Takes the id that the engine tells apart from the lines.
    pub(crate) fn told_id(&mut self, id: &str) {
        self.id = Some(id.to_owned());
    }

    /// The image's id: the last that was told.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The last lines of the step that runs.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.log.iter().cloned().collect()
    }

    fn line(&mut self, line: &str) {
        if let Some(step) = step(line) {
            self.step = Some(step);
            self.log.clear();
            return;
        }
        if line.trim_start_matches(['-', ' ']).trim_start_matches("> ").starts_with("Using cache") {
            self.cached += 1;
            return;
        }
        if let Some(short) = line.strip_prefix("Successfully built ") {
            // The whole id, if it was told, says more.
            self.id.get_or_insert_with(|| short.to_owned());
            return;
        }
        if line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.id = Some(format!("sha256:{line}"));
            return;
        }
        if self.log.len() == TAIL {
            self.log.pop_front();
        }
        self.log.push_back(line.to_owned());
    }
}

/// `Step 2/3 : RUN make` of Docker, `STEP 2/3: RUN make` of Podman, which puts `[1/2] ` before it
/// where there are several stages.
fn step(line: &str) -> Option<Step> {
    let line = match line.strip_prefix('[') {
        Some(rest) => rest.split_once("] ")?.1,
        None => line,
    };
    let rest = line.strip_prefix("Step ").or_else(|| line.strip_prefix("STEP "))?;
    let (place, text) = rest.split_once(':')?;
    let (number, of) = place.trim().split_once('/')?;
    Some(Step { number: number.parse().ok()?, of: of.parse().ok()?, text: text.trim().to_owned() })
}

/// The exit code of the command that ended a build, by the engine's last words.
pub(crate) fn exit_code(message: &str) -> Option<i64> {
    let words = ["returned a non-zero code: ", "exit status ", "exit code: "];
    let rest = words.iter().find_map(|words| message.rsplit_once(words))?.1;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> (Report, Vec<String>) {
        let mut report = Report::default();
        let mut lines = Vec::new();
        for piece in pieces {
            report.take(piece, &mut |line| lines.push(line.to_owned()));
        }
        (report, lines)
    }

    #[test]
    fn dockers_words() {
        let (report, lines) = read(&[
            "Step 1/3 : FROM scratch\n",
            " ---> ",
            "\n",
            "Step 2/3 : COPY . /\n ---> Using cache\n ---> 0123456789ab\n",
            "Step 3/3 : RUN make\n",
            " ---> Running in ba9876543210\none\ntw",
            "o\n",
            "Successfully built 0123456789ab\n",
        ]);
        assert_eq!(report.step, Some(Step { number: 3, of: 3, text: "RUN make".into() }));
        assert_eq!((report.cached, report.id()), (1, Some("0123456789ab")));
        assert_eq!(report.tail()[1..], ["one", "two"]);
        assert!(lines.contains(&"two".to_owned()));
    }

    #[test]
    fn podmans_words() {
        let id = "ab".repeat(32);
        let (report, _) = read(&[
            "[1/2] STEP 1/2: FROM scratch AS one\n",
            "[2/2] STEP 2/2: RUN make: all\n--> Using cache 01\n",
            &format!("{id}\n"),
        ]);
        assert_eq!(report.step, Some(Step { number: 2, of: 2, text: "RUN make: all".into() }));
        assert_eq!(report.cached, 1);
        assert_eq!(report.id(), Some(format!("sha256:{id}").as_str()));
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever_and_none_steers_a_terminal() {
        let (report, lines) = read(&["x".repeat(600_000).as_str(); 4]);
        assert!(report.rest.len() < 2 * 600_000 && lines.len() == 2, "{}", lines.len());
        assert!(lines.iter().all(|line| line.len() < 5000));
        let (report, lines) = read(&["Step 1/2 : RUN \u{1b}]0;x\u{7}\n\u{1b}[31mred\rno\n"]);
        assert_eq!(lines, ["Step 1/2 : RUN \\u{1b}]0;x\\u{7}", "red\\u{d}no"]);
        assert_eq!(report.step.unwrap().text, "RUN \\u{1b}]0;x\\u{7}");
    }

    #[test]
    fn exit_codes() {
        let docker = "The command '/bin/sh -c exit 3' returned a non-zero code: 3";
        assert_eq!(exit_code(docker), Some(3));
        let podman = "building at STEP \"RUN exit 3\": while running runtime: exit status 3";
        assert_eq!(exit_code(podman), Some(3));
        assert_eq!(exit_code("no space left"), None);
    }
}
