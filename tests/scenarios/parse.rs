//! Steps as they are written.

use turnlane::domain::{RunId, SessionId};

/// The words of a step, and its `name=value` settings.
pub struct Words<'t> {
    line: &'t str,
    words: Vec<&'t str>,
    settings: Vec<(&'t str, &'t str)>,
}

impl<'t> Words<'t> {
    pub fn of(line: &'t str) -> Self {
        let (settings, words) = line
            .split_whitespace()
            .partition::<Vec<_>, _>(|word| word.contains('='));
        let settings = settings
            .iter()
            .map(|word| word.split_once('=').unwrap())
            .collect();
        Self {
            line,
            words,
            settings,
        }
    }

    pub fn get(&self, index: usize) -> &'t str {
        self.words
            .get(index)
            .unwrap_or_else(|| panic!("`{}` lacks a word", self.line))
    }

    pub fn rest(&self, from: usize) -> &[&'t str] {
        &self.words[from.min(self.words.len())..]
    }

    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub fn settings(&self) -> &[(&'t str, &'t str)] {
        &self.settings
    }

    pub fn setting(&self, name: &str) -> Option<&'t str> {
        self.settings
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    pub fn ms(&self, name: &str) -> Option<u64> {
        self.setting(name).map(|value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("`{}`: {name} is a number", self.line))
        })
    }

    pub fn list(&self, name: &str) -> Vec<&'t str> {
        self.setting(name)
            .map(|value| value.split(',').collect())
            .unwrap_or_default()
    }
}

pub fn session(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

pub fn run(text: &str) -> RunId {
    RunId::parse(text).unwrap()
}
