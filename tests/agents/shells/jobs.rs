//! Job control.

use super::{Session, in_every_shell, shown, until};
use crate::bench::lives;

#[tokio::test]
async fn a_background_job_ends_no_run_and_holds_none_up() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell.run("sleep 1000 &").await;
        shell.coded("&", &ended, 0);
        let pid = shown(&shell.run("echo $!").await).trim().to_owned();
        assert!(lives(&pid), "{program}");
        // Not at once: an interactive dash, also without us, may wait for ever for what ends while it is about to wait.
        let ended = shell
            .run("job=$!; (sleep 0.2; kill $job) & wait $job")
            .await;
        shell.coded("wait", &ended, 143);
        let ended = shell.run("(exit 7) & wait $!").await;
        shell.coded("wait", &ended, 7);
        shell.is_sound_or_told_of_jobs().await;
        shell.close().await;
    })
    .await;
}

impl Session {
    /// As `is_sound`, but a shell may say here what became of its jobs.
    async fn is_sound_or_told_of_jobs(&mut self) {
        let ended = self.run("echo sound").await;
        self.coded("sound", &ended, 0);
        assert!(shown(&ended).contains("sound\n"));
        self.is_sound().await;
    }
}

#[tokio::test]
async fn a_job_that_is_stopped_by_a_key_gives_the_shell_back() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("echo ready; sh -c 'echo in; exec sleep 1000'\necho after");
        shell.until("in\n").await;
        shell.press(&["C-z"]).await;
        let ended = shell.bench.ended().await;
        assert!(
            shown(&ended).contains("Stopped")
                || shown(&ended).contains("suspended")
                || shown(&ended).contains("after"),
            "{program}: {ended:?}"
        );
        // It is still there, and can be gone on with.
        let jobs = shown(&shell.run("jobs").await);
        assert!(jobs.contains("sleep"), "{program}: {jobs:?}");
        shell.begin("echo now; fg");
        // Going on with it, the shell names it.
        shell.until("sleep").await;
        shell.cancel().await;
        let ended = shell.run("jobs").await;
        assert!(!shown(&ended).contains("sleep"), "{program}: {ended:?}");
        shell.is_sound_or_told_of_jobs().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_job_goes_on_in_the_background() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell
            .run("sh -c 'kill -STOP $$; touch went-on' \necho after")
            .await;
        assert!(shown(&ended).contains("after\n"), "{program}: {ended:?}");
        assert!(!shell.file("went-on").exists());
        let ended = shell.run("bg").await;
        shell.coded("bg", &ended, 0);
        let file = shell.file("went-on");
        until(|| file.exists()).await;
        shell.is_sound_or_told_of_jobs().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_wants_to_read_does_not_take_the_keyboard() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.run("cat >took &").await;
        for _ in 0..20 {
            let ended = shell.run("echo on").await;
            assert!(shown(&ended).contains("on\n"), "{program}: {ended:?}");
        }
        shell.close().await;
    })
    .await;
}
