//! Programs that tests drive.

/// Whether a program that a test needs is here; if not, the test says so and is passed over, but not where everything must be.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let everything = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(found || !everything, "{program} is not installed");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
