//! The owner's side: it is found, takes the client, speaks, and may be lost.

use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::heard::{self, Answer, Heard};
use super::said::{Asked, Owed, What};
use super::{AGAIN, Failed, Found, OWNER_FRAME_BYTES, Owner, Owners, Relay, Told};
use crate::protocol::{AttachParams, Attached, OwnerSays, Refused, RpcError};
use crate::sidecar::pulse::Pulse;
use crate::wire::{Bounds, Came, Door, Ends, Frame, Framing, Style, refusal};

impl<O: Owners> Relay<O> {
    pub(super) fn look_for_owner(&mut self) -> Result<(), Failed> {
        if self.owner.is_some() || Instant::now() < self.look_at {
            return Ok(());
        }
        match self.owners.find()? {
            Found::NotYet(wait) => self.look_at = Instant::now() + wait,
            Found::Owner(ends) => {
                if let Err(error) = self.attach(ends) {
                    tracing::warn!("the owner of the store can't be reached: {error}");
                    self.look_at = Instant::now() + AGAIN;
                }
            }
        }
        Ok(())
    }

    /// Asks an owner to take the client.
    fn attach(&mut self, ends: Ends) -> std::io::Result<()> {
        self.last += 1;
        let bounds = Bounds {
            max_frame_bytes: OWNER_FRAME_BYTES,
            ..self.own
        };
        // Whoever refuses us before it has read anything does so in a line.
        let link = self
            .board
            .connect(self.last, ends, Framing::Auto, bounds, Door::Own)?;
        link.begin(Style::Headers);
        let who = AttachParams {
            state: self.kept.state(),
            ..self.who.clone()
        };
        link.send(who.to_json());
        let pulse = self.owners.subject().and_then(|subject| {
            let (tell, no) = (self.teller(), self.last);
            let ousted = Box::new(move |ousted| tell.tell(Told::Ousted(no, ousted)));
            let pulse = Pulse::start(subject, self.owner_timeout, ousted);
            pulse
                .inspect_err(|error| tracing::warn!("the owner is not listened to: {error}"))
                .ok()
        });
        self.held.owner = false;
        self.held.client = false;
        self.owner = Some(Owner {
            no: self.last,
            link,
            attached: false,
            ended: false,
            _pulse: pulse,
        });
        Ok(())
    }

    pub(super) fn owner_says(&mut self, came: Came) -> Result<(), Failed> {
        let message = match came {
            Came::Frame(Frame::Message(message)) => message,
            Came::Drained => return Ok(()),
            Came::Frame(Frame::TooLarge { .. } | Frame::Unreadable(_)) | Came::Closed => {
                self.lost();
                return Ok(());
            }
        };
        let passes = match heard::listen(&message) {
            Heard::Ours(says) => {
                self.owner_says_to_us(says)?;
                false
            }
            Heard::Strange => false,
            Heard::Note { method, params } => {
                self.kept.told(&method, params);
                true
            }
            Heard::Answer(answer) => {
                self.refused_at_the_door(&answer)?;
                let asked = self.owing.answered(answer.id());
                self.answered(asked, &answer);
                true
            }
            Heard::Batch(answers) => {
                let ids: Vec<&str> = answers.iter().map(Answer::id).collect();
                let asked = self.owing.batch_answered(&ids).unwrap_or_default();
                for (asked, answer) in asked.into_iter().zip(&answers) {
                    self.answered(Some(asked), answer);
                }
                true
            }
            Heard::Unclear => true,
        };
        if passes {
            self.client.pass(message.to_vec());
        }
        Ok(())
    }

    /// Before it has taken the client, an owner answers nothing but that there are too many.
    fn refused_at_the_door(&mut self, answer: &Answer<'_>) -> Result<(), Failed> {
        let attached = self.is_attached();
        let error = answer.error.filter(|_| !attached).map(RawValue::get);
        match error.and_then(|error| serde_json::from_str(error).ok()) {
            Some(error) => self.refused(error),
            None => Ok(()),
        }
    }

    fn refused(&mut self, error: RpcError) -> Result<(), Failed> {
        if !self.owners.may_go_on(&error) {
            return Err(Failed::Refused(error));
        }
        self.lost();
        Ok(())
    }

    fn answered(&mut self, asked: Option<Asked>, answer: &Answer<'_>) {
        if let (Some(asked), Some(result)) = (asked, answer.result) {
            if let What::Initialize {
                process: Some(pid), ..
            } = asked.what
            {
                self.watch(pid);
            }
            self.kept.answered(asked, result.get());
        }
    }

    fn owner_says_to_us(&mut self, says: OwnerSays) -> Result<(), Failed> {
        match says {
            OwnerSays::Attached(attached) => self.taken(&attached),
            OwnerSays::Refused(Refused { error }) => return self.refused(error),
            OwnerSays::Following(following) => self.kept.following(following),
            OwnerSays::Opened(opened) => self.kept.opened_at(&opened),
            OwnerSays::Stopped(_) => self.stopped = true,
        }
        Ok(())
    }

    /// The owner has taken the client: what the client said meanwhile is passed on first.
    fn taken(&mut self, attached: &Attached) {
        let size = |limit: Option<u64>, own: usize| {
            limit.map_or(own, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
        };
        self.bounds = Bounds {
            max_frame_bytes: size(attached.max_frame_bytes, self.own.max_frame_bytes),
            json_depth: size(attached.json_depth, self.own.json_depth),
            json_values: size(attached.json_values, self.own.json_values),
            ..self.own
        };
        if self.kept.knows_an_owner() && !attached.resumed {
            tracing::warn!("events before {} are lost to this client", attached.cursor);
        }
        self.kept.attached(attached);
        if let Some(owner) = &mut self.owner {
            owner.attached = true;
        }
        self.pass_backlog();
    }

    /// There is no owner any more: what it did not answer is answered here.
    fn lost(&mut self) {
        let Some(owner) = self.owner.take() else {
            return;
        };
        self.board.disconnect(owner.no);
        // One that did not even take us may just be leaving.
        self.look_at = Instant::now()
            + if owner.attached {
                Duration::ZERO
            } else {
                AGAIN
            };
        let ends = self.stopped || owner.ended;
        let mut again = Vec::new();
        for owed in self.owing.lost() {
            match owed {
                Owed::Alone(Asked {
                    what: What::Initialize { message, .. },
                    ..
                }) if !ends => again.push(message),
                owed @ (Owed::Alone(_) | Owed::Batch(_)) => {
                    self.client.send(unanswered(&owed, ends));
                }
            }
        }
        for message in again.into_iter().rev() {
            self.backlog.push_front(message);
        }
    }
}

/// What requests are answered when their owner is lost, or ends before it came to them.
fn unanswered(owed: &Owed, ends: bool) -> String {
    let error = |asked: &Asked| {
        let error = if let What::Invalid(error) = &asked.what {
            // Nobody would have come to it.
            error.clone()
        } else if ends {
            RpcError::shutting_down()
        } else {
            RpcError::owner_lost(asked.run.as_ref(), asked.session.as_ref())
        };
        refusal(error, &asked.id)
    };
    match owed {
        Owed::Alone(asked) => error(asked),
        Owed::Batch(asked) => {
            let all: Vec<String> = asked.iter().map(error).collect();
            format!("[{}]", all.join(","))
        }
    }
}
