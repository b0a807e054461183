//! Framing: the same frames however the bytes come, nothing held beyond the limit, and good frames after bad ones.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;
use turnlane::wire::{Frame, FrameCodec, Framing, Style, encode};

use super::{Verdict, first, hold, pieces};

/// Most bytes of a header block, and most headers in it.
const HEAD: (usize, usize) = (8 << 10, 64);
const GOOD: &[u8] = b"{}";

/// What cuts bytes into frames.
pub trait Cutter {
    /// The next frame in the buffer.
    fn next(&mut self, buffer: &mut BytesMut) -> Option<Frame>;
    /// The next frame when nothing more comes.
    fn last(&mut self, buffer: &mut BytesMut) -> Option<Frame>;
}

impl Cutter for FrameCodec {
    fn next(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.decode(buffer).expect("what is wrong is a frame")
    }

    fn last(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.decode_eof(buffer).expect("what is wrong is a frame")
    }
}

/// The property of the real codec.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, FrameCodec::new)
}

/// The first three bytes choose the framing, the limit and the pieces; the rest is what arrives.
pub fn holds_for<C: Cutter>(data: &[u8], new: impl Fn(Framing, usize) -> C) -> Verdict {
    let (framing, data) = first(data);
    let (limit, data) = first(data);
    let (seed, text) = first(data);
    let framing = match framing % 3 {
        0 => Framing::Auto,
        1 => Framing::Lines,
        _ => Framing::Headers,
    };
    let limit = GOOD.len() + usize::from(limit);
    let cut = |parts: &[&[u8]]| frames(&mut new(framing, limit), parts);
    let (whole, _) = cut(&[text]);
    let (style, slow) = by_the_book(text, framing, limit);
    hold(told(&whole) == told(&slow), || {
        format!("{framing:?}, at most {limit}: {whole:?}, by the book {slow:?}")
    })?;
    for parts in [pieces(text, seed), text.chunks(1).collect()] {
        let (cut, held) = cut(&parts);
        hold(cut == whole, || {
            format!("in pieces {parts:?}: {cut:?}, whole {whole:?}")
        })?;
        let most = HEAD.0.max(limit + 1);
        hold(held <= most, || {
            format!("{held} bytes are held, at most {most}")
        })?;
    }
    if style == Some(Style::Lines) || framing == Framing::Lines {
        let (after, _) = cut(&[text, b"\n", GOOD, b"\n"]);
        hold(after.last() == Some(&good()), || {
            format!("a good line after {text:?} is lost: {after:?}")
        })?;
    }
    after_a_body(text, limit, &new)?;
    comes_back(text, &new)
}

fn good() -> Frame {
    Frame::Message(Bytes::from_static(GOOD))
}

/// The frames, and the most bytes that were held between two pieces.
fn frames(cutter: &mut impl Cutter, parts: &[&[u8]]) -> (Vec<Frame>, usize) {
    let (mut buffer, mut frames, mut held) = (BytesMut::new(), Vec::new(), 0);
    for part in parts {
        buffer.extend_from_slice(part);
        while let Some(frame) = cutter.next(&mut buffer) {
            frames.push(frame);
        }
        held = held.max(buffer.len());
    }
    while let Some(frame) = cutter.last(&mut buffer) {
        frames.push(frame);
    }
    (frames, held)
}

/// Frames without the reason why one can't be read.
fn told(frames: &[Frame]) -> Vec<Option<Frame>> {
    let one = |frame: &Frame| match frame {
        Frame::Unreadable(_) => None,
        Frame::Message(_) | Frame::TooLarge { .. } => Some(frame.clone()),
    };
    frames.iter().map(one).collect()
}

/// The rules of the protocol page, slowly, with everything at hand.
fn by_the_book(mut text: &[u8], framing: Framing, limit: usize) -> (Option<Style>, Vec<Frame>) {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    loop {
        text = text.trim_ascii_start();
        match text.strip_prefix(BOM) {
            Some(rest) => text = rest,
            None => break,
        }
    }
    if BOM.starts_with(text) {
        return (None, Vec::new());
    }
    let lines = match framing {
        Framing::Auto => text.starts_with(b"{") || text.starts_with(b"["),
        Framing::Lines => true,
        Framing::Headers => false,
    };
    if lines {
        (Some(Style::Lines), by_lines(text, limit))
    } else {
        (Some(Style::Headers), by_headers(text, limit))
    }
}

fn by_lines(text: &[u8], limit: usize) -> Vec<Frame> {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    let mut frames = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = match line.strip_suffix(b"\r") {
            Some(line) if number < ends => line,
            Some(_) | None => line,
        };
        if line.len() > limit {
            frames.push(Frame::TooLarge { limit });
        } else if !line.trim_ascii().is_empty() {
            frames.push(Frame::Message(Bytes::copy_from_slice(line)));
        }
    }
    frames
}

fn by_headers(mut text: &[u8], limit: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut bytes, mut headers, mut length) = (0, 0, None::<u64>);
    loop {
        let end = text.iter().position(|byte| *byte == b'\n');
        bytes += end.map_or(text.len(), |end| end + 1);
        if bytes > HEAD.0 {
            frames.push(Frame::Unreadable("too long"));
            return frames;
        }
        let Some(end) = end else { return frames };
        let line = text[..end].trim_ascii();
        text = &text[end + 1..];
        if line.is_empty() && headers == 0 {
            bytes = 0;
        } else if line.is_empty() {
            let Some(body) = length.take() else {
                frames.push(Frame::Unreadable("no length"));
                return frames;
            };
            let there = usize::try_from(body).unwrap_or(usize::MAX).min(text.len());
            if body > limit as u64 {
                frames.push(Frame::TooLarge { limit });
            } else if body > there as u64 {
                return frames;
            } else {
                frames.push(Frame::Message(Bytes::copy_from_slice(&text[..there])));
            }
            text = &text[there..];
            (bytes, headers) = (0, 0);
        } else {
            headers += 1;
            let read = header(line).filter(|_| headers <= HEAD.1);
            match (read, length) {
                (Some(Some(new)), Some(old)) if new != old => {}
                (Some(Some(new)), _) => {
                    length = Some(new);
                    continue;
                }
                (Some(None), _) => continue,
                (None, _) => {}
            }
            frames.push(Frame::Unreadable("no header"));
            return frames;
        }
    }
}

/// `None` for what is no header, `Some(None)` for one of no interest.
fn header(line: &[u8]) -> Option<Option<u64>> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    let strange = |byte: &u8| !byte.is_ascii_graphic() || b"\"(),/:;<=>?@[\\]{}".contains(byte);
    if name.is_empty() || name.iter().any(strange) {
        return None;
    }
    if !name.eq_ignore_ascii_case(b"content-length") {
        return Some(None);
    }
    let digits = std::str::from_utf8(value).ok()?;
    if digits.is_empty() || digits.contains(|letter: char| !letter.is_ascii_digit()) {
        return None;
    }
    Some(Some(digits.parse().unwrap_or(u64::MAX)))
}

/// A body of any bytes, over the limit or not, hides nothing of what follows it.
fn after_a_body<C: Cutter>(
    body: &[u8],
    limit: usize,
    new: &impl Fn(Framing, usize) -> C,
) -> Verdict {
    let framed = |body: &[u8]| {
        let head = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        [head, body.to_vec()].concat()
    };
    let expected = if body.len() > limit {
        Frame::TooLarge { limit }
    } else {
        Frame::Message(Bytes::copy_from_slice(body))
    };
    let text = [framed(body), framed(GOOD)].concat();
    let (found, held) = frames(
        &mut new(Framing::Headers, limit),
        &text.chunks(7).collect::<Vec<_>>(),
    );
    hold(found == [expected, good()], || {
        format!("a good frame after the body {body:?}: {found:?}")
    })?;
    hold(held <= limit.max(HEAD.0), || {
        format!("{held} bytes are held")
    })
}

/// What is written has no line end within and is read back as the same JSON, in both framings.
fn comes_back<C: Cutter>(text: &[u8], new: &impl Fn(Framing, usize) -> C) -> Verdict {
    let Ok(text) = std::str::from_utf8(text) else {
        return Ok(());
    };
    let said = serde_json::to_string(text).expect("a text can be written");
    for json in [said.clone(), format!("{{\r\n\"a\":{said}}}")] {
        for (style, framing) in [
            (Style::Lines, Framing::Lines),
            (Style::Headers, Framing::Headers),
        ] {
            let mut written = Vec::new();
            encode(style, &json, &mut written);
            let (found, _) = frames(&mut new(framing, 1 << 20), &[&written]);
            let [Frame::Message(back)] = &found[..] else {
                return Err(format!("{json} is read back as {found:?}"));
            };
            let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
            hold(value(back) == value(json.as_bytes()), || {
                format!("{json} is read back as {back:?}")
            })?;
            let line_ends = ["\n", "\r", "\u{2028}", "\u{2029}"];
            let back = String::from_utf8_lossy(back);
            hold(!line_ends.iter().any(|end| back.contains(end)), || {
                format!("a line end in {back:?}")
            })?;
        }
    }
    Ok(())
}
