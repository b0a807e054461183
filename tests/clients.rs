//! The client libraries against the program that was just built: their own tests, the cases that every client holds, their
//! examples, and what their languages' checkers say.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails"
)]

#[path = "support/programs.rs"]
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The Python package's folder.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python");
/// What the Node package's tests look for beside it.
const BESIDE_NODE: &[&str] = &["schema", "LICENSE", "Cargo.toml"];
/// What Python says of a mistake that fails no test.
const COMPLAINTS: &[&str] = &[
    "Exception ignored",
    "ResourceWarning",
    "never retrieved",
    "never awaited",
    "was destroyed but it is pending",
];

/// Whether nothing may be passed over.
fn everything() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Checkers and builders, in an environment that `.ci/run` makes beside the build.
fn tools() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_turnlane"));
    let bin = built.ancestors().nth(2).unwrap().join("python/bin");
    let found = bin.join("python").is_file();
    assert!(found || !everything(), "{} is not there", bin.display());
    if !found {
        eprintln!("skipped: {} is not there; .ci/run makes it", bin.display());
    }
    found.then_some(bin)
}

/// Runs a command in the package's folder and returns what it says, if it succeeds.
fn run(program: &Path, arguments: &[&str], python_path: &Path) -> String {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(PYTHON)
        .env("PYTHONPATH", python_path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TURNLANE_BIN", env!("CARGO_BIN_EXE_turnlane"))
        .env_remove("TURNLANE_STORE")
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{} {arguments:?}: {}\n{said}",
        program.display(),
        done.status
    );
    said
}

/// The package as it would be published: built as a source archive, from that as a wheel, and installed from that.
fn installed(bin: &Path) -> PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    let made = INSTALLED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let _ = fs::remove_dir_all(&folder);
        let (dist, site) = (folder.join("dist"), folder.join("site"));
        let nothing = Path::new("");
        let python = bin.join("python");
        let out = dist.to_str().unwrap();
        run(
            &python,
            &["-m", "build", "--no-isolation", "--outdir", out],
            nothing,
        );
        let files: Vec<_> = fs::read_dir(&dist)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let wheel = files
            .iter()
            .find(|file| file.extension().is_some_and(|end| end == "whl"))
            .unwrap();
        assert_eq!(files.len(), 2, "{files:?}");
        let target = site.to_str().unwrap();
        let offline = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"];
        let what = ["--target", target, wheel.to_str().unwrap()];
        run(&python, &[&offline[..], &what[..]].concat(), nothing);
        site
    });
    made.clone()
}

/// Runs modules of the package's tests: against what was built and installed, or, where it can't be built, against its source.
fn hold(modules: &[&str]) {
    if !programs::has("python3") {
        return;
    }
    let bin = tools();
    let (python, package) = bin.as_ref().map_or_else(
        || (PathBuf::from("python3"), Path::new(PYTHON).join("src")),
        |bin| (bin.join("python"), installed(bin)),
    );
    let where_from = run(
        &python,
        &["-c", "import turnlane; print(turnlane.__file__)"],
        &package,
    );
    assert!(where_from.starts_with(package.to_str().unwrap()));
    let tests = Path::new(PYTHON).join("tests");
    let path = std::env::join_paths([package, tests]).unwrap();
    let arguments = [&["-X", "dev", "-m", "unittest"], modules].concat();
    let said = run(&python, &arguments, Path::new(&path));
    let complaint = COMPLAINTS.iter().find(|words| said.contains(**words));
    assert!(complaint.is_none(), "{said}");
    let count = said.lines().find(|line| line.starts_with("Ran "));
    assert!(
        count.is_some_and(|line| !line.starts_with("Ran 0 ")),
        "{said}"
    );
}

#[test]
fn the_python_client_holds_the_cases_that_every_client_holds() {
    hold(&["test_conformance"]);
}

#[test]
fn the_python_client_keeps_its_promises() {
    hold(&[
        "test_client",
        "test_faults",
        "test_generated",
        "test_life",
        "test_output",
        "test_sync",
    ]);
}

#[test]
fn the_examples_of_the_python_client_do_what_they_say() {
    hold(&["test_examples"]);
}

#[test]
fn the_python_client_satisfies_its_checkers() {
    if !programs::has("python3") {
        return;
    }
    let Some(bin) = tools() else { return };
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/mypy");
    let nothing = Path::new("");
    run(
        &bin.join("mypy"),
        &["--strict", "--cache-dir", cache],
        nothing,
    );
    run(&bin.join("ruff"), &["check", "--no-cache"], nothing);
    run(
        &bin.join("ruff"),
        &["format", "--check", "--no-cache"],
        nothing,
    );
}

/// Copies a folder without what was installed or built in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let target = to.join(&name);
        if !entry.path().is_dir() {
            fs::copy(entry.path(), target).unwrap();
        } else if !["node_modules", "build", "dist"]
            .iter()
            .any(|made| name == *made)
        {
            let _ = fs::remove_dir_all(&target);
            copy(&entry.path(), &target);
        }
    }
}

/// The Node package with what it needs to be built and checked, in a folder where it may be changed. `None` where that can't be had.
fn node_package() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    let package = here.join("clients/node");
    let lock = |folder: &Path| fs::read_to_string(folder.join("package-lock.json")).ok();
    let source = Path::new(ROOT).join("clients/node");
    let kept = package.join("installed").is_file() && lock(&package) == lock(&source);
    copy(&source, &package);
    for name in BESIDE_NODE {
        let link = here.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(Path::new(ROOT).join(name), link).unwrap();
    }
    if !kept {
        let _ = fs::remove_file(package.join("installed"));
        let done = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&package)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() || !everything(), "npm ci: {said}");
        if !done.status.success() {
            eprintln!("skipped: npm can't install what the Node client is checked with: {said}");
            return None;
        }
        fs::write(package.join("installed"), "").unwrap();
    }
    Some(package)
}

#[test]
fn the_node_client_keeps_its_promises() {
    if !programs::has("node") || !programs::has("npm") {
        return;
    }
    let Some(package) = node_package() else {
        return;
    };
    let done = Command::new("npm")
        .arg("test")
        .current_dir(package)
        .env("TURNLANE_BIN", env!("CARGO_BIN_EXE_turnlane"))
        .env_remove("TURNLANE_STORE")
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "npm test: {}\n{said}", done.status);
}
