//! What a script can say.

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Directive {
    /// Say a line so many times.
    Say { times: u64, line: String },
    /// Wait so many milliseconds.
    Sleep(u64),
    /// Wait for the release of this name.
    Hold(String),
    /// Ask, and say the answer.
    Ask(String),
    /// End the turn as failed.
    Fail(String),
    /// End the process.
    Exit(i32),
    /// Don't stop when asked to.
    IgnoreCancel,
}

impl Directive {
    /// Reads a line; a blank one is nothing, and one that is no directive is said as it is.
    pub(super) fn parse(line: &str) -> Option<Self> {
        if line.trim().is_empty() {
            return None;
        }
        Some(Self::known(line).unwrap_or_else(|| Self::say(line)))
    }

    fn say(line: &str) -> Self {
        Self::Say {
            times: 1,
            line: line.to_owned(),
        }
    }

    fn known(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let given = (!rest.trim().is_empty()).then(|| rest.trim().to_owned());
        match word {
            "say" => Some(Self::say(rest)),
            "repeat" => {
                let (times, line) = rest.split_once(' ').unwrap_or((rest, ""));
                Some(Self::Say {
                    times: times.parse().ok()?,
                    line: line.to_owned(),
                })
            }
            "sleep" => Some(Self::Sleep(rest.trim().parse().ok()?)),
            "hold" => given.map(Self::Hold),
            "ask" => given.map(Self::Ask),
            "fail" => given.map(Self::Fail),
            "exit" => {
                let code = rest.trim().parse::<u8>().ok()?;
                Some(Self::Exit(code.into()))
            }
            "ignore-cancel" if given.is_none() => Some(Self::IgnoreCancel),
            _ => None,
        }
    }
}

/// The name in `release NAME`.
pub(super) fn released(line: &str) -> Option<&str> {
    let name = line.strip_prefix("release ")?.trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_directive_is_said_as_it_is() {
        for line in [
            "hello",
            "sleep well",
            "repeat x y",
            "hold",
            "exit 256",
            "  say x",
            "fail",
            "sayx",
        ] {
            assert_eq!(Directive::parse(line), Some(Directive::say(line)), "{line}");
        }
        assert_eq!(Directive::parse(" \t"), None);
    }

    #[test]
    fn every_directive_is_read() {
        let text = || "a  b".to_owned();
        for (line, directive) in [
            ("say a  b", Directive::say("a  b")),
            ("say", Directive::say("")),
            (
                "repeat 3 a  b",
                Directive::Say {
                    times: 3,
                    line: text(),
                },
            ),
            ("sleep 10", Directive::Sleep(10)),
            ("hold a  b", Directive::Hold(text())),
            ("ask a  b", Directive::Ask(text())),
            ("fail a  b", Directive::Fail(text())),
            ("exit 3", Directive::Exit(3)),
            ("ignore-cancel", Directive::IgnoreCancel),
        ] {
            assert_eq!(Directive::parse(line), Some(directive), "{line}");
        }
        assert_eq!(released("release a"), Some("a"));
        assert_eq!(released("release "), None);
    }
}
