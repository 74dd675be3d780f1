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
}

impl Dropped {
    /// Notes a member by its path without indices; a name of the client's keeps its visible ASCII alone.
    pub(super) fn note(&mut self, path: &str) {
        if self.names.len() >= MAX_LISTED {
            return;
        }
        let is_safe = |c: &char| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '"' | '\\');
        let name: String = path.chars().filter(is_safe).take(MAX_LENGTH).collect();
        if !name.is_empty() && !self.names.contains(&name) {
            self.names.push(name);
        }
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
