//! The end of a relay: what is left for the client, or that it can't be served.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::said::Owed;
use super::{CLIENT, FLUSH, Owners, Relay};
use crate::protocol::RpcError;
use crate::wire::{Came, Entry, Frame, Message, read, refusal};

/// How long what comes with the first request is still answered.
const LINGER: Duration = Duration::from_millis(300);

/// How far the client is on its way out.
#[derive(Debug, Default)]
pub(super) struct Parting {
    /// Since when it says nothing more; what it said is still passed on.
    begun: bool,
    /// It was told so again, by a signal: nothing is waited for.
    at_once: bool,
    /// Bytes that were written when something was last written, and how long nothing more may be.
    stuck: Option<(u64, Instant)>,
}

impl Parting {
    /// It leaves.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// It leaves; one that was leaving goes at once.
    pub(super) fn hurry(&mut self) {
        self.at_once |= self.begun;
        self.begun = true;
    }

    /// Whether it leaves.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// When it has had its time, if it reads nothing until then.
    pub(super) fn end(&self) -> Option<Instant> {
        self.stuck.map(|(_, end)| end)
    }

    /// Whether it reads nothing of what is left for it any more.
    fn is_stuck(&mut self, unread: usize, written: u64) -> bool {
        if !self.begun || unread == 0 {
            self.stuck = None;
            return false;
        }
        match self.stuck {
            Some((before, end)) if before == written => Instant::now() >= end,
            Some(_) | None => {
                self.stuck = Some((written, Instant::now() + FLUSH));
                false
            }
        }
    }
}

impl<O: Owners> Relay<O> {
    /// Whether nothing is left to be passed on, or nobody to pass it on to.
    pub(super) fn is_over(&mut self) -> bool {
        let nobody = self.owner.is_none();
        if self.parting.at_once || (self.stopped && nobody) {
            return true;
        }
        if self
            .parting
            .is_stuck(self.client.unread(), self.board.written())
        {
            tracing::warn!("a client does not read what it is owed: it is left without");
            return true;
        }
        self.parting.begun && !self.is_attached() && self.backlog.is_empty()
    }

    /// Tells the owner that nothing more comes, once all that came is passed on.
    pub(super) fn take_leave(&mut self) {
        if !self.parting.begun {
            return;
        }
        if let Some(owner) = &mut self.owner
            && owner.attached
            && !std::mem::replace(&mut owner.ended, true)
        {
            self.board.end_output(owner.no);
        }
    }

    /// Writes what is left for the client, for as long as it reads.
    pub(super) fn say_the_last(&mut self) {
        for message in std::mem::take(&mut self.backlog) {
            self.refuse_message(&message, &RpcError::shutting_down());
        }
        if let Some(owner) = self.owner.take() {
            self.board.disconnect(owner.no);
        }
        self.parting.begin();
        self.board.flush();
        // Nothing is said to a client that never said anything.
        while self.spoken_to
            && !self.parting.at_once
            && self.client.unread() > 0
            && !self
                .parting
                .is_stuck(self.client.unread(), self.board.written())
        {
            let left = self.parting.end();
            self.board
                .wait(left.map(|end| end.saturating_duration_since(Instant::now())));
            // What it still says is too late.
            self.board.take(|_, _| {});
            self.board.flush();
        }
        let rest = if self.client.unread() == 0 {
            FLUSH
        } else {
            Duration::ZERO
        };
        self.board.close(rest);
    }

    /// Answers every request with this error, until what came with the first one is answered or the input ends.
    pub(super) fn refuse(&mut self, error: &RpcError) {
        if let Some(owner) = self.owner.take() {
            self.board.disconnect(owner.no);
        }
        for owed in self.owing.lost() {
            let asked: Vec<String> = owed
                .asked()
                .iter()
                .map(|asked| refusal(error.clone(), &asked.id))
                .collect();
            self.answer(matches!(owed, Owed::Batch(_)), asked);
        }
        for message in std::mem::take(&mut self.backlog) {
            self.refuse_message(&message, error);
        }
        self.board.hold_back(CLIENT, false);
        let mut open = !self.parting.begun;
        let mut end = self.spoken_to.then(|| Instant::now() + LINGER);
        while open && end.is_none_or(|end| Instant::now() < end) {
            self.board.flush();
            self.board
                .wait(end.map(|end| end.saturating_duration_since(Instant::now())));
            let mut came = Vec::new();
            self.board.take(|no, it| came.push((no, it)));
            for (_, it) in came.into_iter().filter(|(no, _)| *no == CLIENT) {
                end.get_or_insert_with(|| Instant::now() + LINGER);
                match it {
                    Came::Frame(Frame::Message(message)) => self.refuse_message(&message, error),
                    Came::Frame(Frame::TooLarge { .. } | Frame::Unreadable(_)) => {
                        self.client.send(refusal(error.clone(), "null"));
                    }
                    Came::Drained => {}
                    Came::Closed => open = false,
                }
            }
            open &= self.told.try_recv().is_err();
        }
        self.board.close(FLUSH);
    }

    fn refuse_message(&self, message: &Bytes, error: &RpcError) {
        let refused = |entry: &Entry<'_>| match entry {
            Entry::Call(call) => call.id.map(|id| refusal(error.clone(), id)),
            Entry::Answer => None,
            Entry::Invalid { id, error } => Some(refusal(error.clone(), id)),
        };
        match read(message, &self.own) {
            Ok(Message::Single(entry)) => self.answer(false, refused(&entry).into_iter().collect()),
            Ok(Message::Batch(entries)) => {
                self.answer(true, entries.iter().filter_map(refused).collect());
            }
            Err(error) => self.client.send(refusal(error, "null")),
        }
    }

    fn answer(&self, together: bool, answers: Vec<String>) {
        if answers.is_empty() {
            return;
        }
        if together {
            self.client.send(format!("[{}]", answers.join(",")));
        } else {
            for answer in answers {
                self.client.send(answer);
            }
        }
    }
}
