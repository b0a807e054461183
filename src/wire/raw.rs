//! Frames as they are: for whoever passes messages on.

use super::codec::Frame;
use super::connection::Connection;
use super::intake::Intake;
use super::{Bounds, Door};

/// Makes nothing of frames; nothing is answered.
#[derive(Debug)]
pub struct Raw;

/// What a connection of [`Raw`] brings, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// A frame. Nothing but `Closed` comes after one that is unreadable.
    Frame(Frame),
    /// Little is unread again after an offer was refused.
    Drained,
    /// The end of input. Nothing but `Drained` comes after it.
    Closed,
}

impl Intake for Raw {
    type Told = Came;

    fn new(_: Bounds, _: Connection, _: Door) -> Self {
        Self
    }

    fn frame(&mut self, frame: Frame, tell: &mut dyn FnMut(Came)) -> bool {
        let goes_on = !matches!(frame, Frame::Unreadable(_));
        tell(Came::Frame(frame));
        goes_on
    }

    fn drained() -> Came {
        Came::Drained
    }

    fn closed() -> Came {
        Came::Closed
    }
}
