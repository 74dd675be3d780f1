//! A simulated provider: the time to its first tokens, its troubles, and its rate limit.

use std::time::Duration;

use thalweg::{
    base::{DeadlineKind, Moment, Rng, Sent, moment::micros},
    routing::FailureClass,
};

/// The result of one request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// From the request to the first token or the failure.
    pub after: Duration,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub class: FailureClass,
    pub hint: Option<Duration>,
    pub sent: Sent,
}

#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// Refuses connections.
    Dead,
    /// Accepts no connection and refuses none: the connect timeout passes.
    Hole,
    /// This share fails, after this share of the usual time.
    Failing { share: f64, class: FailureClass },
    /// Slower by this factor.
    Slow { times: f64 },
}

/// A period, from start to end.
#[derive(Clone, Copy, Debug)]
pub struct Episode {
    pub from: Moment,
    pub to: Moment,
    pub trouble: Trouble,
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub median: Duration,
    /// Of the logarithm: 0.3 is a calm provider, 1 a wild one.
    pub spread: f64,
    /// The share of first tokens that wait in a queue first, and for how long at most.
    pub stalls: f64,
    pub longest_stall: Duration,
    pub episodes: Vec<Episode>,
    pub limit: Option<Limit>,
}

/// Requests a second, by a bucket of a second's worth.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub per_second: f64,
    held: f64,
    at: Moment,
}

impl Limit {
    pub const fn new(per_second: f64) -> Self {
        Self { per_second, held: per_second, at: Moment::NEVER }
    }

    fn admits(&mut self, now: Moment) -> bool {
        let refill = now.since(self.at).as_secs_f64() * self.per_second;
        (self.held, self.at) = ((self.held + refill).min(self.per_second), now);
        let admits = self.held >= 1.0;
        self.held -= f64::from(u8::from(admits));
        admits
    }
}

impl Provider {
    /// A median of so many milliseconds; three in a hundred first tokens wait from one to ten seconds more.
    pub const fn usual(millis: u64) -> Self {
        Self {
            median: Duration::from_millis(millis),
            spread: 0.3,
            stalls: 0.03,
            longest_stall: Duration::from_secs(10),
            episodes: Vec::new(),
            limit: None,
        }
    }

    pub fn in_trouble(mut self, from: Moment, to: Moment, trouble: Trouble) -> Self {
        self.episodes.push(Episode { from, to, trouble });
        self
    }

    pub fn trouble(&self, now: Moment) -> Option<Trouble> {
        self.episodes.iter().find(|episode| (episode.from..episode.to).contains(&now)).map(|it| it.trouble)
    }

    pub fn answer(&mut self, now: Moment, dice: &mut Rng) -> Answer {
        let usual = whole(self.first_token(dice));
        let fail = |after, class, hint, sent| Answer { after, failure: Some(Failure { class, hint, sent }) };
        match self.trouble(now) {
            Some(Trouble::Dead) => {
                return fail(Duration::from_millis(1), FailureClass::Unreachable, None, Sent::Nothing);
            }
            Some(Trouble::Hole) => {
                return fail(
                    Duration::from_secs(10),
                    FailureClass::Timeout(DeadlineKind::Connect),
                    None,
                    Sent::Nothing,
                );
            }
            Some(Trouble::Failing { share, class }) if dice.happens(share) => {
                let sent = if class == FailureClass::Reset { Sent::Unknown } else { Sent::Some };
                return fail(whole(usual / 2), class, None, sent);
            }
            Some(Trouble::Slow { times }) => {
                return Answer { after: whole(usual.mul_f64(times)), failure: None };
            }
            Some(Trouble::Failing { .. }) | None => {}
        }
        if self.limit.as_mut().is_some_and(|limit| !limit.admits(now)) {
            let hint = Some(Duration::from_millis(200));
            return fail(Duration::from_millis(30), FailureClass::RateLimited, hint, Sent::Some);
        }
        Answer { after: usual, failure: None }
    }

    fn first_token(&self, dice: &mut Rng) -> Duration {
        let calm = self.median.mul_f64((normal(dice) * self.spread).exp());
        let stall = dice.happens(self.stalls);
        calm + if stall { self.longest_stall.mul_f64(0.1 + 0.9 * dice.unit()) } else { Duration::ZERO }
    }
}

/// In whole microseconds, as moments are.
fn whole(duration: Duration) -> Duration {
    Duration::from_micros(micros(duration))
}

/// A normal variate (Box and Muller 1958).
fn normal(dice: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - dice.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * dice.unit()).cos()
}

/// The time to the next of events that come independently, so many a second.
pub fn gap(per_second: f64, dice: &mut Rng) -> Duration {
    Duration::from_secs_f64(-(1.0 - dice.unit()).ln() / per_second)
}
