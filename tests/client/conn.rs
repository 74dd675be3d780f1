//! One connection of hyper's client, HTTP/1.1 or HTTP/2 by prior knowledge, plain or TLS. Dropping the client
//! and its answers closes the socket.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Answer, Call};
use crate::upstream::{Log, log::in_time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    H1,
    H2,
}

impl Version {
    pub const BOTH: [Self; 2] = [Self::H1, Self::H2];
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// The task that drives a connection; it ends, and closes the socket, when its last holder is dropped.
#[derive(Clone, Debug)]
pub struct Driver(#[expect(dead_code, reason = "held for its drop")] Arc<Abort>);

#[derive(Debug)]
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection for requests, one after another or (HTTP/2) concurrently.
pub struct Client {
    sender: Sender,
    authority: String,
    driver: Driver,
    told: Option<Arc<Log>>,
}

impl Client {
    pub async fn connect(version: Version, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a gateway that listens");
        stream.set_nodelay(true).unwrap();
        Self::over(stream, version, address.to_string()).await
    }

    /// The same over an open stream.
    pub async fn over<S>(stream: S, version: Version, authority: String) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = TokioIo::new(stream);
        let (sender, task) = match version {
            Version::H1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                (Sender::H1(sender), tokio::spawn(async { drop(connection.await) }))
            }
            Version::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                (Sender::H2(sender), tokio::spawn(async { drop(connection.await) }))
            }
        };
        Self { sender, authority, driver: Driver(Arc::new(Abort(task))), told: None }
    }

    /// Reports received payload to the upstream, for its [`crate::upstream::Step::Delivered`].
    pub fn telling(mut self, log: &Arc<Log>) -> Self {
        self.told = Some(Arc::clone(log));
        self
    }

    /// Sends and waits for the head.
    pub async fn send(&mut self, call: Call) -> Answer {
        let answer = in_time(self.try_send(call)).await.expect("an answer in time");
        answer.expect("an answer")
    }

    pub async fn try_send(&mut self, call: Call) -> Result<Answer, hyper::Error> {
        let request = call.request(&self.authority);
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                let (mut head, body) = request.into_parts();
                head.headers.insert("host", self.authority.parse().unwrap());
                let path = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
                head.uri = path;
                sender.send_request(http::Request::from_parts(head, body)).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let mut answer = Answer::new(response, self.driver.clone());
        answer.told.clone_from(&self.told);
        Ok(answer)
    }
}
