//! The trace context of a request (W3C Trace Context, level 1): the client's trace and parent, or a new
//! trace, and two spans of the gateway: the request, and inside it the call to the model. `tracestate` is not
//! read.

use crate::base::Rng;

/// The flags that are known.
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// The ids of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: u128,
    /// The client's span. `None`: the trace begins here.
    pub parent: Option<u64>,
    /// The span of the request.
    pub server: u64,
    /// The span of the call to the model.
    pub client: u64,
    /// The spans are exported.
    pub sampled: bool,
    /// The client's flag that the trace's id is random (level 2); it passes as it came.
    pub random: bool,
}

impl Trace {
    /// Continues the client's trace, or begins one; `share` of those that begin are sampled. An invalid
    /// header counts as none.
    #[must_use]
    pub fn of(traceparent: Option<&[u8]>, share: f64, rng: &mut Rng) -> Self {
        let mut span = || rng.roll().max(1);
        let (server, client) = (span(), span());
        if let Some((id, parent, flags)) = traceparent.and_then(parse) {
            let (sampled, random) = (flags & SAMPLED != 0, flags & RANDOM != 0);
            return Self { id, parent: Some(parent), server, client, sampled, random };
        }
        let id = u128::from(span()) << 64 | u128::from(span());
        Self { id, parent: None, server, client, sampled: rng.happens(share), random: false }
    }

    /// The `traceparent` header for the provider: the call to the model is the parent.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let sampled = if self.sampled { SAMPLED } else { 0 };
        let random = if self.random { RANDOM } else { 0 };
        format!("00-{:032x}-{:016x}-{:02x}", self.id, self.client, sampled | random)
    }
}

/// Trace, span and flags. Of later versions the known part is read, as the standard requires.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let text = std::str::from_utf8(text).ok()?;
    let lower = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.splitn(5, '-');
    let mut part = |length: usize| parts.next().filter(|part| part.len() == length).filter(lower);
    let (version, id, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let id = u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    Some((id, span, u8::from_str_radix(flags, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn goes_on_with_what_the_client_said() {
        let trace = Trace::of(Some(SAID.as_bytes()), 0.0, &mut Rng::new(1));
        assert_eq!(
            (trace.id, trace.parent),
            (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, Some(0xb7ad_6b71_6920_3331))
        );
        assert!(trace.sampled && trace.server != trace.client);
        let told = trace.traceparent();
        assert_eq!(parse(told.as_bytes()), Some((trace.id, trace.client, SAMPLED)));
        let quiet = Trace::of(Some(SAID.replace("-01", "-00").as_bytes()), 1.0, &mut Rng::new(1));
        assert!(!quiet.sampled && quiet.traceparent().ends_with("-00"));
        // The known flags pass, others do not.
        for (flags, passed) in [("-02", "-02"), ("-03", "-03"), ("-ff", "-03"), ("-fc", "-00")] {
            let trace = Trace::of(Some(SAID.replace("-01", flags).as_bytes()), 1.0, &mut Rng::new(1));
            assert!(trace.traceparent().ends_with(passed), "{flags}");
        }
    }

    #[test]
    fn begins_anew_when_nothing_sane_was_said() {
        for said in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7-b7ad6b7169203331-01",
        ] {
            let trace = Trace::of(Some(said.as_bytes()), 1.0, &mut Rng::new(7));
            assert!(trace.parent.is_none() && trace.id != 0 && trace.sampled, "{said}");
        }
        assert!(parse(SAID.replacen("00", "01", 1).as_bytes()).is_some());
        assert!(!Trace::of(None, 0.0, &mut Rng::new(7)).sampled);
    }
}
