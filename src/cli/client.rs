//! A first request to the gateway that has just been started: which models does it offer? Only so that the example
//! shown to a person names one that works.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// The gateway asks its providers while it already listens; their lists may take a moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Beyond this, the list is longer than anybody's.
const LONGEST: u64 = 4 << 20;

/// Parts of names of models that one cannot chat with.
const NO_CHAT: [&str; 9] =
    ["embed", "whisper", "tts", "audio", "image", "dall-e", "moderation", "realtime", "rerank"];

/// The first model to chat with. `None`: none is offered in time, or the gateway could not be asked.
pub(super) fn model(address: SocketAddr, token: &str) -> Option<String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let models = offered(&ask(address, token).ok()?)?;
        let chats = |name: &&String| !NO_CHAT.iter().any(|part| name.to_ascii_lowercase().contains(part));
        if let Some(model) = models.iter().find(chats).or_else(|| models.first()) {
            return Some(model.clone());
        }
        thread::sleep(PAUSE);
    }
    None
}

/// `None`: no list of models.
fn offered(answer: &str) -> Option<Vec<String>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    let list: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(list["data"].as_array()?.iter().filter_map(|model| Some(model["id"].as_str()?.to_owned())).collect())
}

/// HTTP/1.0, so that the answer ends with the connection and has no chunks.
fn ask(address: SocketAddr, token: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!("GET /v1/models HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What is made of these answers to one request each.
    fn answered(answers: &'static [&'static str]) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
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
        assert_eq!(answered(&[TWO]).as_deref(), Some("a/chat"));
        assert_eq!(answered(&[NONE_YET, TWO]).as_deref(), Some("a/chat"));
        let embeds = &["HTTP/1.0 200 OK\r\n\r\n{\"data\":[{\"id\":\"embed\"}]}"];
        assert_eq!(answered(embeds).as_deref(), Some("embed"));
        assert_eq!(answered(&["HTTP/1.0 401 Unauthorized\r\n\r\n{\"data\":[{\"id\":\"a\"}]}"]), None);
        assert_eq!(answered(&["nonsense"]), None);
    }
}
