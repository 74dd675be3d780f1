//! What becomes of an item by its answer: it is final, or the item is asked again. Pure.

use std::time::{Duration, SystemTime};

use crate::{proxy::SingleAnswer, routing::retry_after};

/// Repeats of an item whose answers give no time.
const MAX_BLIND: u32 = 5;
/// Between repeats, without a time: doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The shortest and the longest time of an answer's that are kept to.
const MIN_HINT: Duration = Duration::from_millis(100);
const MAX_HINT: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Final,
    /// Again after this time. `limited`: a limit is reached, so that the batch's other items wait, too.
    /// `blind`: the answer gives no time.
    Again {
        after: Duration,
        limited: bool,
        blind: bool,
    },
}

/// `blind`: repeats so far without a time.
pub(super) fn verdict(answer: &SingleAnswer, blind: u32) -> Verdict {
    let status = match &answer.body {
        Ok(_) => answer.status.as_u16(),
        Err(_) => 502,
    };
    let limited = status == 429;
    let passes = matches!(status, 408 | 409 | 429 | 500..=599);
    let refuses = answer.headers.get("x-should-retry").is_some_and(|value| value == b"false");
    if !passes || refuses {
        return Verdict::Final;
    }
    match retry_after::in_headers(&answer.headers, SystemTime::now()).filter(|_| matches!(status, 429 | 503))
    {
        Some(after) => Verdict::Again { after: after.clamp(MIN_HINT, MAX_HINT), limited, blind: false },
        None if blind >= MAX_BLIND => Verdict::Final,
        None => {
            let after = (FIRST_WAIT * 2u32.pow(blind.min(16))).min(MAX_WAIT);
            Verdict::Again { after, limited, blind: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::base::{Fault, FaultKind, HeaderFields, RequestId, Sent, Stage};

    #[test]
    fn an_answer_is_final_or_asked_for_again() {
        let of = |status: u16, headers: &[(&'static str, &'static str)], blind| {
            let id = RequestId::from_client(b"r").unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let headers = headers.iter().copied().collect();
            verdict(&SingleAnswer { id, status, headers, body: Ok(Bytes::new()) }, blind)
        };
        let after =
            |millis, limited, blind| Verdict::Again { after: Duration::from_millis(millis), limited, blind };
        let (hinted, again) =
            (|millis, limited| after(millis, limited, false), |millis| after(millis, false, true));
        for status in [200, 400, 401, 403, 404, 422] {
            assert_eq!(of(status, &[], 0), Verdict::Final, "{status}");
        }
        assert_eq!(of(429, &[("retry-after-ms", "250"), ("retry-after", "1")], 99), hinted(250, true));
        assert_eq!(of(503, &[("retry-after", "7")], 99), hinted(7000, false));
        assert_eq!(of(429, &[("retry-after", "1.5")], 99), hinted(1500, true));
        assert_eq!(of(429, &[("retry-after-ms", "1")], 99), hinted(100, true), "no storm");
        assert_eq!(
            [0, 5].map(|blind| of(503, &[("retry-after", "0")], blind)),
            [again(1000), Verdict::Final]
        );
        assert_eq!(of(529, &[], 0), again(1000));
        assert_eq!(of(429, &[("x-should-retry", "false")], 0), Verdict::Final);
        assert_eq!([0, 1, 4].map(|blind| of(502, &[], blind)), [1000, 2000, 16_000].map(again));
        assert_eq!(of(500, &[], MAX_BLIND), Verdict::Final);
        let id = RequestId::from_client(b"r").unwrap();
        let body = Err(Fault::provider(Stage::Body, FaultKind::Reset, Sent::Some));
        let broken = SingleAnswer { id, status: StatusCode::OK, headers: HeaderFields::new(), body };
        assert_eq!(verdict(&broken, 0), again(1000));
    }
}
