//! OpenAI's files and batches, kept and run by the gateway itself: `/v1/files` and `/v1/batches`. A key sees
//! its own alone; those of others are not found.

use std::{ops::RangeInclusive, rc::Rc, time::Duration};

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{Body, file_body::FileBody, routes::StoredPage, site::Site};
use crate::{
    auth::Principal,
    base::{HandlerResponse, HeaderFields, RequestHead},
    batch::{BatchDesk, BatchSettings, BatchStatus, ENDPOINTS, StoredFile, Upload},
    proxy::{Call, Incoming, Refusal, admission::admit},
    wire::form::{self, FormPart},
};

/// Entries of a list, unless the client says so; and the most.
const FILES: usize = 10_000;
const BATCHES: usize = 20;
const MAX_BATCHES: usize = 100;
/// As OpenAI's API: pairs of metadata, and bytes of a name and of a value.
const MAX_PAIRS: usize = 16;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 512;
/// Seconds after which a file may be removed on its key's wish, as OpenAI's API has them.
const LIFETIMES: RangeInclusive<u64> = 3600..=30 * 24 * 3600;
/// Bytes of a file's name.
const MAX_FILE_NAME: usize = 255;

/// An answer about files and batches.
enum StoredReply {
    Json(Value),
    Content(StoredFile),
}

/// The key of a request, and the way to its files.
struct StoredRequest<'a> {
    desk: &'a BatchDesk,
    principal: &'a Principal,
    /// The id in the path; empty: there is none.
    id: &'a str,
    head: &'a RequestHead,
}

impl Site {
    pub(super) async fn stored(
        self: Rc<Self>,
        (page, rest): (StoredPage, String),
        mut call: Call,
        head: RequestHead,
        body: impl Incoming,
    ) -> HandlerResponse<Body> {
        let reply = self.stored_reply((page, &rest), &mut call, &head, body).await;
        match (reply, &self.parts.desk) {
            (Ok(StoredReply::Content(file)), Some(desk)) => {
                let mut headers = HeaderFields::new();
                headers.insert("content-type", "application/octet-stream");
                headers.insert("cache-control", "no-store");
                call.with_body(headers, |completion, in_flight| {
                    Body::File(Box::new(FileBody::new(desk.clone(), file, completion, in_flight)))
                })
            }
            (Ok(StoredReply::Json(value)), _) => {
                call.text("application/json", value.to_string().into()).map(Body::from)
            }
            (Ok(StoredReply::Content(_)), None) => call.refuse(&off()).map(Body::from),
            (Err(refusal), _) => call.refuse(&refusal).map(Body::from),
        }
    }

    async fn stored_reply(
        &self,
        (page, rest): (StoredPage, &str),
        call: &mut Call,
        head: &RequestHead,
        body: impl Incoming,
    ) -> Result<StoredReply, Box<Refusal>> {
        let desk = self.parts.desk.as_ref().ok_or_else(off)?;
        let principal = admit(&self.gateway.snapshot(), head)?;
        call.note_key(&principal);
        let id = rest.split('/').next().unwrap_or_default();
        let request = StoredRequest { desk, principal: &principal, id, head };
        let is_post = head.method == Method::POST;
        if is_post && matches!(page, StoredPage::Files | StoredPage::Batches) {
            let read = self.gateway.read_body(&principal, head, body).await?;
            call.record().client.request_bytes = read.bytes.len() as u64;
            return match page == StoredPage::Files {
                true => request.upload(&read.bytes, &self.parts.batch).await,
                false => request.create(&read.bytes, &self.parts.batch).await,
            };
        }
        match page {
            StoredPage::Files => request.files().await,
            StoredPage::File if head.method == Method::DELETE => request.remove().await,
            StoredPage::File => request.file().await.map(|file| StoredReply::Json(file.json())),
            StoredPage::Content => request.file().await.map(StoredReply::Content),
            StoredPage::Batches => request.batches().await,
            StoredPage::Batch => request.batch().await,
            StoredPage::Cancel => request.cancel().await,
        }
    }
}

impl StoredRequest<'_> {
    fn owner(&self) -> String {
        self.principal.id.to_string()
    }

    async fn upload(&self, body: &Bytes, settings: &BatchSettings) -> Result<StoredReply, Box<Refusal>> {
        let content_type = self.head.headers.get("content-type").unwrap_or_default();
        let parts = form::parts(content_type, body)
            .map_err(|error| Refusal::request(400, "invalid_request", error.to_string()))?;
        let part = |name: &'static str| {
            let found = parts.iter().find(|part| &*part.name == name);
            found.ok_or_else(|| missing(name))
        };
        let purpose = body.get(part("purpose")?.value.clone()).unwrap_or_default();
        if purpose != b"batch" {
            let message = "this gateway keeps files of the purpose `batch`; others belong to their provider";
            return Err(Refusal::request(400, "invalid_purpose", message).of(Some("purpose")));
        }
        let file = part("file")?;
        let name = file.file_name.as_deref().unwrap_or("file.jsonl");
        if name.len() > MAX_FILE_NAME {
            return Err(
                Refusal::request(400, "invalid_request", "the file's name is too long").of(Some("file"))
            );
        }
        let text = body.slice(file.value.clone());
        if text.is_empty() {
            return Err(Refusal::request(400, "empty_file", "the file is empty").of(Some("file")));
        }
        let lifetime = lifetime_in(&parts, body)?.unwrap_or(settings.keep);
        let bounds = BatchSettings { keep: lifetime.min(settings.keep), ..*settings };
        let (owner, name) = (self.owner(), name.to_owned());
        let stored =
            self.desk.ask(move |store| async move { store.upload(&owner, &name, &text, &bounds).await });
        match stored.await? {
            Upload::Stored(file) => Ok(StoredReply::Json(file.json())),
            Upload::Full => Err(full(settings).of(Some("file"))),
            Upload::TooManyLines => {
                let message =
                    format!("the file has more than {} lines (`batch.max_requests`)", settings.max_requests);
                Err(Refusal::request(400, "too_many_requests", message).of(Some("file")))
            }
        }
    }

    async fn files(&self) -> Result<StoredReply, Box<Refusal>> {
        let limit = self.limit(FILES, FILES)?;
        let (owner, after, purpose) = (self.owner(), self.parameter("after"), self.parameter("purpose"));
        let newest_first = match self.parameter("order").as_deref() {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(invalid_parameter("order", "`order` must be asc or desc")),
        };
        let files = self.desk.ask(move |store| async move {
            store.files(&owner, purpose.as_deref(), (after.as_deref(), newest_first), limit).await
        });
        Ok(list(files.await?.iter().map(StoredFile::json).collect(), limit))
    }

    async fn file(&self) -> Result<StoredFile, Box<Refusal>> {
        let (owner, id) = (self.owner(), self.id.to_owned());
        let file = self.desk.ask(move |store| async move { store.file(&owner, &id).await }).await?;
        file.ok_or_else(|| {
            Refusal::request(404, "file_not_found", format!("No such File object: {}", self.shown_id()))
                .of(Some("id"))
        })
    }

    async fn remove(&self) -> Result<StoredReply, Box<Refusal>> {
        let file = self.file().await?;
        let id = file.id.clone();
        let removed = self.desk.ask(move |store| async move {
            if store.is_in_use(&id).await? {
                return Ok(false);
            }
            store.remove_file(&id).await.map(|()| true)
        });
        if !removed.await? {
            let message = "a batch that has not ended reads this file; cancel it first";
            return Err(Refusal::request(400, "file_in_use", message).of(Some("id")));
        }
        Ok(StoredReply::Json(json!({"id": file.id, "object": "file", "deleted": true})))
    }

    async fn create(&self, body: &[u8], settings: &BatchSettings) -> Result<StoredReply, Box<Refusal>> {
        let asked: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
            Refusal::request(400, "invalid_request", format!("this is no JSON object: {error}"))
        })?;
        let text = |name: &'static str| {
            let value = asked.get(name).ok_or_else(|| missing(name))?;
            value.as_str().ok_or_else(|| invalid_parameter(name, format!("`{name}` must be a string")))
        };
        let (input, endpoint) = (text("input_file_id")?.to_owned(), text("endpoint")?);
        let Some((endpoint, _)) = ENDPOINTS.into_iter().find(|(path, _)| *path == endpoint) else {
            let paths = ENDPOINTS.map(|(path, _)| path).join(", ");
            return Err(invalid_parameter("endpoint", format!("`endpoint` must be one of {paths}")));
        };
        if text("completion_window")? != "24h" {
            return Err(invalid_parameter("completion_window", "`completion_window` must be \"24h\""));
        }
        let metadata = metadata(asked.get("metadata"))?;
        let output_keep = match asked.get("output_expires_after").filter(|after| !after.is_null()) {
            Some(after) => {
                let (anchor, seconds) = (after["anchor"].as_str(), after["seconds"].as_u64());
                Some(lifetime("output_expires_after", anchor, seconds)?.as_secs().cast_signed())
            }
            None => None,
        };
        let (owner, bounds) = (self.owner(), *settings);
        let made = self.desk.ask(move |store| async move {
            if !store.has_room(&owner, &bounds).await? {
                return Ok(Err(full(&bounds)));
            }
            match store.file(&owner, &input).await? {
                Some(file) if file.batch.is_empty() => {
                    store.create(&owner, (endpoint, &input), metadata, output_keep).await.map(Ok)
                }
                Some(_) | None => Ok(Ok(None)),
            }
        });
        let missing = || {
            let message = "`input_file_id` names no file of this API key with the purpose `batch`";
            Refusal::request(400, "invalid_file_id", message).of(Some("input_file_id"))
        };
        Ok(StoredReply::Json(made.await??.ok_or_else(missing)?.json()))
    }

    async fn batches(&self) -> Result<StoredReply, Box<Refusal>> {
        let limit = self.limit(BATCHES, MAX_BATCHES)?;
        let (owner, after) = (self.owner(), self.parameter("after"));
        let jobs =
            self.desk.ask(move |store| async move { store.jobs(&owner, after.as_deref(), limit).await });
        Ok(list(jobs.await?.iter().map(crate::batch::BatchJob::json).collect(), limit))
    }

    async fn batch(&self) -> Result<StoredReply, Box<Refusal>> {
        let (owner, id) = (self.owner(), self.id.to_owned());
        let job = self.desk.ask(move |store| async move { store.job(&owner, &id).await }).await?;
        Ok(StoredReply::Json(job.ok_or_else(|| self.no_batch())?.json()))
    }

    async fn cancel(&self) -> Result<StoredReply, Box<Refusal>> {
        let (owner, id) = (self.owner(), self.id.to_owned());
        let job = self.desk.ask(move |store| async move { store.cancel(&owner, &id).await }).await?;
        let job = job.ok_or_else(|| self.no_batch())?;
        match job.status {
            BatchStatus::Cancelling | BatchStatus::Cancelled => Ok(StoredReply::Json(job.json())),
            BatchStatus::Validating
            | BatchStatus::InProgress
            | BatchStatus::Finalizing
            | BatchStatus::Completed
            | BatchStatus::Failed
            | BatchStatus::Expired => {
                let message = format!("Cannot cancel a batch with status '{}'.", job.status.as_str());
                Err(Refusal::request(400, "invalid_request", message))
            }
        }
    }

    fn no_batch(&self) -> Box<Refusal> {
        let message = format!("No batch found with id '{}'.", self.shown_id());
        Refusal::request(404, "batch_not_found", message).of(Some("batch_id"))
    }

    /// The id of the path, cut.
    fn shown_id(&self) -> String {
        self.id.chars().take(MAX_NAME).collect()
    }

    /// A parameter of the query. `None`: it is absent or empty.
    fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        let (_, value) = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        Some(value).filter(|value| !value.is_empty())
    }

    fn limit(&self, default: usize, most: usize) -> Result<usize, Box<Refusal>> {
        let Some(text) = self.parameter("limit") else { return Ok(default) };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| invalid_parameter("limit", format!("`limit` must be a number from 1 to {most}")))
    }
}

/// A page of a list. `entries` has one more than `limit` if the list goes on.
fn list(mut entries: Vec<Value>, limit: usize) -> StoredReply {
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let id = |entry: Option<&Value>| entry.map_or(Value::Null, |entry| entry["id"].clone());
    let (first, last) = (id(entries.first()), id(entries.last()));
    StoredReply::Json(
        json!({"object": "list", "data": entries, "first_id": first, "last_id": last, "has_more": has_more}),
    )
}

/// The lifetime that the form of an upload asks for. `None`: it does not.
fn lifetime_in(parts: &[FormPart], body: &[u8]) -> Result<Option<Duration>, Box<Refusal>> {
    const NAME: &str = "expires_after";
    if !parts.iter().any(|part| part.name.starts_with(NAME)) {
        return Ok(None);
    }
    let field = |name: &str| {
        let part = parts.iter().find(|part| &*part.name == name)?;
        str::from_utf8(body.get(part.value.clone())?).ok()
    };
    let seconds = field("expires_after[seconds]").and_then(|text| text.parse().ok());
    lifetime(NAME, field("expires_after[anchor]"), seconds).map(Some)
}

/// A lifetime that is asked for by the parameter `name`.
fn lifetime(
    name: &'static str,
    anchor: Option<&str>,
    seconds: Option<u64>,
) -> Result<Duration, Box<Refusal>> {
    let seconds = seconds.filter(|seconds| anchor == Some("created_at") && LIFETIMES.contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let (least, most) = (LIFETIMES.start(), LIFETIMES.end());
        let message =
            format!("`{name}` must have the `anchor` created_at, and `seconds` from {least} to {most}");
        invalid_parameter(name, message)
    })
}

/// The metadata of a batch as JSON. `None`: there is none.
fn metadata(value: Option<&Value>) -> Result<Option<String>, Box<Refusal>> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let fits = value.as_object().is_some_and(|pairs| {
        pairs.len() <= MAX_PAIRS
            && pairs.iter().all(|(name, value)| {
                name.len() <= MAX_NAME && value.as_str().is_some_and(|value| value.len() <= MAX_VALUE)
            })
    });
    match fits {
        true => Ok(Some(value.to_string())),
        false => {
            let message = "`metadata` must be an object of up to 16 texts, with names of up to 64 bytes and \
                           values of up to 512";
            Err(invalid_parameter("metadata", message))
        }
    }
}

/// The key's files leave no room.
fn full(settings: &BatchSettings) -> Box<Refusal> {
    let message = format!(
        "the files of this API key, with those of its batches, would be more than {} or {} bytes \
         (`batch.files_per_key`, `batch.bytes_per_key`); delete some",
        settings.files_per_key, settings.bytes_per_key
    );
    Refusal::request(400, "file_quota_exceeded", message)
}

fn missing(name: &'static str) -> Box<Refusal> {
    Refusal::request(400, "missing_required_parameter", format!("`{name}` is missing")).of(Some(name))
}

fn invalid_parameter(name: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Box<Refusal> {
    Refusal::request(400, "invalid_request", message).of(Some(name))
}

/// This gateway keeps no files and no batches.
fn off() -> Box<Refusal> {
    let message = "files and batches are off in this gateway (`batch.enabled`, with a `database`)";
    Refusal::request(404, "not_found", message)
}
