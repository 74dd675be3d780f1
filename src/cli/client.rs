//! Requests the model list of the gateway that has just started, so that the example in the start-up lines
//! names a model that works. A plain HTTP/1.0 client on purpose: it needs no runtime and no parser of chunks.
//! Every failure gives no model, because the example is not worth an error.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// The gateway fetches its providers' lists while it already listens, so they may be late.
const MODELS_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two requests.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Bytes of a response; no gateway has a longer list.
const MAX_RESPONSE_SIZE: u64 = 4 << 20;

/// Parts of the names of models without chat.
const NO_CHAT: [&str; 9] =
    ["embed", "whisper", "tts", "audio", "image", "dall-e", "moderation", "realtime", "rerank"];

/// The first model with chat, or else the first one. `None`: none is offered in time, or the request failed.
pub(super) fn model(address: SocketAddr, token: &str) -> Option<String> {
    let deadline = Instant::now() + MODELS_TIMEOUT;
    while Instant::now() < deadline {
        let models = listed_models(&request_models(address, token).ok()?)?;
        let chats = |name: &&String| !NO_CHAT.iter().any(|part| name.to_ascii_lowercase().contains(part));
        if let Some(model) = models.iter().find(chats).or_else(|| models.first()) {
            return Some(model.clone());
        }
        thread::sleep(RETRY_INTERVAL);
    }
    None
}

/// The names in a response. `None`: it is no list of models.
fn listed_models(response: &str) -> Option<Vec<String>> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    let list: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(list["data"].as_array()?.iter().filter_map(|model| Some(model["id"].as_str()?.to_owned())).collect())
}

/// Uses HTTP/1.0, so that the response ends with the connection and has no chunks.
fn request_models(address: SocketAddr, token: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, MODELS_TIMEOUT)?;
    stream.set_read_timeout(Some(MODELS_TIMEOUT))?;
    let head = format!("GET /v1/models HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut response = String::new();
    stream.take(MAX_RESPONSE_SIZE).read_to_string(&mut response)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// The result if a server sends these responses, one for each request.
    fn model_from(responses: &'static [&'static str]) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for response in responses {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).unwrap();
                stream.write_all(response.as_bytes()).unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                assert!(head.contains("\r\nAuthorization: Bearer t\r\n"), "{head}");
            }
        });
        let model = model(address, "t");
        server.join().unwrap();
        model
    }

    #[test]
    fn finds_the_first_model_to_chat_with() {
        const NONE_YET: &str = "HTTP/1.0 200 OK\r\n\r\n{\"data\":[]}";
        const TWO: &str = "HTTP/1.0 200 OK\r\n\r\n{\"data\":[{\"id\":\"a/embed-1\"},{\"id\":\"a/chat\"}]}";
        assert_eq!(model_from(&[TWO]).as_deref(), Some("a/chat"));
        assert_eq!(model_from(&[NONE_YET, TWO]).as_deref(), Some("a/chat"));
        let embeds = &["HTTP/1.0 200 OK\r\n\r\n{\"data\":[{\"id\":\"embed\"}]}"];
        assert_eq!(model_from(embeds).as_deref(), Some("embed"));
        assert_eq!(model_from(&["HTTP/1.0 401 Unauthorized\r\n\r\n{\"data\":[{\"id\":\"a\"}]}"]), None);
        assert_eq!(model_from(&["nonsense"]), None);
    }
}
