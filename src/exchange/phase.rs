//! How far a request has come, in the words of an access log; shared by log, rows, statistics and the view of
//! running requests.

use crate::base::Stage;

#[must_use]
pub const fn phase(stage: Stage) -> &'static str {
    match stage {
        Stage::Intake => "request",
        Stage::Pool => "pool",
        Stage::Connect => "connect",
        Stage::Send | Stage::Head => "before_head",
        Stage::FirstToken => "before_first_token",
        Stage::Body => "mid_stream",
    }
}
