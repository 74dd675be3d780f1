//! HTTP/1.1 to a provider; the gateway's own tests have most of it.

use std::{
    pin::pin,
    task::{Context, Wake, Waker},
};

use super::*;

/// Does nothing, as the waker of a task that has ended.
struct EndedTask;

impl Wake for EndedTask {
    fn wake(self: Arc<Self>) {}
}

/// The timer of a connection holds the task of the last request until it rings. An idle connection has none.
#[test]
fn an_idle_connection_holds_no_task() {
    LocalRuntime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (go_on, asked) = (Rc::new(Notify::new()), Rc::new(Cell::new(false)));
        let (may_answer, was_asked) = (Rc::clone(&go_on), Rc::clone(&asked));
        Tasks::new().spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
            was_asked.set(true);
            may_answer.notified().await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
            pending::<()>().await;
        });
        let upstream =
            Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
        let scene = Scene { upstream, target: Target::plain("p", base), provider: Provider::default() };
        let task = Arc::new(EndedTask);
        {
            let mut sent = pin!(scene.send("/", &[]));
            let waker = Waker::from(Arc::clone(&task));
            let mut response = in_time(async {
                loop {
                    if let Poll::Ready(response) = sent.as_mut().poll(&mut Context::from_waker(&waker)) {
                        break response.unwrap();
                    }
                    if asked.get() {
                        go_on.notify_one();
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            assert_eq!(all(&mut response.body).await, b"x");
        }
        assert_eq!(Arc::strong_count(&task), 2, "the timer");
        scene.upstream.sweep();
        assert_eq!(Arc::strong_count(&task), 1);
    });
}
