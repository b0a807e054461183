//! Finding the shell's reports in what the terminal shows.
//!
//! A report is an operating system command of the terminal's language that no terminal knows: `ESC ] 7717 ; NONCE ; RUN ; WORD BEL`. The
//! nonce is the session's secret. Whatever is no report comes out unchanged, however the bytes are cut.

/// What every report begins with, after the escape character.
const NUMBER: &str = "]7717;";

/// Bytes that a report has at most after its prefix.
const BODY_BYTES: usize = 48;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

/// What a shell reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The run's script begins.
    Start,
    /// The script has ended, with this exit code.
    End(i32),
    /// The shell is back at its prompt, with this exit code: the script was interrupted, or could not be read.
    Back(i32),
    /// The prompt itself is shown, by the shell with this process id.
    Lost(i32),
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Output.
    Output(Vec<u8>),
    /// A report.
    Report {
        /// The number of the run that it names.
        run: u64,
        /// What it says.
        word: Word,
        /// The report as it was written.
        bytes: Vec<u8>,
    },
}

impl Piece {
    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Output(bytes) | Self::Report { bytes, .. } => bytes,
        }
    }
}

/// Reads the terminal of one shell.
pub(super) struct Reports {
    prefix: Vec<u8>,
    /// What may become a report.
    held: Vec<u8>,
}

impl Reports {
    pub(super) fn new(nonce: &str) -> Self {
        let mut prefix = vec![ESC];
        prefix.extend(NUMBER.bytes().chain(nonce.bytes()));
        prefix.push(b';');
        Self {
            prefix,
            held: Vec::new(),
        }
    }

    /// What the report of a shown prompt begins with, after the escape character: it is the same in every run, and names none.
    pub(super) fn prompt_mark(nonce: &str) -> String {
        Self::mark(nonce, 0)
    }

    /// What a run's reports begin with, after the escape character.
    pub(super) fn mark(nonce: &str, run: u64) -> String {
        format!("{NUMBER}{nonce};{run};")
    }

    /// Takes what was read apart. What may yet become a report is held back: never more than the beginning of one.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Piece)) {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            if self.held.is_empty() {
                let next = memchr::memchr(ESC, bytes).unwrap_or(bytes.len());
                plain.extend_from_slice(&bytes[..next]);
                bytes = &bytes[next..];
                if let Some((first, rest)) = bytes.split_first() {
                    self.held.push(*first);
                    bytes = rest;
                }
                continue;
            }
            let byte = bytes[0];
            if !self.may_follow(byte) {
                plain.append(&mut self.held);
                continue;
            }
            self.held.push(byte);
            bytes = &bytes[1..];
            if byte == BEL {
                let held = std::mem::take(&mut self.held);
                match self.parse(&held) {
                    Some((run, word)) => {
                        if !plain.is_empty() {
                            found(Piece::Output(std::mem::take(&mut plain)));
                        }
                        let bytes = held;
                        found(Piece::Report { run, word, bytes });
                    }
                    None => plain.extend(held),
                }
            }
        }
        if !plain.is_empty() {
            found(Piece::Output(plain));
        }
    }

    /// What was held back and will not become a report.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn may_follow(&self, byte: u8) -> bool {
        match self.prefix.get(self.held.len()) {
            Some(next) => *next == byte,
            None => {
                matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b';' | b'-' | BEL)
                    && self.held.len() < self.prefix.len() + BODY_BYTES
            }
        }
    }

    fn parse(&self, report: &[u8]) -> Option<(u64, Word)> {
        let body = report.get(self.prefix.len()..report.len().checked_sub(1)?)?;
        let mut fields = std::str::from_utf8(body).ok()?.split(';');
        let run = fields.next()?.parse().ok()?;
        let word = fields.next()?;
        let number = fields.next().map(str::parse::<i32>);
        // Some shells let a script return what no process can exit with.
        let exit = |code: i32| code.rem_euclid(256);
        let word = match (word, number) {
            ("start", None) => Word::Start,
            ("end", Some(Ok(code))) => Word::End(exit(code)),
            ("back", Some(Ok(code))) => Word::Back(exit(code)),
            ("lost", Some(Ok(pid))) => Word::Lost(pid),
            _ => return None,
        };
        fields.next().is_none().then_some((run, word))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "0123456789abcdef";

    fn read(chunks: &[&[u8]]) -> Vec<Piece> {
        let mut reports = Reports::new(NONCE);
        let mut pieces = Vec::new();
        let mut add = |piece| match (pieces.last_mut(), piece) {
            (Some(Piece::Output(before)), Piece::Output(more)) => before.extend(more),
            (_, piece) => pieces.push(piece),
        };
        for chunk in chunks {
            reports.read(chunk, &mut add);
        }
        let rest = reports.rest();
        if !rest.is_empty() {
            add(Piece::Output(rest));
        }
        pieces
    }

    fn report(run: u64, word: &str) -> Vec<u8> {
        format!("\x1b{}{word}\x07", Reports::mark(NONCE, run)).into_bytes()
    }

    fn output(text: &str) -> Piece {
        Piece::Output(text.into())
    }

    fn found(run: u64, words: &str, word: Word) -> Piece {
        let bytes = report(run, words);
        Piece::Report { run, word, bytes }
    }

    #[test]
    fn reports_are_found_however_they_are_cut() {
        let whole = [
            b"a\x1b[31m".to_vec(),
            report(7, "start"),
            b"out\x1b".to_vec(),
            report(7, "end;3"),
            report(7, "back;130"),
            b"\x1b]7717;".to_vec(),
        ]
        .concat();
        let expected = [
            output("a\x1b[31m"),
            found(7, "start", Word::Start),
            output("out\x1b"),
            found(7, "end;3", Word::End(3)),
            found(7, "back;130", Word::Back(130)),
            output("\x1b]7717;"),
        ];
        for cut in 0..=whole.len() {
            let (one, two) = whole.split_at(cut);
            assert_eq!(read(&[one, two]), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&single), expected);
    }

    #[test]
    fn what_only_looks_like_a_report_is_output() {
        for forged in [
            "\x1b]7717;0123456789abcdee;1;start\x07",
            "\x1b]7717;0123456789abcdef;1;start\x1b\\",
            "\x1b]7717;0123456789abcdef;x;start\x07",
            "\x1b]7717;0123456789abcdef;1;end\x07",
            "\x1b]7717;0123456789abcdef;1;end;3;4\x07",
            "\x1b]7717;0123456789abcdef;1;end;99999999999999\x07",
            "\x1b]7717;0123456789abcdef;1;halt\x07",
            "\x1b]7717;0123456789abcdef;1;START\x07",
            "\x1b]7717;0123456789abcdef;1111111111111111111111111111111111111111111111111111\x07",
            "\x1b\x1b]7717;0123456789abcdef;\x07",
        ] {
            assert_eq!(read(&[forged.as_bytes()]), [output(forged)]);
        }
    }

    #[test]
    fn no_more_than_the_beginning_of_a_report_is_held_back() {
        let mut reports = Reports::new(NONCE);
        let mut pieces = Vec::new();
        reports.read(b"marker]7717;0123\x1b", |piece| pieces.push(piece));
        assert_eq!(pieces, [output("marker]7717;0123")]);
        reports.read(b"]x", |piece| pieces.push(piece));
        assert_eq!(pieces[1..], [output("\x1b]x")]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changed(
            parts in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    Just(report(3, "end;0")),
                    Just(report(4, "start")),
                    (0..40usize).prop_map(|end| {
                        let report = report(3, "end;0");
                        report[..end.min(report.len())].to_vec()
                    }),
                ],
                0..12,
            ),
            size in 1..30usize,
        ) {
            let whole = parts.concat();
            let chunks: Vec<&[u8]> = whole.chunks(size).collect();
            let pieces = read(&chunks);
            prop_assert_eq!(&pieces, &read(&[&whole]));
            let bytes: Vec<u8> = pieces
                .into_iter()
                .flat_map(Piece::into_bytes)
                .collect();
            prop_assert_eq!(bytes, whole);
        }
    }
}
