//! Whether the owner of a store is alive: it is asked over a connection of its own, which a thread of the owner answers that never waits
//! for the disk.
//!
//! Silence counts in slices. A slice that took longer than it should, since this process or the whole machine was suspended, counts as
//! two at the most: whoever was suspended accuses nobody.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

use crate::store::StoreError;

/// What is asked, and answered.
const PING: &[u8] = b"p";
/// Slices in the time after which an owner counts as silent.
const SLICES: u32 = 4;

/// The process that is listened to.
pub(crate) trait Subject: Send {
    /// Where it listens; `None` where that is not known yet, or nobody needs to ask.
    fn socket(&mut self) -> Option<PathBuf>;

    /// Ends it.
    ///
    /// # Errors
    /// It can't be ended: it holds the store as before.
    fn oust(&mut self) -> Result<(), StoreError>;
}

/// Listens for as long as it lives.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Its end ends the thread.
    _stop: io::PipeWriter,
}

impl Pulse {
    /// Listens from here on, on a thread of its own. When nothing was answered for `timeout`, the subject is ousted, and what came of
    /// that is told.
    ///
    /// # Errors
    /// When the system gives no thread or pipe.
    pub(crate) fn start(
        subject: Box<dyn Subject>,
        timeout: Duration,
        tell: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let mut ear = Ear {
            subject,
            slice: timeout / SLICES,
            stopped,
            connection: None,
        };
        std::thread::Builder::new()
            .name("pulse".into())
            .spawn(move || {
                if ear.hears_silence(timeout) {
                    tell(ear.subject.oust());
                }
            })?;
        Ok(Self { _stop: stop })
    }
}

struct Ear {
    subject: Box<dyn Subject>,
    slice: Duration,
    stopped: io::PipeReader,
    connection: Option<OwnedFd>,
}

/// What came of a slice.
enum Slice {
    /// It answered, or nobody can be asked.
    Fine,
    /// It said nothing.
    Silent,
    /// Nobody listens any more.
    Stopped,
}

impl Ear {
    /// Listens until nothing was answered for this long; `false` when it is stopped before.
    fn hears_silence(&mut self, timeout: Duration) -> bool {
        // Whoever only comes for a moment asks nothing.
        if self.sleep(Instant::now() + self.slice) {
            return false;
        }
        let mut silent = Duration::ZERO;
        loop {
            let began = Instant::now();
            match self.listen(began + self.slice) {
                Slice::Fine => silent = Duration::ZERO,
                Slice::Silent => silent += began.elapsed().min(2 * self.slice),
                Slice::Stopped => return false,
            }
            if silent >= timeout {
                return true;
            }
        }
    }

    /// Asks, and listens until then.
    fn listen(&mut self, until: Instant) -> Slice {
        match self.ask() {
            Ok(()) => {}
            // It has not come to taking us in: that is silence too.
            Err(Errno::AGAIN) => {}
            // Nobody is there to be asked. Whoever holds a connection of it sees its end.
            Err(_) => {
                self.connection = None;
                return self.rest(until, Slice::Fine);
            }
        }
        let mut slice = Slice::Silent;
        while let Some(connection) = &self.connection {
            match wait(&self.stopped, Some(connection), until) {
                Woken::Stopped => return Slice::Stopped,
                Woken::Over => return slice,
                Woken::Readable => {}
            }
            match recv(connection, &mut [0; 64][..], RecvFlags::DONTWAIT) {
                Ok((1.., _)) => slice = Slice::Fine,
                Err(Errno::AGAIN | Errno::INTR) => {}
                // It ended the connection: it is there, or its end is seen elsewhere.
                Ok((0, _)) | Err(_) => {
                    self.connection = None;
                    slice = Slice::Fine;
                }
            }
        }
        self.rest(until, slice)
    }

    /// Sends a ping, on a new connection if there is none.
    fn ask(&mut self) -> Result<(), Errno> {
        if self.connection.is_none() {
            let socket = self.subject.socket().ok_or(Errno::NOENT)?;
            self.connection = Some(reach(&socket)?);
        }
        match &self.connection {
            Some(connection) => {
                send(connection, PING, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(|_| ())
            }
            None => Ok(()),
        }
    }

    fn rest(&self, until: Instant, slice: Slice) -> Slice {
        if self.sleep(until) {
            Slice::Stopped
        } else {
            slice
        }
    }

    /// Waits until then; `true` when it is stopped before.
    fn sleep(&self, until: Instant) -> bool {
        matches!(wait(&self.stopped, None, until), Woken::Stopped)
    }
}

/// Connects to a socket without waiting: one that nobody takes connections from lets only so many wait.
pub(crate) fn reach(socket: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connection = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&connection, &SocketAddrUnix::new(socket)?)?;
    Ok(connection)
}

enum Woken {
    Stopped,
    Readable,
    Over,
}

fn wait(stopped: &io::PipeReader, connection: Option<&OwnedFd>, until: Instant) -> Woken {
    loop {
        let mut fds = vec![PollFd::new(stopped, PollFlags::IN)];
        fds.extend(connection.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return Woken::Over,
            Ok(_) if !fds[0].revents().is_empty() => return Woken::Stopped,
            Ok(_) => return Woken::Readable,
            Err(Errno::INTR) => {}
            // INVARIANT: the descriptors are ours and open; without memory to wait with there is nobody to accuse.
            Err(_) => return Woken::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(400);
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Known(PathBuf, Arc<AtomicBool>);

    impl Subject for Known {
        fn socket(&mut self) -> Option<PathBuf> {
            Some(self.0.clone())
        }

        fn oust(&mut self) -> Result<(), StoreError> {
            self.1.store(true, Ordering::SeqCst);
            Err(StoreError::Unavailable("it stays".into()))
        }
    }

    struct World {
        _directory: tempfile::TempDir,
        path: PathBuf,
        ousted: Arc<AtomicBool>,
    }

    fn world() -> World {
        let directory = tempfile::tempdir().unwrap();
        World {
            path: directory.path().join("owner.sock"),
            _directory: directory,
            ousted: Arc::default(),
        }
    }

    impl World {
        fn listen(&self) -> (Pulse, Receiver<Result<(), StoreError>>) {
            let (told, came) = channel();
            let subject = Known(self.path.clone(), self.ousted.clone());
            let tell = Box::new(move |ousted| told.send(ousted).unwrap());
            (
                Pulse::start(Box::new(subject), TIMEOUT, tell).unwrap(),
                came,
            )
        }
    }

    /// Answers so many pings, and then holds the connection without a word.
    fn answer(listener: &UnixListener, pings: usize) -> UnixStream {
        let (mut peer, _) = listener.accept().unwrap();
        for _ in 0..pings {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            peer.write_all(&byte).unwrap();
        }
        peer
    }

    #[test]
    fn an_owner_that_answers_is_left_alone_and_one_that_falls_silent_is_ousted() {
        let world = world();
        let listener = UnixListener::bind(&world.path).unwrap();
        let (_pulse, came) = world.listen();
        let silent = answer(&listener, 6);
        assert!(came.try_recv().is_err());
        assert!(!world.ousted.load(Ordering::SeqCst));
        let began = Instant::now();
        let ousted = came.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(ousted, Err(StoreError::Unavailable(_))));
        assert!(world.ousted.load(Ordering::SeqCst));
        assert!(began.elapsed() >= TIMEOUT / 2);
        drop(silent);
    }

    #[test]
    fn one_that_never_takes_anybody_in_is_silent() {
        let world = world();
        let _listener = UnixListener::bind(&world.path).unwrap();
        let (_pulse, came) = world.listen();
        came.recv_timeout(PATIENCE).unwrap().unwrap_err();
    }

    #[test]
    fn where_nobody_listens_nobody_is_accused() {
        let world = world();
        let (pulse, came) = world.listen();
        let ended = came.recv_timeout(3 * TIMEOUT);
        ended.unwrap_err();
        drop(pulse);
        // The thread ends, and with it the last one who could tell.
        let left = came.recv_timeout(PATIENCE);
        assert_eq!(left, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
        assert!(!world.ousted.load(Ordering::SeqCst));
    }

    #[test]
    fn a_connection_that_the_owner_ends_is_made_again() {
        let world = world();
        let listener = UnixListener::bind(&world.path).unwrap();
        let (_pulse, came) = world.listen();
        drop(answer(&listener, 1));
        let again = answer(&listener, 2);
        assert!(came.try_recv().is_err());
        drop(again);
    }

    /// A subject that is slow to say where it listens stands for a relay that was itself suspended in the middle of a slice.
    #[test]
    fn a_slice_that_took_far_too_long_counts_as_two() {
        struct Slow(PathBuf, Arc<Mutex<Vec<Instant>>>);
        impl Subject for Slow {
            fn socket(&mut self) -> Option<PathBuf> {
                self.1.lock().unwrap().push(Instant::now());
                std::thread::sleep(2 * TIMEOUT);
                Some(self.0.clone())
            }
            fn oust(&mut self) -> Result<(), StoreError> {
                Ok(())
            }
        }
        let world = world();
        let _listener = UnixListener::bind(&world.path).unwrap();
        let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let (told, came) = channel();
        let tell = Box::new(move |ousted| told.send(ousted).unwrap());
        let subject = Slow(world.path.clone(), asked.clone());
        let _pulse = Pulse::start(Box::new(subject), TIMEOUT, tell).unwrap();
        came.recv_timeout(PATIENCE).unwrap().unwrap();
        let resumed = asked.lock().unwrap()[0] + 2 * TIMEOUT;
        // Two more slices at the least had to be silent after it.
        assert!(resumed.elapsed() >= TIMEOUT / 2);
    }
}
