//! The client's side: what it says is passed on, or kept until there is somebody to pass it on to.

use bytes::Bytes;

use super::{CLIENT, Owners, Relay, Told, said};
use crate::protocol::RpcError;
use crate::sidecar::hub::ConnId;
use crate::sidecar::watch::{self, Outside};
use crate::wire::{Came, Frame, refusal};

impl<O: Owners> Relay<O> {
    pub(super) fn client_says(&mut self, came: Came) {
        if self.parting.has_begun() {
            return;
        }
        match came {
            Came::Frame(Frame::Message(message)) => {
                self.spoken_to = true;
                if self.is_attached() && self.backlog.is_empty() {
                    let _ = self.pass(&message);
                } else {
                    // On its own, not as a part of all that was read with it.
                    self.backlog.push_back(Bytes::copy_from_slice(&message));
                }
            }
            Came::Frame(Frame::TooLarge { limit }) => self.too_large(limit),
            Came::Frame(Frame::Unreadable(why)) => self.nameless(RpcError::parse_error(why)),
            Came::Drained => {}
            Came::Closed => self.parting.begin(),
        }
    }

    fn too_large(&mut self, limit: usize) {
        self.nameless(RpcError::frame_too_large(limit as u64));
    }

    fn nameless(&mut self, error: RpcError) {
        self.spoken_to = true;
        self.client.send(refusal(error, "null"));
    }

    /// Passes what came before there was an owner on to it.
    pub(super) fn pass_backlog(&mut self) {
        while let Some(message) = self.backlog.pop_front() {
            if self.pass(&message) {
                self.backlog.clear();
            }
        }
    }

    /// Passes a message on to the owner; `true` when it is the client's leave.
    fn pass(&mut self, message: &Bytes) -> bool {
        if message.len() > self.bounds.max_frame_bytes {
            self.too_large(self.bounds.max_frame_bytes);
            return false;
        }
        let said = said::look(message, &self.bounds);
        if let Some(refused) = said.refused {
            self.client.send(refused);
            return false;
        }
        for noted in said.noted {
            self.kept.noted(noted);
        }
        if let Some(owed) = said.owed {
            self.owing.add(owed);
        }
        if let Some(owner) = &self.owner {
            owner.link.pass(said.message);
        }
        if let Some(pid) = said.watch {
            self.watch(pid);
        }
        if said.exit {
            self.parting.begin();
        }
        said.exit
    }

    /// The death of this process is the client's leave.
    pub(super) fn watch(&self, pid: u32) {
        let tell = self.teller();
        let told = move || tell.tell(Told::Outside(Outside::OrphanedBy(ConnId(CLIENT))));
        if let Err(error) = watch::process(pid, told) {
            tracing::warn!("process {pid} can't be watched: {error}");
        }
    }
}
