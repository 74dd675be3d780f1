//! `/v1/keys`: keys with the use of their limits. An administrator sees all, and changes those of the
//! database; a client's key sees itself. Invariant: a token is shown once, in the answer that makes it.

use std::{sync::Arc, time::Instant, time::SystemTime};

use http::request::Parts;
use serde_json::{Map, Value, json};

use super::{
    admin,
    key_change::{KeyChange, KeyRequest},
    managed::ManagedReply,
    routes::Access,
    site::Site,
    statistics::gather,
};
use crate::{
    auth::{
        Digest, KeyDesk, KeyDeskError, KeyEditor, Principal, StoreError, StoredKey, generate,
        key_facts::{amount, facts},
        limit::LimitValues,
    },
    base::time::Rfc3339,
    proxy::{Incoming, Refusal, Snapshot},
};

type KeyResult = Result<ManagedReply, Box<Refusal>>;

impl Site {
    /// `GET /v1/keys`.
    pub(super) async fn list_keys(&self, head: &Parts) -> KeyResult {
        let snapshot = self.gateway.snapshot();
        let scope = admin::event_scope(self.parts.listener, &snapshot, head)?;
        let desk = self.parts.keys.clone();
        let is_all = head.uri.query().is_some_and(|query| query.split('&').any(|part| part == "all=true"));
        let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
        let configured = snapshot.tokens.principals();
        match &scope {
            Some(id) => keys.extend(snapshot.principal(id).map(|own| of_principal(&snapshot, &own))),
            None => {
                let mut named: Vec<_> = configured.collect();
                named.sort_by(|one, other| one.name.cmp(&other.name));
                keys.extend(named.into_iter().map(|principal| of_principal(&snapshot, principal)));
            }
        }
        if scope.is_none() && desk.has_database() {
            let rows = answered(gather(move || desk.keys()).await?)?;
            let shown = rows.keys.iter().filter(|key| is_all || key.revoked.is_none());
            keys.extend(shown.map(|key| of_row(&snapshot, key)));
            unreadable.extend(rows.unreadable.iter().map(ToString::to_string));
        }
        let reply = json!({
            "object": "list",
            "data": keys,
            "unreadable": unreadable,
            "changeable": scope.is_none() && self.parts.keys.has_database(),
        });
        Ok(reply.into())
    }

    /// `POST /v1/keys`.
    pub(super) async fn make_key(&self, head: &Parts, body: impl Incoming) -> KeyResult {
        let change = self.read_change(head, body, KeyRequest::Make).await?;
        self.change(move |desk| {
            let now = SystemTime::now();
            let name = change.name.clone().unwrap_or_default();
            let (mut key, secret) = StoredKey::make(&name, change.admin, now).map_err(no_randomness)?;
            change.apply(&mut key.limits, now);
            desk.change(async |editor: &mut KeyEditor| editor.add(&key).await)?;
            Ok(with_secret(&key, secret.expose()))
        })
        .await
    }

    /// `POST /v1/keys/{id}`.
    pub(super) async fn limit_key(&self, head: &Parts, id: &str, body: impl Incoming) -> KeyResult {
        let change = self.read_change(head, body, KeyRequest::Limit).await?;
        let id = id.to_owned();
        self.change(move |desk| {
            let now = SystemTime::now();
            let changed = desk.change(async |editor: &mut KeyEditor| {
                editor.limit(&id, |limits| change.apply(limits, now)).await
            })?;
            Ok(facts(&changed))
        })
        .await
    }

    /// `POST /v1/keys/{id}/rotate`.
    pub(super) async fn rotate_key(&self, head: &Parts, rest: &str, body: impl Incoming) -> KeyResult {
        let change = self.read_change(head, body, KeyRequest::Rotate).await?;
        let id = rest.split('/').next().unwrap_or_default().to_owned();
        self.change(move |desk| {
            let secret = generate::make("").map_err(no_randomness)?.token;
            let new = (Digest::of(secret.expose().as_bytes()), generate::shown(secret.expose()));
            let until = SystemTime::now() + change.overlap;
            let key = desk.change(async |editor: &mut KeyEditor| editor.rotate(&id, new, until).await)?;
            Ok(with_secret(&key, secret.expose()))
        })
        .await
    }

    /// `DELETE /v1/keys/{id}`.
    pub(super) async fn revoke_key(&self, head: &Parts, id: &str) -> KeyResult {
        admin::authorize(Access::Operator, self.parts.listener, &self.gateway.snapshot(), head)?;
        let id = id.to_owned();
        self.change(move |desk| {
            let revoked =
                desk.change(async |editor: &mut KeyEditor| editor.revoke(&id, SystemTime::now()).await)?;
            Ok(json!({"id": revoked.id, "name": revoked.name, "state": "revoked"}))
        })
        .await
    }

    /// The body of an operator's request.
    async fn read_change(
        &self,
        head: &Parts,
        body: impl Incoming,
        request: KeyRequest,
    ) -> Result<KeyChange, Box<Refusal>> {
        admin::authorize(Access::Operator, self.parts.listener, &self.gateway.snapshot(), head)?;
        let read = self.gateway.read_short_body(head, body).await?;
        KeyChange::read(&read.bytes, request)
    }

    async fn change(
        &self,
        change: impl FnOnce(KeyDesk) -> Result<Value, KeyDeskError> + Send + 'static,
    ) -> KeyResult {
        let desk = self.parts.keys.clone();
        answered(gather(move || change(desk)).await?).map(ManagedReply::from)
    }
}

fn no_randomness(error: generate::NoRandomness) -> KeyDeskError {
    KeyDeskError::System(std::io::Error::other(error))
}

fn answered<T>(answer: Result<T, KeyDeskError>) -> Result<T, Box<Refusal>> {
    answer.map_err(|error| match error {
        KeyDeskError::Absent => {
            let message = "there is no database to keep keys in: name one (`database`), or change the tokens of \
                           the configuration";
            Refusal::request(404, "no_database", message)
        }
        KeyDeskError::Store(StoreError::Taken(name)) => {
            let message = format!("there is a key named `{name}` already");
            Refusal::request(409, "name_taken", message).of(Some("name"))
        }
        KeyDeskError::Store(StoreError::Unknown(_)) => {
            Refusal::request(404, "key_not_found", "the database has no key in force with this id")
        }
        KeyDeskError::System(_) | KeyDeskError::Store(StoreError::Database(_)) => {
            tracing::warn!(%error, "the database of keys does not answer a page");
            Refusal::gateway(503, "keys_unavailable", "the database of keys does not answer")
        }
    })
}

fn with_secret(key: &StoredKey, secret: &str) -> Value {
    let mut value = facts(key);
    value["key"] = secret.into();
    value
}

/// A key of the database, with its use.
fn of_row(snapshot: &Snapshot, key: &StoredKey) -> Value {
    let mut value = facts(key);
    value["source"] = "database".into();
    let principal = snapshot.principal(&key.id);
    value["use"] = principal.as_ref().map_or(Value::Null, |principal| used(snapshot, principal));
    if let Some(meter) = principal.and_then(|principal| principal.meter.clone()) {
        value["spent"] = amount(meter.spent().max(key.spent)).into();
    }
    value
}

/// A key as the gateway knows it: one of the configuration, or a client's own.
fn of_principal(snapshot: &Snapshot, principal: &Arc<Principal>) -> Value {
    let LimitValues { requests, tokens, concurrent, budget } = principal.limits.allowance;
    let is_configured = principal.id.starts_with("config:");
    let spent = principal.meter.as_ref().map(|meter| meter.spent());
    let is_spent = budget.zip(spent).is_some_and(|(budget, spent)| spent >= budget);
    let state = match (principal.has_expired(), is_spent, principal.admin) {
        (true, _, _) => "expired",
        (false, true, _) => "spent",
        (false, false, true) => "admin",
        (false, false, false) => "good",
    };
    json!({
        "id": &*principal.id,
        "name": &*principal.name,
        "admin": principal.admin,
        "models": principal.limits.models,
        "strategies": principal.limits.strategies,
        "rpm": requests,
        "tpm": tokens,
        "concurrent": concurrent,
        "budget": budget.map(amount),
        "spent": spent.filter(|_| budget.is_some()).map(amount),
        "expires": principal.limits.expires.map(|at| Rfc3339(at).to_string()),
        "state": state,
        "source": if is_configured { "configuration" } else { "database" },
        "use": used(snapshot, principal),
    })
}

/// The use of the limits that a key has, by all replicas where that is known.
fn used(snapshot: &Snapshot, principal: &Principal) -> Value {
    let Some(meter) = &principal.meter else { return json!({}) };
    let allowance = &principal.limits.allowance;
    let by_all = snapshot.keys.hub().and_then(|hub| hub.usage(meter, allowance));
    let uses = by_all.unwrap_or_else(|| meter.use_here(allowance, snapshot.keys.moment(Instant::now())));
    let named = ["rpm", "tpm", "concurrent"].into_iter().zip(uses);
    let known = named.filter_map(|(name, found)| Some((name.to_owned(), found?.used.into())));
    Value::from(known.collect::<Map<String, Value>>())
}
