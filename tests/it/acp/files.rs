//! Files that agents over ACP ask their client for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::text;

fn read(path: &Path) -> String {
    call("fs/read_text_file", json!({"path": path}))
}

fn write(path: &Path, content: &str) -> String {
    call(
        "fs/write_text_file",
        json!({"path": path, "content": content}),
    )
}

fn call(method: &str, params: Value) -> String {
    format!("call {method} {params}")
}

/// What an agent got that was not refused.
fn got(said: &str) -> Value {
    let json = said.strip_prefix("got ");
    serde_json::from_str(json.unwrap_or_else(|| panic!("{said}"))).unwrap()
}

#[test]
fn an_agent_reads_and_writes_in_its_sessions_directory() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let file = scene.file("poem.txt");
    let lines = "one\ntwo\nthree\nföur\n";
    got(&scene.told("s", &write(&file, lines)));
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    let whole = got(&scene.told("s", &read(&file)));
    assert_eq!(whole["content"], lines);
    for (line, limit, content) in [
        (json!(2), json!(2), "two\nthree"),
        (json!(4), json!(null), "föur"),
        (json!(null), json!(1), "one"),
        (json!(9), json!(null), ""),
    ] {
        let params = json!({"path": file, "line": line, "limit": limit});
        let part = got(&scene.told("s", &call("fs/read_text_file", params)));
        assert_eq!(text(&part["content"]).trim_end(), content, "{line} {limit}");
    }
    // What was there is replaced, shorter or not, and a link within the directory is as good as the file.
    got(&scene.told("s", &write(&file, "short")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "short");
    symlink("poem.txt", scene.file("link")).unwrap();
    got(&scene.told("s", &write(&scene.file("link"), "linked")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "linked");
    // Directories that a new file needs are made.
    let below = scene.file("new/and/deep/file");
    got(&scene.told("s", &write(&below, "found")));
    assert_eq!(fs::read_to_string(&below).unwrap(), "found");
    let offered = &scene.received("initialize")[0]["clientCapabilities"]["fs"];
    assert_eq!(
        *offered,
        json!({"readTextFile": true, "writeTextFile": true})
    );
    scene.leave();
}

#[test]
fn nothing_outside_of_the_sessions_directory_is_read_or_written() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let outside = scene.world.path("home");
    let secret = outside.join("secret");
    fs::write(&secret, "hidden").unwrap();
    symlink(&secret, scene.file("to-secret")).unwrap();
    symlink(&outside, scene.file("to-home")).unwrap();
    symlink(outside.join("new"), scene.file("to-nothing")).unwrap();
    let ways = [
        secret.clone(),
        scene.file("../home/secret"),
        scene.file("to-secret"),
        scene.file("to-home/secret"),
        scene.file("to-home/../home/secret"),
        Path::new("secret").to_owned(),
        Path::new("../home/secret").to_owned(),
        // A directory whose name only begins like the session's.
        scene.world.path("work-not"),
    ];
    for way in &ways {
        for script in [read(way), write(way, "overwritten")] {
            let said = scene.told("s", &script);
            assert!(said.starts_with("refused"), "{}: {said}", way.display());
        }
    }
    let said = scene.told("s", &read(&secret));
    assert!(said.contains("directory"), "it does not say why: {said}");
    for way in [
        "to-home/new",
        "to-home/new/deep",
        "to-nothing",
        "../new",
        "below/../../new",
    ] {
        let said = scene.told("s", &write(&scene.file(way), "made"));
        assert!(said.starts_with("refused"), "{way}: {said}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "hidden");
    assert!(!outside.join("new").exists());
    assert!(!scene.world.path("new").exists());
    assert!(!scene.world.path("work-not").exists());
    scene.leave();
}

#[test]
fn a_file_that_can_not_be_read_is_an_error_and_holds_nobody_up() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let fifo = scene.file("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(scene.file("folder")).unwrap();
    fs::write(scene.file("bytes"), b"\xff\xfe\x00").unwrap();
    let large = fs::File::create(scene.file("large")).unwrap();
    large.set_len(64 << 20).unwrap();
    for name in [
        "missing",
        "folder",
        "bytes",
        "large",
        "fifo",
        "missing/below",
    ] {
        let said = scene.told("s", &read(&scene.file(name)));
        assert!(said.starts_with("refused"), "{name}: {said}");
    }
    for name in ["folder", "fifo", "bytes/below"] {
        let said = scene.told("s", &write(&scene.file(name), "x"));
        assert!(said.starts_with("refused"), "{name}: {said}");
    }
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn a_large_file_is_read_whole() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let file = scene.file("large");
    fs::write(&file, "0123456789abcde\n".repeat(1 << 16)).unwrap();
    let run = scene.prompt("s", &read(&file));
    scene.ended(&run, "completed");
    let received = scene.record();
    let read = |note: &Value| note["received"]["result"]["content"].as_str().map(str::len);
    assert_eq!(received.iter().find_map(read), Some(1 << 20));
    let line = json!({"path": file, "line": 65_536, "limit": 5});
    let last = got(&scene.told("s", &call("fs/read_text_file", line)));
    assert_eq!(text(&last["content"]).trim_end(), "0123456789abcde");
    scene.leave();
}

#[test]
fn which_files_are_served_is_configured() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    fs::write(scene.file("x"), "old").unwrap();
    let file = scene.file("x");
    scene.act("reads", &[], json!({"fileAccess": "read"}));
    assert_eq!(got(&scene.told("reads", &read(&file)))["content"], "old");
    let said = scene.told("reads", &write(&file, "new"));
    assert!(said.starts_with("refused"), "{said}");
    scene.act("neither", &[], json!({"fileAccess": "none"}));
    for script in [read(&file), write(&file, "new")] {
        let said = scene.told("neither", &script);
        assert!(said.starts_with("refused"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    let offers = scene.received("initialize");
    let offered = |at: usize| {
        let files = &offers[at]["clientCapabilities"]["fs"];
        (
            files["readTextFile"] == true,
            files["writeTextFile"] == true,
        )
    };
    assert_eq!((offered(0), offered(1)), ((true, false), (false, false)));
    scene.leave();
}
