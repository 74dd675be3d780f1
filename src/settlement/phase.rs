//! How far a request had come, in the words of an access log; shared by log, rows and statistics.

use crate::base::Stage;

pub(super) const fn phase(stage: Stage) -> &'static str {
    match stage {
        Stage::Intake => "request",
        Stage::Pool => "pool",
        Stage::Connect => "connect",
        Stage::Send | Stage::Head => "before_head",
        Stage::FirstToken => "before_first_token",
        Stage::Body => "mid_stream",
    }
}
