//! The lines of a pipe, however long: what is over a limit is passed over without being held.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::skim::Skim;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Reads lines that end in `\n`; the last one may lack it.
pub(super) struct Lines<R> {
    pipe: BufReader<R>,
    /// Longest line that is held, without its end.
    limit: usize,
    /// The beginning of a line that has not come to its end.
    line: Vec<u8>,
    /// What that line is about, once it is over the limit.
    skim: Option<Box<Skim>>,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The whole of it, without its end.
    Whole(Vec<u8>),
    /// It was longer than the limit: what is known of it.
    TooLong(Box<Skim>),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(pipe: R, limit: usize) -> Self {
        Self {
            pipe: BufReader::with_capacity(READ_BYTES, pipe),
            limit,
            line: Vec::new(),
            skim: None,
        }
    }

    /// The next line; `None` at the end. Given up while it waits, it loses nothing.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            let read = self.pipe.fill_buf().await.unwrap_or_default();
            if read.is_empty() {
                let any = self.skim.is_some() || !self.line.is_empty();
                return any.then(|| self.take());
            }
            let end = memchr::memchr(b'\n', read);
            let part = &read[..end.unwrap_or(read.len())];
            if let Some(skim) = &mut self.skim {
                skim.feed(part);
            } else if self.line.len() + part.len() > self.limit {
                // Its memory is given back at once: the line may go on for ever.
                let mut skim = Box::<Skim>::default();
                skim.feed(&std::mem::take(&mut self.line));
                skim.feed(part);
                self.skim = Some(skim);
            } else {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.pipe.consume(used);
            if end.is_some() {
                return Some(self.take());
            }
        }
    }

    fn take(&mut self) -> Line {
        match self.skim.take() {
            Some(skim) => Line::TooLong(skim),
            None => Line::Whole(std::mem::take(&mut self.line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of bytes that come in pieces.
    async fn lines(pieces: &[&[u8]], limit: usize) -> Vec<Line> {
        let mut read = pieces_of(pieces);
        let mut lines = Lines::new(&mut read, limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    /// Gives one piece at each read.
    fn pieces_of(pieces: &[&[u8]]) -> impl AsyncRead + Unpin {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| std::io::Result::Ok(bytes::Bytes::copy_from_slice(piece)))
            .collect();
        tokio_util::io::StreamReader::new(futures_util::stream::iter(pieces))
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    fn too_long(text: &str) -> Line {
        let mut skim = Box::<Skim>::default();
        skim.feed(text.as_bytes());
        Line::TooLong(skim)
    }

    #[tokio::test]
    async fn lines_come_whole_wherever_they_are_split() {
        let text = "{\"a\":1}\r\n\n\u{2028}x\u{e9}\nlast".as_bytes();
        let expected = [
            whole("{\"a\":1}\r"),
            whole(""),
            whole("\u{2028}x\u{e9}"),
            whole("last"),
        ];
        for at in 0..=text.len() {
            let (one, two) = text.split_at(at);
            let pieces: Vec<&[u8]> = [one, two].into_iter().filter(|p| !p.is_empty()).collect();
            assert_eq!(lines(&pieces, 100).await, expected, "split at {at}");
        }
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_passed_over_and_the_next_one_is_read() {
        let said: &[&[u8]] = &[b"1234", b"5\n12", b"34\n", b"123456789"];
        let expected = [too_long("12345"), whole("1234"), too_long("123456789")];
        assert_eq!(lines(said, 4).await, expected);
    }

    #[tokio::test]
    async fn an_endless_line_is_not_held() {
        let piece = [b'x'; 1000];
        let pieces: Vec<&[u8]> = vec![&piece; 1000];
        let mut read = pieces_of(&pieces);
        let mut lines = Lines::new(&mut read, 2000);
        assert_eq!(lines.next().await, Some(too_long(&"x".repeat(1_000_000))));
        assert_eq!(lines.line.capacity(), 0);
    }
}
