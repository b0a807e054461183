//! Disks of a test's own: in memory, or an ext4 in a file, whose power can be cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{World, is_root};
use crate::programs;

/// `EXT4_IOC_SHUTDOWN`: from now on nothing reaches the disk, and what has not is lost.
const CUT: &str = "import fcntl, os, struct, sys; \
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', int(sys.argv[2])))";

/// What is still written when the power goes.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Nothing.
    Dead,
    /// The file system's journal: names and sizes of files without what was to be in them.
    JournalWritten,
}

/// A mounted disk, as long as this lives.
pub struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// In memory, with these options; nothing when that is not allowed here.
    pub fn in_memory(world: &World, options: &str) -> Option<Self> {
        let disk = Self {
            at: folder(world),
            image: None,
        };
        // In a container root may lack the right to mount: that it should have it is for the ones below to say.
        mount(world, &["-t", "tmpfs", "-o", options, "tmpfs"], &disk.at).then_some(disk)
    }

    /// An ext4 in a file; nothing when that is not possible here.
    pub fn in_file(world: &World) -> Option<Self> {
        if !Path::new("/dev/loop-control").exists() {
            eprintln!("skipped: there are no loop devices");
            return None;
        }
        if !["mkfs.ext4", "python3"].into_iter().all(programs::has) {
            return None;
        }
        let image = world.path("image");
        fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
        run(world, "mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let disk = Self {
            at: folder(world),
            image: Some(image),
        };
        disk.mount(world).then_some(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    fn mount(&self, world: &World) -> bool {
        let image = self.image.as_ref().expect("it is in a file");
        mount(world, &["-o", "loop", image.to_str().unwrap()], &self.at)
    }

    /// Other options from now on.
    pub fn remount(&self, world: &World, options: &str) {
        let options = format!("remount,{options}");
        run(world, "mount", &["-o", &options, self.at.to_str().unwrap()]);
    }

    /// Cuts its power.
    pub fn cut(&self, world: &World, how: Cut) {
        let flag = match how {
            Cut::Dead => "2",
            Cut::JournalWritten => "1",
        };
        run(
            world,
            "python3",
            &["-c", CUT, self.at.to_str().unwrap(), flag],
        );
    }

    /// Gives it power again. Nobody may use it.
    pub fn restore(&self, world: &World) {
        run(world, "umount", &[self.at.to_str().unwrap()]);
        assert!(self.mount(world), "it was mounted before");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also one that could not be mounted comes here.
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

fn folder(world: &World) -> PathBuf {
    let at = world.path("disk");
    fs::create_dir_all(&at).unwrap();
    at
}

fn run(world: &World, program: &str, arguments: &[&str]) {
    let done = world.program(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
}

/// Whether it could be done; that root can't is a failure where everything must be tested.
fn mount(world: &World, arguments: &[&str], at: &Path) -> bool {
    if !programs::has("mount") {
        return false;
    }
    if !is_root() {
        eprintln!("skipped: only root can mount a disk");
        return false;
    }
    let done = world.program("mount").args(arguments).arg(at).output();
    let done = done.unwrap();
    let everything = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        done.status.success() || !everything || !Path::new("/dev/loop-control").exists(),
        "root can't mount a disk: {done:?}"
    );
    if !done.status.success() {
        eprintln!("skipped: no disk can be mounted: {done:?}");
    }
    done.status.success()
}
