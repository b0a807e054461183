//! With real sockets: who is let in, who is answered, and what is left behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use super::*;

const LONG: Duration = Duration::from_secs(3_600);
const ROOMY: Bounds = Bounds {
    clients: 100,
    pulses: 100,
    silence: LONG,
    looks: LONG,
};

/// A porter, and whom it has let in.
struct Entrance {
    porter: Porter,
    come: Receiver<(UnixStream, Seat)>,
    folder: tempfile::TempDir,
}

impl Entrance {
    fn open(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::take(folder.path()).unwrap();
        let (tell, come) = channel();
        let bound = Place::bind(hold.path()).unwrap();
        let porter = Porter::with(bound, hold.keep(), bounds, move |socket, seat| {
            let _ = tell.send((UnixStream::from(socket), seat));
        });
        Self {
            porter: porter.unwrap(),
            come,
            folder,
        }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.porter.path()).unwrap()
    }

    fn say(&self, words: &str) -> UnixStream {
        let mut client = self.connect();
        client.write_all(words.as_bytes()).unwrap();
        client
    }

    fn client(&self) -> (UnixStream, (UnixStream, Seat)) {
        (self.say("{}\n"), self.come.recv().unwrap())
    }
}

fn is_alive(pulse: &mut UnixStream) -> bool {
    let mut answer = [0];
    pulse.write_all(b"p").is_ok() && matches!(pulse.read(&mut answer), Ok(1)) && answer == [PULSE]
}

/// What is said before the end.
fn rest(mut client: &UnixStream) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    rest
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_dead_holders_socket_is_replaced_and_ours_is_gone_before_the_directory_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("owner.sock");
    drop(UnixListener::bind(&path).unwrap());
    UnixStream::connect(&path).unwrap_err();
    let hold = Hold::take(folder.path()).unwrap();
    let porter = Porter::open(&hold, &Limits::default(), |_, _| {}).unwrap();
    hold.record(porter.path()).unwrap();
    assert_eq!(porter.path(), path);
    assert_eq!(mode(&path), 0o600);
    assert!(is_alive(&mut UnixStream::connect(&path).unwrap()));
    drop(hold);
    Hold::take(folder.path()).unwrap_err();
    drop(porter);
    assert!(!path.exists());
    Hold::take(folder.path()).unwrap();
}

/// A store whose path has 150 bytes, below a folder.
fn deep(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap();
    let store = folder.join("s".repeat(149 - folder.as_os_str().len()));
    assert_eq!(store.as_os_str().len(), 150);
    fs::create_dir(&store).unwrap();
    store
}

fn below(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder) && path.as_os_str().len() <= 100 && mode(path) == 0o600
}

#[test]
fn a_store_with_a_long_path_has_its_socket_where_only_we_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let store = deep(folder.path());
    let (runtime, shared) = (folder.path().join("r"), folder.path().join("t"));
    fs::create_dir(&runtime).unwrap();
    fs::create_dir(&shared).unwrap();
    let own = shared.join(format!("turnlane-{}", rustix::process::geteuid().as_raw()));
    let bind = |runtime| Place::among(&store, runtime, &shared);

    chmod(&runtime, 0o700);
    let (_listener, place) = bind(Some(&*runtime)).unwrap();
    assert!(below(place.path(), &runtime), "{place:?}");
    // The place of one store is the same each time, and no other store's.
    let again = bind(Some(&*runtime)).unwrap().1;
    assert_eq!(again.path(), place.path());
    let other = Place::among(&store.join("x"), Some(&runtime), &shared);
    assert_ne!(other.unwrap().1.path(), place.path());

    chmod(&runtime, 0o750);
    for runtime in [Some(&*runtime), Some(Path::new("relative")), None] {
        let (_listener, place) = bind(runtime).unwrap();
        assert!(below(place.path(), &own), "{place:?}");
        assert_eq!(mode(&own), 0o700);
    }
    // Somebody else could have made it.
    chmod(&own, 0o770);
    bind(None).unwrap_err();
    chmod(&own, 0o700);
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&own, &elsewhere).unwrap();
    symlink(&elsewhere, &own).unwrap();
    let error = bind(None).unwrap_err();
    assert!(error.to_string().contains("turnlane-"), "{error}");
}

#[test]
fn what_is_no_socket_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("owner.sock");
    fs::write(&path, "mine").unwrap();
    let (_listener, place) = Place::among(folder.path(), None, folder.path()).unwrap();
    assert_ne!(place.path(), path);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_client_is_handed_on_with_all_that_it_said() {
    let entrance = Entrance::open(ROOMY);
    let mut client = entrance.connect();
    // Nothing is decided before its first byte.
    assert!(is_alive(&mut entrance.connect()));
    assert_eq!(entrance.porter.clients(), 0);
    client.write_all(b"{\"jsonrpc\":\"2.0\"}").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut served, seat) = entrance.come.recv().unwrap();
    assert_eq!(rest(&served), "{\"jsonrpc\":\"2.0\"}");
    assert_eq!(entrance.porter.clients(), 1);
    served.write_all(b"[]").unwrap();
    drop((served, seat));
    assert_eq!(rest(&client), "[]");
    assert_eq!(entrance.porter.clients(), 0);
}

#[test]
fn a_pulse_is_answered_while_nobody_receives_clients() {
    let entrance = Entrance::open(ROOMY);
    let mut pulse = entrance.connect();
    let waiting: Vec<_> = (0..20).map(|_| entrance.say("{")).collect();
    for _ in 0..3 {
        assert!(is_alive(&mut pulse));
        assert!(is_alive(&mut entrance.connect()));
    }
    for _ in waiting {
        entrance.come.recv().unwrap();
    }
}

#[test]
fn every_ping_is_answered_however_many_come_at_once() {
    let entrance = Entrance::open(ROOMY);
    let mut pulse = entrance.connect();
    pulse.write_all(&[PULSE; 10_000]).unwrap();
    pulse.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&pulse), "p".repeat(10_000));
}

#[test]
fn a_pulse_that_says_something_else_ends_and_no_other_does() {
    let entrance = Entrance::open(ROOMY);
    let mut other = entrance.connect();
    assert!(is_alive(&mut other));
    let mut pulse = entrance.connect();
    assert!(is_alive(&mut pulse));
    pulse.write_all(b"q").unwrap();
    assert_eq!(rest(&pulse), "");
    assert!(is_alive(&mut other));
    assert!(entrance.come.try_recv().is_err());
}

#[test]
fn one_client_too_many_is_told_so_in_its_framing_and_let_in_when_one_has_gone() {
    // Both sides of all of them are here.
    raise_descriptor_limit();
    let entrance = Entrance::open(Bounds {
        clients: 1_000,
        ..ROOMY
    });
    let mut clients: Vec<_> = (0..1_000).map(|_| entrance.client()).collect();
    let line = rest(&entrance.say("{\"id\":1}\n"));
    let (head, framed) = {
        let headers = rest(&entrance.say("Content-Length: 2\r\n\r\n{}"));
        let (head, framed) = headers.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), framed.to_owned())
    };
    assert_eq!(head, format!("Content-Length: {}", framed.len()));
    assert_eq!(line, format!("{framed}\n"));
    let refusal: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(refusal["id"], serde_json::Value::Null);
    let data = serde_json::json!({"kind": "overloaded", "limit": 1_000, "limitName": "clients"});
    assert_eq!(refusal["error"]["data"], data);
    assert!(is_alive(&mut entrance.connect()));
    clients.pop();
    clients.push(entrance.client());
    assert!(!rest(&entrance.say("{")).is_empty());
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let entrance = Entrance::open(Bounds {
        silence: Duration::from_millis(1),
        ..ROOMY
    });
    assert_eq!(rest(&entrance.connect()), "");
    assert_eq!(rest(&entrance.connect()), "");
}

#[test]
fn the_oldest_of_too_many_silent_connections_goes_and_all_others_stay() {
    let entrance = Entrance::open(ROOMY);
    let mut silent: Vec<_> = (0..257).map(|_| entrance.connect()).collect();
    assert_eq!(rest(&silent.remove(0)), "");
    for mut client in silent {
        client.write_all(b"{").unwrap();
        entrance.come.recv().unwrap();
    }
}

#[test]
fn the_quietest_of_too_many_pulses_goes() {
    let entrance = Entrance::open(Bounds { pulses: 2, ..ROOMY });
    let mut pulses: Vec<_> = (0..2).map(|_| entrance.connect()).collect();
    for pulse in &mut pulses {
        assert!(is_alive(pulse));
    }
    assert!(is_alive(&mut pulses[0]));
    assert!(is_alive(&mut entrance.connect()));
    assert_eq!(rest(&pulses[1]), "");
    assert!(is_alive(&mut pulses[0]));
}

#[test]
fn a_socket_is_made_again_only_where_our_store_is_and_nothing_of_somebody_elses_is_removed() {
    // With each turn: one answered pulse later it has looked.
    let soon = Bounds {
        looks: Duration::ZERO,
        ..ROOMY
    };
    let entrance = Entrance::open(soon);
    let path = entrance.porter.path().to_path_buf();
    let mut early = entrance.connect();
    fs::remove_file(&path).unwrap();
    let mut late = connected(&path);
    // Whoever is answered was let in by a porter that has made it.
    assert!(is_alive(&mut late) && is_alive(&mut early));
    assert_eq!(mode(&path), 0o600);
    // What is no socket stays, and is waited for.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    assert!(is_alive(&mut late) && is_alive(&mut late));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    fs::remove_file(&path).unwrap();
    assert!(is_alive(&mut connected(&path)));
    // Another store at the same place has a socket of its own.
    let store = entrance.folder.path().canonicalize().unwrap();
    fs::remove_file(store.join("owner.lock")).unwrap();
    let hold = Hold::take(&store).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(is_alive(&mut late) && is_alive(&mut late));
    assert!(!path.exists());
    let other = Place::bind(hold.path()).unwrap();
    assert!(is_alive(&mut late) && is_alive(&mut late));
    drop(entrance.porter);
    assert_eq!(rest(&late), "");
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
}

/// A connection through a socket that may not be there yet.
fn connected(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// A connection of another user, for which a thread acts as one for a moment.
#[cfg(target_os = "linux")]
#[test]
fn another_user_is_not_let_in_and_hears_nothing() {
    use rustix::process::Uid;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only the superuser can act as somebody else");
        return;
    }
    let entrance = Entrance::open(ROOMY);
    let path = entrance.porter.path().to_path_buf();
    chmod(&path, 0o666);
    chmod(entrance.folder.path(), 0o711);
    let heard = std::thread::spawn(move || {
        let nobody = Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let mut stranger = UnixStream::connect(path).unwrap();
        let _ = stranger.write_all(b"p");
        let mut heard = Vec::new();
        // What it said may have been left unread.
        let _ = stranger.read_to_end(&mut heard);
        heard
    });
    assert!(heard.join().unwrap().is_empty());
    assert!(is_alive(&mut entrance.connect()));
    assert_eq!(entrance.porter.clients(), 0);
}

#[test]
fn whoever_is_connected_at_the_end_sees_it() {
    let entrance = Entrance::open(ROOMY);
    let silent = entrance.connect();
    let mut pulse = entrance.connect();
    assert!(is_alive(&mut pulse));
    drop(entrance.porter);
    assert_eq!(rest(&silent), "");
    assert_eq!(rest(&pulse), "");
}

#[test]
fn as_many_clients_are_allowed_as_there_are_descriptors_for() {
    assert_eq!(clients(1_000, 65_536), 1_000);
    assert_eq!(clients(1_000, u64::MAX), 1_000);
    assert_eq!(clients(1_000, 1_024), 320);
    assert_eq!(clients(1_000, 10), 1);
}
