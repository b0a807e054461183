//! Producers and drainers in processes of their own, some of which are killed: what was acknowledged is what was there, and nothing twice.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use super::editor::Editor;
use super::field::{Alarm, CHILDREN, Field, PARENTS};
use crate::harness::{Finished, World, number, signal, text};

/// Runs of all producers, unless `TURNLANE_STORM_COMPLETIONS` says otherwise.
const RUNS: u64 = 500;
/// Runs of a producer that is a command for each of them.
const COMMANDED: u64 = 25;
const SCRIPT: (&str, &str) = ("script", "say the same");

/// What commands have printed.
#[derive(Default)]
struct Printed {
    /// By those that ended in order: acknowledged, as which attempt. Whoever comes too late after the death of an owner has lost its
    /// lease, and somebody else has had the same as a later attempt.
    surely: BTreeSet<(String, u64)>,
    /// By those that were killed: acknowledged or offered again.
    maybe: BTreeSet<String>,
}

/// Drains at the terminal, one after the other.
struct Terminal<'a> {
    field: &'a Field,
    printed: Mutex<Printed>,
    /// The command that is under way.
    under_way: Mutex<Option<u32>>,
}

impl Terminal<'_> {
    /// Drains until nothing new is begun; what is left then others take.
    fn drain(&self) {
        let _alarm = Alarm(self.field);
        for round in 0.. {
            if self.field.books().over {
                return;
            }
            let parent = PARENTS[round % PARENTS.len()];
            let args = ["drain", parent, "--json", "--wait", "200ms", "--max", "10"];
            let before = self.field.books().acked.len();
            let child = self.field.world.turnlane(&args).spawn().unwrap();
            *self.under_way.lock().unwrap() = Some(child.id());
            let drained = Finished::of(child, b"");
            *self.under_way.lock().unwrap() = None;
            self.count(&drained, before);
        }
    }

    fn count(&self, drained: &Finished, acked_before: usize) {
        // One that was killed has perhaps not written its last line to the end.
        let lines = drained.text();
        let values = lines.split_inclusive('\n').filter(|it| it.ends_with('\n'));
        let values = values.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let runs = values.filter(|value| value["runId"].is_string());
        let runs: Vec<(String, u64)> = runs
            .map(|it| (text(&it["runId"]).to_owned(), number(&it["attempt"])))
            .collect();
        let again = |(run, _): &&(String, u64)| {
            let books = self.field.books();
            books.acked.get(run).is_some_and(|it| it.0 < acked_before)
        };
        let again: Vec<_> = runs.iter().filter(again).collect();
        assert!(again.is_empty(), "acknowledged, and printed: {again:?}");
        let mut printed = self.printed.lock().unwrap();
        match drained.status.code() {
            None => printed.maybe.extend(runs.into_iter().map(|(run, _)| run)),
            Some(0) => {
                for run in runs {
                    assert!(
                        printed.surely.insert(run.clone()),
                        "{run:?} was printed twice"
                    );
                }
            }
            // Nothing came in its time.
            code => assert_eq!((code, runs.len()), (Some(124), 0), "{}", drained.err),
        }
    }

    /// Kills the command that is under way, if one is.
    fn kill(&self) {
        let under_way = self.under_way.lock().unwrap();
        if let Some(pid) = *under_way {
            signal(pid, Signal::KILL);
        }
    }
}

/// Prompts by commands, which are not killed: each says that its run is accepted, whatever happens to whoever holds the store.
fn command(field: &Field, name: &str) {
    let _alarm = Alarm(field);
    for no in 0..COMMANDED {
        let run = format!("{name}-{no}");
        let child = CHILDREN[usize::try_from(no).unwrap() % CHILDREN.len()];
        let args = [
            "run",
            "--detach",
            "--session",
            child,
            "--run-id",
            &run,
            "--",
            SCRIPT.1,
        ];
        let done = field.world.run(&args);
        assert_eq!(
            (done.code(), done.text().trim()),
            (0, &*run),
            "{}",
            done.err
        );
        field.note(|books| books.accepted.insert(run));
    }
}

#[test]
fn four_producers_and_three_drainers_lose_nothing_and_settle_nothing_twice() {
    let field = Field::new(World::new());
    let runs = std::env::var("TURNLANE_STORM_COMPLETIONS").ok();
    let runs = runs.and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let prompted = runs / 2 - COMMANDED;
    let terminal = Terminal {
        field: &field,
        printed: Mutex::default(),
        under_way: Mutex::default(),
    };
    // Everybody's sessions are there before commands name them.
    let mut drainers = [
        Editor::new(&field, "drainer0", SCRIPT),
        Editor::new(&field, "drainer1", SCRIPT),
    ];
    let producers = thread::scope(|scope| {
        let _alarm = Alarm(&field);
        let prompting: Vec<_> = (0..2)
            .map(|no| {
                let field = &field;
                scope.spawn(move || {
                    let mut editor = Editor::new(field, &format!("prompting{no}"), SCRIPT);
                    (0..prompted).for_each(|_| editor.prompt());
                    editor
                })
            })
            .collect();
        let commanding: Vec<_> = ["commanding0", "commanding1"]
            .map(|name| scope.spawn(|| command(&field, name)))
            .into();
        let draining: Vec<_> = (drainers.iter_mut())
            .map(|editor| scope.spawn(|| while_it_lasts(&field, editor)))
            .collect();
        let at_terminal = scope.spawn(|| terminal.drain());
        for kill in 0..6 {
            field.goes_on(20 + kill * 13 % 29);
            match kill % 3 {
                0 => field.kill_owner(),
                1 => terminal.kill(),
                _ => field.kill("drainer0"),
            }
        }
        let producers: Vec<_> = prompting.into_iter().map(|it| it.join().unwrap()).collect();
        commanding.into_iter().for_each(|it| it.join().unwrap());
        field.is_over();
        at_terminal.join().unwrap();
        draining.into_iter().for_each(|it| it.join().unwrap());
        producers
    });
    judge(&field, &mut drainers, &terminal.printed.lock().unwrap());
    let owner = field.owner();
    let mut all: Vec<_> = producers.into_iter().chain(drainers).collect();
    all.sort_by_key(|editor| editor.pid() == owner);
    all.into_iter().for_each(Editor::leave);
}

fn while_it_lasts(field: &Field, editor: &mut Editor<'_>) {
    for round in 0.. {
        if field.books().over {
            return;
        }
        editor.drain(PARENTS[round % PARENTS.len()], 10, 200);
    }
}

fn judge(field: &Field, drainers: &mut [Editor<'_>; 2], printed: &Printed) {
    let [drainer, _] = drainers;
    drainer.settle();
    drainer.drain_all();
    let log = drainer.log();
    let (last, _) = log.last().unwrap().clone();
    drainer.hears_of(&last);
    assert_eq!(drainer.heard, log, "once each, in order");
    let committed: BTreeSet<String> = log.iter().map(|(_, run)| run.clone()).collect();
    assert_eq!(committed.len(), log.len(), "one completion each");
    let books = field.books();
    assert_eq!(committed, books.accepted);
    let acked: BTreeSet<(String, u64)> = (books.acked.iter())
        .map(|(run, (_, attempt))| (run.clone(), *attempt))
        .collect();
    assert!(acked.is_disjoint(&printed.surely), "acknowledged by two");
    let all: BTreeSet<String> = (acked.iter().chain(&printed.surely))
        .map(|(run, _)| run)
        .chain(&printed.maybe)
        .cloned()
        .collect();
    assert_eq!(all, committed, "what was acknowledged is what was there");
}
