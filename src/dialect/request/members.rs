//! The list of members that a provider does not get.
//!
//! It becomes a header: entries are visible ASCII without separators, each once, bounded in number and
//! length. Paths stand without indices, so that a mark at forty blocks is one entry.

use super::own_names::own_name;
use crate::dialect::ApiDialect;

/// Listed members of one request; a header holds them, so that number and length are bounded.
const MAX_LISTED: usize = 32;
const MAX_LENGTH: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Dropped {
    names: Vec<String>,
    /// The notes of a part of the request, as if they were the first. `None`: it is not kept.
    log: Option<Vec<String>>,
}

impl Dropped {
    /// Notes a member by its path without indices; a name of the client's keeps its visible ASCII alone.
    pub(super) fn note(&mut self, path: &str) {
        let is_full = |list: &Vec<String>| list.len() >= MAX_LISTED;
        if is_full(&self.names) && self.log.as_ref().is_none_or(is_full) {
            return;
        }
        let is_safe = |c: &char| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '"' | '\\');
        let name: String = path.chars().filter(is_safe).take(MAX_LENGTH).collect();
        for list in self.log.iter_mut().chain([&mut self.names]) {
            if !name.is_empty() && !is_full(list) && !list.contains(&name) {
                list.push(name.clone());
            }
        }
    }

    /// Begins to log the notes of a part.
    pub(super) fn begin_log(&mut self) {
        self.log.get_or_insert_default().clear();
    }

    pub(super) fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    /// Notes that were logged before.
    pub(super) fn note_all(&mut self, log: &[String]) {
        log.iter().for_each(|name| self.note(name));
    }

    /// The names in the client's dialect, each once.
    pub(super) fn into_list(self, client: ApiDialect) -> Vec<String> {
        let mut list: Vec<String> = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let own = own_name(client, name);
            if !list.iter().any(|known| known == own) {
                list.push(own.to_owned());
            }
        }
        list
    }
}
