//! Tests of the translation of requests, a file per way; serde_json reads and writes the bodies.

mod chat_to_messages;
mod chat_to_responses;
mod from_gemini;
mod hostile;
mod known_parts;
mod maker_limits;
mod members;
mod messages_responses;
mod messages_to_chat;
mod messages_to_chat_settings;
mod properties;
mod recordings;
mod responses_to_chat;

use serde_json::{Value, json};

use super::{RequestError, RequestErrorKind, RequestOptions, TranslatedRequest, translate};
use crate::dialect::ApiDialect;

const OPTIONS: RequestOptions<'static> = RequestOptions::new("provider/model");

struct Way {
    from: ApiDialect,
    to: ApiDialect,
}

impl Way {
    fn try_with(
        &self,
        request: &Value,
        options: &RequestOptions<'_>,
    ) -> Result<TranslatedRequest, RequestError> {
        translate(self.from, self.to, request.to_string().as_bytes(), options)
    }

    fn whole(&self, request: &Value) -> (Value, TranslatedRequest) {
        let translated =
            self.try_with(request, &OPTIONS).unwrap_or_else(|error| panic!("{error}: {request}"));
        (serde_json::from_slice(&translated.body.concat()).unwrap(), translated)
    }

    fn body(&self, request: &Value) -> Value {
        self.whole(request).0
    }

    fn refusal(&self, request: &Value, kind: RequestErrorKind) -> RequestError {
        let error = self.try_with(request, &OPTIONS).expect_err("the request is refused");
        assert_eq!(error.kind, kind, "{error}");
        error
    }

    fn unsayable(&self, request: &Value) -> String {
        self.refusal(request, RequestErrorKind::Unsayable).param.unwrap_or_default()
    }

    fn invalid(&self, request: &Value) -> String {
        self.refusal(request, RequestErrorKind::Invalid).param.unwrap_or_default()
    }
}

/// A request with `members` over those that the dialect asks for.
fn request(from: ApiDialect, members: Value) -> Value {
    let mut request = match from {
        ApiDialect::Messages => {
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
        }
        ApiDialect::ChatCompletions => json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
        ApiDialect::Responses => json!({"model": "m", "input": "Hi"}),
        ApiDialect::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    };
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}
