//! An owner that says nothing: for a moment nobody minds; for longer it is killed, and never comes back.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::field::Field;
use super::storm::work_through;
use crate::harness::{World, lives, signal};

const CLIENTS: usize = 4;

/// An owner may be silent for a second and a half.
fn impatient() -> Field {
    Field::new(World::configured("[limits]\nowner_timeout_ms = 1500\n"))
}

#[test]
fn an_owner_that_is_stopped_for_a_moment_loses_nothing_and_stays() {
    let field = impatient();
    work_through(&field, CLIENTS, || {
        field.goes_on(10);
        let owner = field.owner();
        for stop in 0..5 {
            assert_eq!(field.strike(Signal::STOP, false), owner);
            thread::sleep(Duration::from_millis(400));
            signal(owner, Signal::CONT);
            field.goes_on(5 + 3 * stop);
        }
        assert_eq!(field.owner(), owner);
    });
    assert_eq!(field.books().lost, 0, "no request was lost");
}

#[test]
fn an_owner_that_is_stopped_for_too_long_is_killed_in_the_middle_of_whatever_it_did() {
    let field = impatient();
    work_through(&field, CLIENTS, || {
        field.goes_on(10);
        for stop in 0..5 {
            let stopped = Instant::now();
            let owner = field.strike(Signal::STOP, true);
            field.wait_gone(owner);
            assert!(
                stopped.elapsed() > Duration::from_millis(1_400),
                "{:?}",
                stopped.elapsed()
            );
            signal(owner, Signal::CONT);
            assert!(!lives(owner));
            field.goes_on(5 + 3 * stop);
        }
    });
}
