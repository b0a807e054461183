//! What must be true after every step. A broken one is our own mistake: the process ends, and the store is read again.

use super::{Engine, Spot};
use crate::domain::SessionId;

impl Engine {
    /// A lane that the step touched.
    pub(super) fn check_lane(&self, session: &SessionId) {
        let Some(lane) = self.lanes.get(session) else {
            return;
        };
        assert!(
            lane.queue.is_empty() || !lane.session.closed,
            "{session}: a closed session has a queue"
        );
        assert_eq!(
            lane.ready,
            lane.startable(),
            "{session}: the list of ready lanes is stale"
        );
        if let Some((_, first)) = lane.queue.first_key_value() {
            assert!(
                !lane.session.mark.covers(first.seq),
                "{session}: a cancelled run is queued"
            );
        }
        if let Some(turning) = lane.turn.turning() {
            let seq = turning.run.seq;
            assert_eq!(
                self.under_way.get(&seq),
                Some(session),
                "{session}: a turn that is not counted"
            );
            assert_eq!(
                self.live.get(&seq).map(|live| live.spot),
                Some(Spot::UnderWay),
                "{session}: a turn that is not live"
            );
        }
    }

    /// The whole, as far as it costs nothing.
    pub(super) fn check(&self) {
        assert!(
            self.under_way.len() as u64 <= self.limits.active_runs,
            "more runs under way than allowed"
        );
        assert_eq!(self.live.len(), self.ids.len(), "a live run without a name");
        assert!(
            self.under_way.len() <= self.live.len(),
            "a turn without a live run"
        );
    }
}
