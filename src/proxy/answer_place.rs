//! The place of an answer in the cache: one that is given from there, and one that is kept there if it comes
//! to a good end.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::whole_answer::{is_good_stream, is_good_whole};
use crate::{
    base::{ByteList, HeaderFields},
    cache::{
        AnswerCache, AnswerGathering, AnswerKey, AnswerMaker, FrameMark, MakerPlace, ReplayPace,
        StoredAnswer, flight::FlightFollower,
    },
    exchange::RequestRecord,
    wire::Dialect,
};

pub(super) const CACHE: &str = "x-thalweg-cache";
/// Headers of an answer that are kept with it; the others are about one request.
const KEPT: [&str; 8] = [
    "content-type",
    "content-language",
    "content-disposition",
    "cache-control",
    "x-accel-buffering",
    "x-thalweg-provider",
    "x-thalweg-dialect",
    "x-thalweg-dropped",
];

/// A stored answer for a request.
#[derive(Debug)]
pub(super) struct CachedAnswer {
    pub(super) headers: HeaderFields,
    pub(super) answer: Arc<StoredAnswer>,
    pub(super) pace: ReplayPace,
}

/// The answer of an equal request under way.
#[derive(Debug)]
pub(super) struct JoinedAnswer {
    pub(super) headers: HeaderFields,
    pub(super) body: JoinedBody,
}

#[derive(Debug)]
pub(super) enum JoinedBody {
    Stream(FlightFollower),
    /// All of it, for so many tokens.
    Whole(ByteList, u64),
}

/// Where a request's own answer is kept, if it is good.
#[derive(Debug)]
pub(super) struct AnswerPlace {
    pub(super) key: AnswerKey,
    pub(super) cache: AnswerCache,
    /// Bounds of its age and of its bytes.
    pub(super) max_age: Duration,
    pub(super) max_size: usize,
    pub(super) dialect: Dialect,
    /// The providers that may make it, by their names.
    pub(super) makers: Box<[(Arc<str>, MakerPlace)]>,
}

/// An answer that is kept if it comes to a good end.
#[derive(Debug)]
pub(super) struct RecordedAnswer {
    place: AnswerPlace,
    gathering: AnswerGathering,
    headers: HeaderFields,
    maker: AnswerMaker,
}

impl CachedAnswer {
    pub(super) fn new(answer: Arc<StoredAnswer>, pace: ReplayPace) -> Self {
        let mut headers = answer.headers.clone();
        let age = answer.age(SystemTime::now()).as_secs();
        headers.insert(CACHE, format!("hit; age={age}"));
        Self { headers, answer, pace }
    }
}

impl AnswerPlace {
    /// Keeps a whole answer if it is good.
    pub(super) fn keep_whole(self, headers: &HeaderFields, body: &ByteList, record: &RequestRecord) {
        let Some(mut recorded) = self.record(headers, record) else { return };
        let now = Instant::now();
        let all = body.iter().all(|part| recorded.gathering.add(part, now));
        if all && is_good_whole(recorded.place.dialect, recorded.gathering.body()) {
            let tokens = record.stats.usage.unwrap_or_default().total();
            recorded.store(tokens, Box::default());
        }
    }

    /// The headers of an answer that are not about one request.
    pub(super) fn kept_headers(headers: &HeaderFields) -> HeaderFields {
        KEPT.into_iter().filter_map(|name| Some((name, headers.get(name)?))).collect()
    }

    /// Begins to record an answer. `None`: its bytes are in a coding that another client may not accept, or
    /// its provider is not known.
    pub(super) fn record(self, headers: &HeaderFields, record: &RequestRecord) -> Option<RecordedAnswer> {
        if headers.contains("content-encoding") {
            return None;
        }
        let named = record.provider.as_ref()?;
        let (provider, place) = self.makers.iter().find(|(name, _)| name == named)?.clone();
        let maker = AnswerMaker { provider, place, model: record.upstream_model.clone()? };
        let kept = Self::kept_headers(headers);
        let gathering = AnswerGathering::new(self.cache.clone(), self.max_size);
        Some(RecordedAnswer { headers: kept, maker, gathering, place: self })
    }
}

impl RecordedAnswer {
    /// Takes a frame in. False: there is no room, and the answer is not kept.
    pub(super) fn add(&mut self, frame: &[u8]) -> bool {
        self.gathering.add(frame, Instant::now())
    }

    /// The stream has come to its end, after so many tokens.
    pub(super) fn keep_stream(mut self, tokens: u64) {
        if is_good_stream(self.place.dialect, self.gathering.body()) {
            let (body, marks) = self.gathering.take();
            self.put(tokens, (body, marks));
        }
    }

    fn store(mut self, tokens: u64, marks: Box<[FrameMark]>) {
        let (body, _) = self.gathering.take();
        self.put(tokens, (body, marks));
    }

    fn put(self, tokens: u64, (body, marks): (Bytes, Box<[FrameMark]>)) {
        let Self { place: AnswerPlace { key, cache, max_age, .. }, headers, maker, gathering: _ } = self;
        let answer = StoredAnswer { headers, body, marks, at: SystemTime::now(), tokens, maker };
        cache.store(key, answer, max_age);
    }
}
