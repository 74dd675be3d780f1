//! A response as a handler gives it, whatever the protocol by which it goes out.

use http::StatusCode;

use super::HeaderFields;

#[derive(Debug)]
pub struct HandlerResponse<B> {
    pub status: StatusCode,
    pub headers: HeaderFields,
    pub body: B,
}

impl<B> HandlerResponse<B> {
    /// A 200 without headers.
    pub const fn new(body: B) -> Self {
        Self { status: StatusCode::OK, headers: HeaderFields::new(), body }
    }

    /// The same with another body.
    pub fn map<C>(self, other: impl FnOnce(B) -> C) -> HandlerResponse<C> {
        HandlerResponse { status: self.status, headers: self.headers, body: other(self.body) }
    }
}

impl<B> From<HandlerResponse<B>> for http::Response<B> {
    fn from(given: HandlerResponse<B>) -> Self {
        let mut response = Self::new(given.body);
        *response.status_mut() = given.status;
        *response.headers_mut() = given.headers.to_map();
        response
    }
}
