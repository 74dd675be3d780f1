//! The tokens that are accepted. They are kept as SHA-256 digests, so that looking one up takes the same time whatever
//! was presented and no token stays in memory.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest, Sha256};

use crate::base::Secret;

/// A client token of the configuration: `"description|token"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub description: String,
    pub token: Secret<String>,
    /// It may also ask for what is the operator's alone: a reload, statistics.
    pub admin: bool,
}

/// Whoever a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub name: Arc<str>,
    pub admin: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Tokens(HashMap<[u8; 32], Principal>);

impl Tokens {
    #[must_use]
    pub fn new(settings: &[TokenSettings]) -> Self {
        let digest = |token: &TokenSettings| Sha256::digest(token.token.expose()).into();
        let principal =
            |token: &TokenSettings| Principal { name: token.description.as_str().into(), admin: token.admin };
        Self(settings.iter().map(|token| (digest(token), principal(token))).collect())
    }

    #[must_use]
    pub fn find(&self, presented: &[u8]) -> Option<&Principal> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        self.0.get(&digest)
    }

    /// Somebody may administrate.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        self.0.values().any(|principal| principal.admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_principal_of_a_token_and_of_nothing_else() {
        let token = Secret::new("sk-alice".to_owned());
        let settings = TokenSettings { description: "alice".into(), token: token.clone(), admin: false };
        let tokens = Tokens::new(&[settings]);
        assert_eq!(tokens.find(token.expose().as_bytes()).map(|found| &*found.name), Some("alice"));
        assert_eq!(tokens.find(b"sk-"), None);
        assert_eq!(tokens.find(b""), None);
        assert!(!format!("{tokens:?}").contains(token.expose().as_str()));
    }
}
