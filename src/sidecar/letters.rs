//! What clients ask of dead letters: they lie in the store, and the engine is handed those that are meant.

use std::collections::BTreeSet;

use super::asks::{Trouble, Way};
use super::core::{Core, Shape, Then};
use crate::domain::{DeadLetter, EventNo, RunId, SessionId};
use crate::engine::{Ask, Batch};
use crate::protocol::{
    Cursor, DeadLetterAdded, DeadLetterListParams, DeadLetterListResult, DeadLetterPurgeParams,
    DeadLetterPurgeResult, DeadLetterRetryParams, DeadLetterRetryResult, DeadLetterView, Letters,
    Notification, Reply, RpcError, Word, cut,
};

/// Dead letters that are read at a time.
const PAGE: usize = 64;

impl Core {
    pub(crate) fn dead_letter_list(
        &mut self,
        params: &DeadLetterListParams,
    ) -> Result<DeadLetterListResult, Trouble> {
        let mut after = match &params.after {
            None => None,
            Some(place) => self.place(place)?,
        };
        let limit = params.limit(self.engine.limits());
        let mut letters = Vec::new();
        let (mut more, mut held) = (false, 0);
        'pages: loop {
            let page = self
                .store
                .dead_letters(params.parent.as_ref(), after, PAGE)?;
            let last = page.len() < PAGE;
            for letter in page {
                // What surely does not fit in a line any more need not be read.
                if letters.len() == limit || held > cut::LINE_BYTES {
                    more = true;
                    break 'pages;
                }
                after = Some(letter.entry.no);
                held += letter.entry.weight as usize;
                if let Some(completion) = self.store.completion(&letter.entry.run)? {
                    let shown = DeadLetterView::of(&letter, &completion);
                    letters.push((self.cursor(after), shown));
                }
            }
            if last {
                break;
            }
        }
        if let Some(parent) = &params.parent
            && letters.is_empty()
            && params.after.is_none()
            && !self.engine.is_purged(parent)
        {
            self.must_own(parent)?;
        }
        Ok(DeadLetterListResult::fitted(letters, more))
    }

    /// Where a list goes on.
    pub(crate) fn place(&self, place: &str) -> Result<Option<EventNo>, RpcError> {
        match Cursor::parse(place) {
            Some(cursor) if &*cursor.store == self.store.id() => Ok(cursor.no),
            Some(_) | None => Err(RpcError::invalid_params(
                "after",
                "is not the `next` of a page of this list",
            )),
        }
    }

    pub(crate) fn dead_letter_retry(
        &mut self,
        params: DeadLetterRetryParams,
        batch: &mut Batch<Then>,
    ) -> Result<Way, Trouble> {
        let (letters, more) = self.letters(&params.letters()?)?;
        let inboxes: BTreeSet<&SessionId> = match &params.parent {
            Some(parent) => BTreeSet::from([parent]),
            None => letters.iter().map(|letter| &letter.parent).collect(),
        };
        for inbox in inboxes {
            if !self.know(inbox, batch)? {
                return Err(RpcError::session_not_found(inbox).into());
            }
        }
        let ask = Ask::Retry {
            letters,
            parent: params.parent,
        };
        Ok(Way::Ask(Box::new(ask), Shape::Letters(more)))
    }

    pub(crate) fn dead_letter_purge(
        &mut self,
        params: &DeadLetterPurgeParams,
    ) -> Result<Way, Trouble> {
        let (letters, more) = self.letters(&params.letters()?)?;
        Ok(Way::Ask(
            Box::new(Ask::Forget(letters)),
            Shape::Letters(more),
        ))
    }

    /// The dead letters that are meant, no more than `limits.list` and than an answer can name; and whether there are others.
    fn letters(&mut self, meant: &Letters) -> Result<(Vec<DeadLetter>, bool), Trouble> {
        let limit = usize::try_from(self.engine.limits().list).unwrap_or(usize::MAX);
        let mut letters = Vec::new();
        match meant {
            Letters::All => {
                let one_more = limit.saturating_add(1);
                letters = self.store.dead_letters(None, None, one_more)?;
            }
            Letters::Of(runs) => {
                for run in runs {
                    let letter = self.store.dead_letter(run)?;
                    letters.push(letter.ok_or_else(|| RpcError::dead_letter_not_found(run))?);
                }
            }
        }
        let mut more = letters.len() > limit;
        letters.truncate(limit);
        let mut runs: Vec<&RunId> = letters.iter().map(|letter| &letter.entry.run).collect();
        more |= cut::fit(&mut runs, cut::LINE_BYTES - cut::ENVELOPE_BYTES);
        let named = runs.len();
        letters.truncate(named);
        Ok((letters, more))
    }

    /// A completion became a dead letter: one line of the log, and a word to whoever hears of its parent.
    pub(crate) fn buried(&mut self, letter: &DeadLetter, no: EventNo) {
        self.told = Some(no);
        let (run, parent, why) = (&letter.entry.run, &letter.parent, letter.why.word());
        tracing::warn!("the completion of run {run} for session {parent} is a dead letter: {why}");
        if self.hub.is_heard(parent) {
            let json = Notification::DeadLetterAdded(DeadLetterAdded {
                run_id: run.clone(),
                parent: parent.clone(),
                why: letter.why,
                cursor: self.cursor(Some(no)).to_string().into(),
            })
            .to_json();
            self.hub.announced(parent, no, &json);
        }
    }
}

/// The answer to `deadLetter/retry`.
pub(crate) fn retried(retried: Vec<RunId>, more: bool) -> Reply {
    Reply::DeadLetterRetry(DeadLetterRetryResult {
        retried,
        more: more.then_some(true),
    })
}

/// The answer to `deadLetter/purge`.
pub(crate) fn purged(purged: Vec<RunId>, more: bool) -> Reply {
    Reply::DeadLetterPurge(DeadLetterPurgeResult {
        purged,
        more: more.then_some(true),
    })
}
