//! One sidecar and the client that speaks with it.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::audit::Auditor;
use super::processes::{forget_peak, peak, resident, signal, wait_gone};
use super::reader::{Framing, Mailbox, Post};
use super::world::World;
use super::{HARD_LIMIT, Refusal, text};

/// A running sidecar, its standard input in our hand. Dropping it kills it.
#[derive(Debug)]
pub struct Sidecar {
    // Kept to the end: the world looks for what is left when its last handle goes.
    world: World,
    pid: u32,
    stdin: Option<ChildStdin>,
    framing: Framing,
    post: Arc<Post>,
    stderr: Arc<Mutex<String>>,
    /// Nothing is sent here: it ends with what the process says to people.
    stderr_end: Receiver<()>,
    exit: Receiver<ExitStatus>,
    ended: Option<ExitStatus>,
    next: AtomicU64,
}

impl Sidecar {
    /// Starts a command that speaks the protocol, a message a line.
    pub fn spawn(world: &World, command: Command) -> Self {
        Self::spawn_framed(world, command, Framing::Lines)
    }

    /// The same with `Content-Length` headers.
    pub fn spawn_with_headers(world: &World, command: Command) -> Self {
        Self::spawn_framed(world, command, Framing::Headers)
    }

    /// The same in this framing.
    pub fn spawn_framed(world: &World, mut command: Command, framing: Framing) -> Self {
        let mut child = command.spawn().unwrap();
        let post = Post::new(Auditor::new(world.ledger()));
        let (out, reader) = (child.stdout.take().unwrap(), post.clone());
        thread::spawn(move || reader.serve(out, framing));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (open, stderr_end) = mpsc::channel();
        if let Some(mut err) = child.stderr.take() {
            let said = stderr.clone();
            thread::spawn(move || {
                let _open = open;
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = err.read(&mut piece) {
                    said.lock()
                        .unwrap()
                        .push_str(&String::from_utf8_lossy(&piece[..length]));
                }
            });
        }
        let (pid, stdin) = (child.id(), child.stdin.take());
        let (told, exit) = mpsc::channel();
        thread::spawn(move || told.send(child.wait().unwrap()));
        let (world, next) = (world.clone(), AtomicU64::new(1));
        Self {
            world,
            pid,
            stdin,
            framing,
            post,
            stderr,
            stderr_end,
            exit,
            ended: None,
            next,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its memory in use, in bytes.
    pub fn memory(&self) -> u64 {
        resident(self.pid)
    }

    /// The most memory that it had in use since [`Self::forget_peak`], in bytes.
    pub fn peak(&self) -> u64 {
        peak(self.pid)
    }

    /// Looks at the peak of what comes from here on.
    pub fn forget_peak(&self) {
        forget_peak(self.pid);
    }

    /// What it has said to people so far.
    pub fn said(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// All that it has said to people, once it has ended.
    pub fn all_said(&mut self) -> String {
        self.wait_exit();
        let end = self.stderr_end.recv_timeout(HARD_LIMIT);
        assert_eq!(
            end,
            Err(RecvTimeoutError::Disconnected),
            "its stderr stays open"
        );
        self.said()
    }

    /// What has arrived.
    pub fn look<T>(&self, at: impl FnOnce(&mut Mailbox) -> T) -> T {
        at(&mut self.post.look())
    }

    /// Waits until what has arrived holds what is looked for.
    pub fn wait<T>(&self, what: &str, find: impl FnMut(&mut Mailbox) -> Option<T>) -> T {
        self.post.wait(what, find)
    }

    /// Stops reading, or goes on.
    pub fn pause(&self, paused: bool) {
        self.post.pause(paused);
    }

    // Sending.

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.look(|mailbox| mailbox.auditor.asks_in_bytes(bytes));
        self.write(bytes);
    }

    /// Sends any bytes as the content of one frame.
    pub fn send_body(&mut self, body: &[u8]) {
        let frame = self.frame(body);
        self.send_bytes(&frame);
    }

    /// Another handle of its standard input, for a thread that may have to wait.
    pub fn input(&self) -> std::fs::File {
        self.look(|mailbox| mailbox.auditor.asks_in_bytes(&[]));
        let stdin = self.stdin.as_ref().expect("its input is open");
        stdin.as_fd().try_clone_to_owned().unwrap().into()
    }

    /// Waits until it has read all that was sent.
    pub fn has_read(&self) {
        let stdin = self.stdin.as_ref().expect("its input is open");
        let started = Instant::now();
        while rustix::io::ioctl_fionread(stdin).unwrap() > 0 {
            assert!(started.elapsed() < HARD_LIMIT, "it does not read");
            thread::yield_now();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    fn framed(&self, message: &Value) -> Vec<u8> {
        self.frame(message.to_string().as_bytes())
    }

    /// Any bytes as the content of one frame.
    pub fn frame(&self, body: &[u8]) -> Vec<u8> {
        match self.framing {
            Framing::Lines => [body, b"\n"].concat(),
            Framing::Headers => {
                let head = format!("Content-Length: {}\r\n\r\n", body.len());
                [head.as_bytes(), body].concat()
            }
        }
    }

    fn request(&self, method: &str, params: &Value) -> (Value, Vec<u8>) {
        let id = json!(self.next.fetch_add(1, Ordering::Relaxed));
        self.look(|mailbox| mailbox.auditor.asks(&id, method, params));
        let bytes =
            self.framed(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        (id, bytes)
    }

    /// Sends a request and does not wait; its id.
    pub fn send(&mut self, method: &str, params: Value) -> Value {
        let (id, bytes) = self.request(method, &params);
        self.write(&bytes);
        id
    }

    /// Sends a request to a sidecar that may be gone; its id, if it could be sent.
    #[allow(dead_code, reason = "for tests whose sidecar dies under them")]
    pub fn try_send(&mut self, method: &str, params: &Value) -> Option<Value> {
        let (id, bytes) = self.request(method, params);
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(&bytes).ok().map(|()| id)
    }

    /// Sends many requests in one write; their ids.
    pub fn send_all(&mut self, requests: &[(&str, Value)]) -> Vec<Value> {
        let (mut ids, mut all) = (Vec::new(), Vec::new());
        for (method, params) in requests {
            let (id, bytes) = self.request(method, params);
            ids.push(id);
            all.extend(bytes);
        }
        self.write(&all);
        ids
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) {
        let bytes = self.framed(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
        self.write(&bytes);
    }

    // Answers.

    /// Waits for the answer to a request.
    pub fn answer(&self, id: &Value) -> Result<Value, Refusal> {
        self.answer_or_end(id).unwrap_or_else(|| {
            panic!(
                "it ended before it answered {id}; seen:\n{}",
                super::reader::recent(&self.post.look())
            )
        })
    }

    /// Waits for the answer of a sidecar that may be gone before.
    pub fn answer_or_end(&self, id: &Value) -> Option<Result<Value, Refusal>> {
        let key = id.to_string();
        let what = format!("the answer to {id}");
        let answer = |mailbox: &mut Mailbox| mailbox.answers.remove(&key);
        let mut message = self.post.wait_or_end(&what, answer)?;
        Some(match message.get("error") {
            Some(error) => Err(Refusal::of(error)),
            None => Ok(message["result"].take()),
        })
    }

    /// Asks and waits for the answer.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Refusal> {
        let id = self.send(method, params);
        self.answer(&id)
    }

    /// Asks what can't be refused.
    pub fn ok(&mut self, method: &str, params: Value) -> Value {
        let shown = format!("{params:.400}");
        self.call(method, params)
            .unwrap_or_else(|refusal| panic!("{method} {shown}: {refusal:?}"))
    }

    /// Asks what must be refused with this kind.
    pub fn refused(&mut self, method: &str, params: Value, kind: &str) -> Refusal {
        let shown = format!("{:.400}", params.to_string());
        match self.call(method, params) {
            Ok(result) => panic!("{method} {shown} is not refused: {result}"),
            Err(refusal) => {
                assert_eq!(refusal.kind(), kind, "{method} {shown}: {refusal:?}");
                refusal
            }
        }
    }

    // What tests say most.

    /// Opens a session of this agent.
    pub fn open(&mut self, session: &str, agent: &str) -> Value {
        self.ok(
            "session/open",
            json!({"sessionId": session, "agent": agent}),
        )
    }

    /// Prompts; the run's id.
    pub fn prompt(&mut self, session: &str, prompt: &str) -> String {
        let accepted = self.ok("prompt", json!({"sessionId": session, "prompt": prompt}));
        text(&accepted["runId"]).to_owned()
    }

    /// Prompts with other parameters; the whole answer.
    pub fn prompt_with(&mut self, session: &str, prompt: &str, more: Value) -> Value {
        self.ok("prompt", asked(session, prompt, more))
    }

    /// Begins a run of a `script` that holds at `name`, and waits until it does.
    pub fn hold(&mut self, session: &str, name: &str) -> String {
        let run = self.prompt(session, &format!("say at {name}\nhold {name}"));
        self.said_by(&run, &format!("at {name}"));
        run
    }

    /// Releases a hold.
    pub fn release(&mut self, session: &str, name: &str) -> Value {
        let answer = self.prompt_with(
            session,
            &format!("release {name}"),
            json!({"ifBusy": "steer"}),
        );
        assert_eq!(answer["steered"], true, "{answer}");
        answer
    }

    /// Waits until a run has put out this text.
    pub fn said_by(&self, run: &str, what: &str) {
        self.wait(&format!("{run} to say {what:?}"), |mailbox| {
            let output = mailbox.output.get(run)?;
            let found = output
                .windows(what.len())
                .any(|window| window == what.as_bytes());
            found.then_some(())
        });
    }

    /// Waits for the completion of a run.
    pub fn completed(&self, run: &str) -> Value {
        self.wait(&format!("the completion of {run}"), |mailbox| {
            mailbox.completions.get(run).cloned()
        })
    }

    /// Waits for the completion of a run, and for its outcome to be this.
    pub fn ended(&self, run: &str, outcome: &str) -> Value {
        let completion = self.completed(run);
        assert_eq!(completion["outcome"], outcome, "{completion}");
        completion
    }

    /// The completion of a run, of a sidecar that has ended.
    pub fn ended_already(&self, run: &str) -> Value {
        self.look(|mailbox| mailbox.completions.get(run).cloned())
            .unwrap_or_else(|| panic!("{run} was not told to have ended"))
    }

    /// Waits for a notification.
    pub fn note(&self, method: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut from = 0;
        self.wait(method, |mailbox| {
            let found = mailbox.notes[from..]
                .iter()
                .find(|note| note["method"] == method && fits(&note["params"]));
            from = mailbox.notes.len();
            found.map(|note| note["params"].clone())
        })
    }

    /// Waits until a run is said to be in this state; what was said.
    pub fn state(&self, run: &str, state: &str) -> Value {
        self.note("run/changed", |params| {
            params["runId"] == run && params["state"] == state
        })
    }

    /// The runs that were announced as completed, in order.
    pub fn completion_order(&self) -> Vec<String> {
        self.look(|mailbox| {
            let all = mailbox
                .notes
                .iter()
                .filter(|note| note["method"] == "run/completed");
            all.map(|note| text(&note["params"]["runId"]).to_owned())
                .collect()
        })
    }

    // The end.

    /// Sends it a signal.
    pub fn signal(&self, number: Signal) {
        self.look(|mailbox| mailbox.auditor.killed |= number == Signal::KILL);
        signal(self.pid, number);
    }

    /// What sends it signals from elsewhere.
    #[allow(dead_code, reason = "for tests with several clients")]
    pub fn handle(&self) -> Handle {
        Handle {
            pid: self.pid,
            post: self.post.clone(),
        }
    }

    /// It was killed by somebody: waits until it is gone and all that it said is read.
    #[allow(dead_code, reason = "for tests with several clients")]
    pub fn was_killed(&mut self) {
        let status = self.wait_exit();
        let said = self.said();
        assert_eq!(status.signal(), Some(9), "{status}: {said}");
        // What an earlier life left queued may have begun in this one: the next one ends it before anybody listens.
        self.world.ledger().lock().unwrap().left.clear();
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until it has closed its standard output: nothing more is said to its client.
    #[allow(dead_code, reason = "for tests with several clients")]
    pub fn wait_closed(&self) {
        self.post.wait_closed();
    }

    /// Waits for its end and for all it said before.
    pub fn wait_exit(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let status = self.exit.recv_timeout(HARD_LIMIT).unwrap_or_else(|_| {
            panic!(
                "the process does not end; seen:\n{}",
                super::reader::recent(&self.post.look())
            )
        });
        self.ended = Some(status);
        self.post.wait_closed();
        status
    }

    /// Kills it as nothing can be caught, and waits until it is gone.
    pub fn kill9(mut self) {
        self.signal(Signal::KILL);
        self.wait_exit();
        // What an earlier life left queued may have begun in this one: the next one ends it before anybody listens.
        self.world.ledger().lock().unwrap().left.clear();
    }

    /// Leaves by the end of input: in order, with every run that was under way completed, and all promises kept.
    pub fn leave(mut self) {
        self.close_stdin();
        let status = self.wait_exit();
        assert_eq!(status.code(), Some(0), "{status}: {}", self.said());
        self.check();
        self.look(|mailbox| mailbox.auditor.leaves());
    }

    /// Leaves a store that others use: its runs go on without it.
    #[allow(dead_code, reason = "for tests with several clients")]
    pub fn leave_others(mut self) {
        self.close_stdin();
        let status = self.wait_exit();
        assert_eq!(status.code(), Some(0), "{status}: {}", self.said());
    }

    /// No promise was broken.
    pub fn check(&self) {
        let mailbox = self.post.look();
        assert!(
            mailbox.auditor.faults.is_empty(),
            "broken promises: {:#?}",
            mailbox.auditor.faults
        );
    }

    /// Runs that were accepted on this connection and were not announced as ended.
    pub fn owed(&self) -> Vec<String> {
        self.look(|mailbox| {
            mailbox
                .auditor
                .owed()
                .into_iter()
                .map(str::to_owned)
                .collect()
        })
    }
}

/// A process of a sidecar, for whoever does not speak with it.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "for tests with several clients")]
pub struct Handle {
    /// Its number.
    pub pid: u32,
    post: Arc<Post>,
}

#[allow(dead_code, reason = "for tests with several clients")]
impl Handle {
    /// Sends it a signal.
    pub fn signal(&self, number: Signal) {
        self.is_doomed_by(number == Signal::KILL);
        signal(self.pid, number);
    }

    /// Somebody else is going to kill it.
    pub fn is_doomed(&self) {
        self.is_doomed_by(true);
    }

    fn is_doomed_by(&self, killed: bool) {
        self.post.look().auditor.killed |= killed;
    }
}

/// The parameters of a prompt.
pub fn asked(session: &str, prompt: &str, more: Value) -> Value {
    let mut params = json!({"sessionId": session, "prompt": prompt});
    if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
        params.extend(more);
    }
    params
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if self.ended.is_none() {
            signal(self.pid, Signal::KILL);
            wait_gone(self.pid);
        }
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "stderr of {}: {}", self.pid, self.said());
            return;
        }
        let _ = &self.world;
        self.check();
    }
}
