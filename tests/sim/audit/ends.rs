//! Completions: each once, in order, and as the first stop or the agent has it.

use std::sync::Arc;

use turnlane::domain::{Completion, EventNo, FailKind, Mono, Outcome, Reason, RunKind, Verdict};

use turnlane::store::Announced;

use super::books::{Book, Spot, Target};
use super::{Audit, Kept, broken};

impl Audit {
    pub(super) fn completed(
        &mut self,
        (now, decided): (Mono, u64),
        completion: Arc<Completion>,
        no: EventNo,
    ) -> Kept {
        let id = completion.run_id.clone();
        for open in self.open.values_mut() {
            open.ended.insert(id.clone());
        }
        // A wake that is taken back before it is due is a run only in its end.
        if !self.runs.contains_key(&id)
            && let Some(book) = self.wakes.taken_back(&id)
        {
            self.runs.insert(id.clone(), book);
        }
        let Some(book) = self.runs.get(&id) else {
            return broken(
                "unknown-run",
                format!("{id} ended, and nobody asked for it"),
            );
        };
        if let Some(before) = &book.end {
            return broken("one-completion", format!("{completion:?} after {before:?}"));
        }
        if self.last_event >= Some(no) {
            return broken(
                "event-order",
                format!("{} after {:?}", no.get(), self.last_event),
            );
        }
        let known = book.seq.is_some() || book.maybe || book.kind == RunKind::Wake;
        if !known || book.seq.is_some_and(|seq| seq != completion.seq) {
            return broken("unknown-run", format!("{completion:?} for {book:?}"));
        }
        self.judge(book, &completion)?;
        let spot = book.spot;
        let lane = self.lanes.entry(completion.session.clone()).or_default();
        lane.queue.retain(|queued| *queued != id);
        if lane.under_way.as_ref() == Some(&id) {
            lane.under_way = None;
            self.under_way -= 1;
        }
        if completion.into.is_none() {
            lane.last = Some(id.clone());
        }
        let book = self.runs.get_mut(&id).expect("it was found above");
        debug_assert_eq!(book.spot, spot);
        book.spot = Spot::Ended;
        book.seq = Some(completion.seq);
        book.end = Some((completion.clone(), no));
        self.seqs.insert(completion.seq, id.clone());
        self.last_event = Some(no);
        self.owed(&completion, no, now);
        if let Some(leaving) = self.leaving.as_mut().filter(|one| one.since <= decided) {
            if completion.reason == Some(Reason::Shutdown) {
                leaving.cancelled += 1;
            } else {
                leaving.completed += 1;
            }
        }
        self.log.insert(no, Announced::Completed(completion));
        Ok(())
    }

    fn judge(&self, book: &Book, completion: &Completion) -> Kept {
        let bad = |rule| broken(rule, format!("{completion:?} for {book:?}"));
        if let Some(host) = &completion.into {
            return self.judge_folded(book, completion, host);
        }
        if let Some(reason) = book.must {
            let kept =
                completion.outcome == Outcome::Cancelled && completion.reason == Some(reason);
            return if kept { Ok(()) } else { bad("first-stop") };
        }
        let never_began = matches!(book.spot, Spot::Queued | Spot::Into) && !book.unsaid;
        let said = book.verdict.as_ref().filter(|_| !book.told_stopping);
        let fits = match completion.outcome {
            Outcome::Completed => matches!(said, Some(Verdict::Completed)),
            Outcome::Failed => {
                let start = completion
                    .error
                    .as_ref()
                    .is_some_and(|error| error.kind == FailKind::Start);
                matches!(said, Some(Verdict::Failed(..)))
                    || start && (book.told_stopping || book.unsaid)
            }
            Outcome::Exited => matches!(said, Some(Verdict::Exited(_))),
            Outcome::Interrupted => {
                if never_began || book.told_stopping || !self.recovering {
                    return bad("interrupted");
                }
                true
            }
            Outcome::TimedOut => !never_began || book.ask.queue_timeout_ms.is_some(),
            Outcome::Folded => false,
            Outcome::Cancelled => match completion.reason {
                Some(Reason::Agent) => matches!(said, Some(Verdict::Cancelled)),
                Some(Reason::Stalled) => !never_began,
                Some(Reason::NothingPending) => book.kind == RunKind::Wake && !book.begun,
                Some(Reason::Wake) => book.parked && self.boxes.interrupted(&completion.session),
                Some(reason) => {
                    if !self.was_stopped(book, reason) {
                        return bad("nothing-later");
                    }
                    true
                }
                None => false,
            },
        };
        if fits { Ok(()) } else { bad("outcome") }
    }

    /// A steered run shares its host's end, and the host's comes first.
    fn judge_folded(
        &self,
        book: &Book,
        completion: &Completion,
        host: &turnlane::domain::RunId,
    ) -> Kept {
        let bad = || broken("folded", format!("{completion:?} for {book:?}"));
        let Some((end, no)) = self.runs.get(host).and_then(|book| book.end.as_ref()) else {
            return bad();
        };
        let shared = match end.outcome {
            Outcome::Completed => {
                completion.outcome == Outcome::Folded && completion.reason.is_none()
            }
            other => completion.outcome == other && completion.reason == end.reason,
        };
        let last = self
            .lanes
            .get(&completion.session)
            .and_then(|lane| lane.last.as_ref())
            == Some(host);
        let into = book.spot == Spot::Into || book.maybe;
        let taken = book.taken || book.typed || self.recovering || book.maybe;
        let ok = shared
            && last
            && into
            && taken
            && completion.seq > end.seq
            && self.last_event >= Some(*no);
        if ok { Ok(()) } else { bad() }
    }

    /// Whether anybody had asked for its end, after it was asked for itself.
    fn was_stopped(&self, book: &Book, reason: Reason) -> bool {
        self.stops.iter().any(|stop| {
            let meant = match &stop.target {
                None => true,
                Some(Target::Session(session)) => *session == book.ask.session,
                Some(Target::Run(run)) => *run == book.ask.run,
            };
            // When a wake that nobody was told of was accepted is not known.
            let later = stop.at > book.asked_at || book.kind == RunKind::Wake && book.maybe;
            meant && stop.reason == reason && later
        })
    }
}
