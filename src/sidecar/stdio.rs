//! Standard input and output, kept out of everybody else's reach.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Takes descriptors 0 and 1 for the protocol: from here on nothing else reads or writes them. A stray print goes to stderr, and
/// a child inherits an empty standard input.
///
/// # Errors
/// When the descriptors are not open or can't be duplicated.
pub fn take() -> io::Result<(OwnedFd, OwnedFd)> {
    let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let output: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    let nothing = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(io::stderr().as_fd())?;
    Ok((input, output))
}
