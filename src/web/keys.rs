//! `/v1/keys`: keys with the use of their limits. An administrator sees all, and changes those of the
//! database; a client's key sees itself. Invariant: a token is shown once, in the answer that makes it.

use std::{sync::Arc, time::Instant, time::SystemTime};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{
    admin,
    key_change::{KeyChange, KeyRequest},
    managed::ManagedReply,
    routes::Access,
    site::Site,
};
use crate::{
    auth::{
        Digest, KeyAnswer, KeyDeskError, KeyEditor, Principal, StoreError, StoredKey, generate,
        key_facts::{amount, facts, limits_as_json, state_by},
    },
    base::RequestHead,
    proxy::{Incoming, Refusal, Snapshot, admission::unavailable},
};

const AWAY: &str = "the database of keys does not answer";

type KeyResult = Result<ManagedReply, Box<Refusal>>;

impl Site {
    /// `GET /v1/keys`.
    pub(super) async fn list_keys(&self, head: &RequestHead) -> KeyResult {
        let snapshot = self.gateway.snapshot();
        let scope = admin::key_scope(self.parts.listener, &snapshot, head)?;
        let desk = self.parts.keys.clone();
        let is_all = head.uri.query().is_some_and(|query| query.split('&').any(|part| part == "all=true"));
        let (mut keys, mut unreadable, mut unavailable) = (Vec::new(), Vec::new(), None);
        if let Some(own) = &scope {
            keys.push(of_principal(&snapshot, own));
        } else {
            let mut named: Vec<_> = snapshot.tokens.principals().collect();
            named.sort_by(|one, other| one.name.cmp(&other.name));
            keys.extend(named.into_iter().map(|principal| of_principal(&snapshot, principal)));
        }
        if scope.is_none() && desk.has_database() {
            match asked(move |answer| desk.keys(answer)).await? {
                Ok(rows) => {
                    let shown = rows.keys.iter().filter(|key| is_all || key.revoked.is_none());
                    keys.extend(shown.map(|key| of_row(&snapshot, key)));
                    unreadable.extend(rows.unreadable.iter().map(ToString::to_string));
                }
                // The keys of the configuration are known without it.
                Err(error) => {
                    tracing::warn!(%error, "the database of keys does not answer a page");
                    unavailable = Some(AWAY);
                }
            }
        }
        let reply = json!({
            "object": "list",
            "data": keys,
            "unreadable": unreadable,
            "unavailable": unavailable,
            "changeable": scope.is_none() && self.parts.keys.has_database(),
        });
        Ok(reply.into())
    }

    /// `POST /v1/keys`.
    pub(super) async fn make_key(&self, head: &RequestHead, body: impl Incoming) -> KeyResult {
        let change = self.read_change(head, body, KeyRequest::Make).await?;
        let now = SystemTime::now();
        let name = change.name.clone().unwrap_or_default();
        let (mut key, secret) = StoredKey::make(&name, change.admin, now).map_err(no_randomness)?;
        change.apply(&mut key.limits, now);
        self.change(async move |editor: &mut KeyEditor| {
            editor.add(&key).await?;
            Ok(with_secret(&key, secret.expose()))
        })
        .await
    }

    /// `POST /v1/keys/{id}`.
    pub(super) async fn limit_key(&self, head: &RequestHead, id: &str, body: impl Incoming) -> KeyResult {
        let change = self.read_change(head, body, KeyRequest::Limit).await?;
        let (id, now) = (id.to_owned(), SystemTime::now());
        self.change(async move |editor: &mut KeyEditor| {
            let changed = editor.limit(&id, |limits| change.apply(limits, now)).await?;
            Ok(facts(&changed))
        })
        .await
    }

    /// `POST /v1/keys/{id}/rotate`.
    pub(super) async fn rotate_key(&self, head: &RequestHead, rest: &str, body: impl Incoming) -> KeyResult {
        let change = self.read_change(head, body, KeyRequest::Rotate).await?;
        let id = rest.split('/').next().unwrap_or_default().to_owned();
        let secret = generate::make("").map_err(no_randomness)?.token;
        self.change(async move |editor: &mut KeyEditor| {
            let new = (Digest::of(secret.expose().as_bytes()), generate::shown(secret.expose()));
            let now = SystemTime::now();
            let is_meant = |key: &StoredKey| key.may_rotate(change.prefix.as_deref(), now);
            let key = editor.rotate(&id, new, now + change.overlap, is_meant).await?;
            Ok(with_secret(&key, secret.expose()))
        })
        .await
    }

    /// `DELETE /v1/keys/{id}`. Administration must not be closed by a slip of the hand.
    pub(super) async fn revoke_key(&self, head: &RequestHead, id: &str) -> KeyResult {
        let snapshot = self.gateway.snapshot();
        admin::authorize(Access::Operator, self.parts.listener, &snapshot, head)?;
        let id = id.to_owned();
        let is_configured = |principal: &Arc<Principal>| principal.admin && !principal.has_expired();
        let has_other = snapshot.tokens.principals().any(is_configured);
        self.change(async move |editor: &mut KeyEditor| {
            let now = SystemTime::now();
            let revoked = if has_other {
                editor.revoke(&id, now).await?
            } else {
                editor.revoke_but_last_admin(&id, now).await?
            };
            Ok(json!({"id": revoked.id, "name": revoked.name, "state": "revoked"}))
        })
        .await
    }

    /// The body of an operator's request.
    async fn read_change(
        &self,
        head: &RequestHead,
        body: impl Incoming,
        request: KeyRequest,
    ) -> Result<KeyChange, Box<Refusal>> {
        admin::authorize(Access::Operator, self.parts.listener, &self.gateway.snapshot(), head)?;
        let read = self.gateway.read_short_body(head, body).await?;
        KeyChange::read(&read.bytes, request)
    }

    async fn change(
        &self,
        change: impl AsyncFnOnce(&mut KeyEditor) -> Result<Value, StoreError> + Send + 'static,
    ) -> KeyResult {
        let desk = self.parts.keys.clone();
        let changed = asked(move |answer| desk.change(answer, change)).await?;
        changed.map(ManagedReply::from).map_err(refused)
    }
}

/// Asks the desk on tokio's pool of blocking threads; it may go on there after its answer.
///
/// # Errors
/// The work panicked (500).
async fn asked<T: Send + 'static>(
    work: impl FnOnce(oneshot::Sender<KeyAnswer<T>>) + Send + 'static,
) -> Result<KeyAnswer<T>, Box<Refusal>> {
    let (answer, answered) = oneshot::channel();
    drop(tokio::task::spawn_blocking(move || work(answer)));
    let failure = |_| Refusal::gateway(500, "internal_error", "the database of keys could not be asked");
    answered.await.map_err(failure)
}

fn no_randomness(_: generate::NoRandomness) -> Box<Refusal> {
    unavailable("the system gave no random bytes for a key")
}

fn refused(error: KeyDeskError) -> Box<Refusal> {
    match error {
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
        KeyDeskError::Store(StoreError::Rotated(shown)) => {
            let message = format!(
                "this key was rotated already, its token is `{shown}` now; to rotate it again, send that as `prefix`"
            );
            Refusal::request(409, "rotated_already", message).of(Some("prefix"))
        }
        KeyDeskError::Store(StoreError::LastAdmin(name)) => {
            let message = format!(
                "`{name}` is the last administrator's key, and without one administration is closed; make another \
                 one first, or revoke it with `thalweg keys revoke`"
            );
            Refusal::request(409, "last_administrator", message)
        }
        KeyDeskError::System(_) | KeyDeskError::Store(StoreError::Database(_)) => {
            tracing::warn!(%error, "the database of keys does not answer a page");
            Refusal::gateway(503, "keys_unavailable", AWAY)
        }
    }
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
    let spent = principal.meter.as_ref().map(|meter| meter.spent());
    let has_budget = principal.limits.allowance.budget.is_some();
    let mut value = limits_as_json(&principal.limits);
    value["id"] = (*principal.id).into();
    value["name"] = (*principal.name).into();
    value["admin"] = principal.admin.into();
    value["spent"] = spent.filter(|_| has_budget).map(amount).into();
    value["state"] = state_by(&principal.limits, spent.unwrap_or_default(), principal.admin).into();
    value["source"] = if principal.id.starts_with("config:") { "configuration" } else { "database" }.into();
    value["use"] = used(snapshot, principal);
    value
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
