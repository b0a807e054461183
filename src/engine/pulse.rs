//! Heartbeats: a rhythm that a busy lane does not move. A beat that finds it busy is made up once.

use super::Engine;
use super::timers::Alarm;
use super::wake::shut;
use crate::domain::{SessionId, WakeFacts};

/// Why a beat wakes its session.
const HEARTBEAT: &str = "heartbeat";

impl Engine {
    /// A session was opened, changed or closed: its heart beats from now on, or not.
    pub(super) fn set_rhythm(&mut self, session: &SessionId, anew: bool) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let beats = shut(lane).is_none();
        let every = lane.session.heartbeat.as_ref().filter(|_| beats);
        match every.map(|beat| beat.every_ms) {
            None => {
                (lane.waking.beat_at, lane.waking.beat_owed) = (None, false);
                self.timers.clear(Alarm::Beat(session.clone()));
            }
            Some(every_ms) if anew || lane.waking.beat_at.is_none() => {
                let at = self.now.mono.plus_ms(every_ms);
                lane.waking.beat_at = Some(at);
                self.timers.set(Alarm::Beat(session.clone()), at);
            }
            Some(_) => {}
        }
    }

    /// The heart beats: at once if the lane is idle, else at its next idle moment.
    pub(super) fn beat(&mut self, session: &SessionId) {
        let now = self.now.mono;
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let every_ms = lane.session.heartbeat.as_ref().map(|beat| beat.every_ms);
        let (Some(every_ms), Some(at)) = (every_ms, lane.waking.beat_at) else {
            return;
        };
        // The next one in the rhythm: what was slept through is one beat.
        let missed = now.since_ms(at) / every_ms;
        let next = at.plus_ms(every_ms.saturating_mul(missed + 1));
        lane.waking.beat_at = Some(next);
        lane.waking.beat_owed = true;
        self.timers.set(Alarm::Beat(session.clone()), next);
        self.touch(session);
    }

    /// A beat that is owed is made up once the lane is idle.
    pub(super) fn look_at_beat(&mut self, session: &SessionId) {
        let (free, _) = self.inboxes.counts(session);
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        if !lane.waking.beat_owed || !lane.is_idle() || lane.releasing || shut(lane).is_some() {
            return;
        }
        lane.waking.beat_owed = false;
        let Some(beat) = &lane.session.heartbeat else {
            return;
        };
        let needs_inbox = beat.only_if_pending || beat.prompt.is_none();
        let unreadable = beat.prompt.is_none() && !lane.reads_prose();
        if needs_inbox && free == 0 || unreadable {
            return;
        }
        let facts = WakeFacts {
            reasons: vec![HEARTBEAT.into()],
            prompts: beat.prompt.clone().into_iter().collect(),
            beat: true,
            ..WakeFacts::default()
        };
        let run = self.names.run(self.now.wall);
        self.accept_wake(session, run, facts);
    }
}
