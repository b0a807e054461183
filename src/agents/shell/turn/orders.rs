//! What a run is told while it is under way.

use super::{Phase, Playing};
use crate::agents::shell::live::Live;
use crate::agents::shell::terminal::Size;
use crate::agents::{Order, Told, text};
use crate::domain::{InputRefusal, Seq, TerminalInput};

impl Playing<'_> {
    /// Obeys before there is a shell to speak of.
    pub(in super::super) fn obey_early(&mut self, order: Option<Order>, size: &mut Size) {
        match order {
            Some(Order::Stop | Order::Kill) => self.cancel.want(),
            Some(Order::Steer { seq, prompt }) => {
                self.steered.push(seq);
                self.keyboard.enter(&text::plain(&prompt));
            }
            Some(Order::Input { seq, input, told }) => self.input(seq, &input, told, size, None),
            Some(Order::Begin(_) | Order::Permit { .. }) => {}
            None => self.released = true,
        }
    }

    /// Obeys while there is a shell.
    pub(super) async fn obey(&mut self, order: Option<Order>, live: &mut Live, size: &mut Size) {
        match order {
            // There is one under way; the caller keeps that. And a shell asks nothing.
            Some(Order::Begin(_) | Order::Permit { .. }) => {}
            Some(Order::Steer { seq, prompt }) => {
                self.steered.push(seq);
                self.keyboard.enter(&text::plain(&prompt));
            }
            Some(Order::Input { seq, input, told }) => {
                let before = *size;
                self.input(seq, &input, told, size, Some(live));
                if let Some(recorder) = &mut self.recorder
                    && before != *size
                {
                    recorder.resized(size.cols, size.rows).await;
                }
            }
            Some(Order::Stop) => match self.phase {
                Phase::Running => self.cancel.ask(live),
                Phase::Typed | Phase::Reported(_) => self.cancel.want(),
            },
            Some(Order::Kill) => live.kill(),
            // Nothing of the session may stay.
            None => {
                self.released = true;
                live.kill();
            }
        }
    }

    fn input(
        &mut self,
        seq: Seq,
        input: &TerminalInput,
        told: Told,
        size: &mut Size,
        live: Option<&Live>,
    ) {
        if seq != self.turn.seq {
            return told.say(Err(InputRefusal::Over));
        }
        let typed = match &input.typed {
            None => Ok(()),
            Some(typed) => {
                let application = live.is_some_and(|live| live.listener.application_keys());
                let terminal = live.map(|live| &live.terminal);
                self.keyboard.press(typed, application, terminal)
            }
        };
        if typed.is_ok() && (input.cols.is_some() || input.rows.is_some()) {
            *size = Size {
                cols: input.cols.unwrap_or(size.cols),
                rows: input.rows.unwrap_or(size.rows),
            };
            if let Some(live) = live {
                live.terminal.resize(*size);
            }
        }
        told.say(typed);
    }
}
