//! Polls a connection's future and applies its fate: hyper's graceful shutdown for a connection that is to
//! finish, an end for one that is cut. Knows neither requests nor responses.

use std::{
    future::{Future, poll_fn},
    ops::DerefMut,
    pin::Pin,
    task::Poll,
};

use super::state::{ConnFate, ConnRecord};
use crate::base::turn;

/// A hyper connection of either protocol.
pub(in crate::server) trait HyperConnection: Future<Output = hyper::Result<()>> {
    /// Begins no further request.
    fn finish(self: Pin<&mut Self>);
}

/// Runs the connection until it ends or `is_taken`, and applies its fate when that changes.
pub(in crate::server) async fn drive<C: HyperConnection>(
    connection: &mut Pin<impl DerefMut<Target = C>>,
    record: &ConnRecord,
    mut is_taken: impl FnMut() -> bool,
) -> hyper::Result<()> {
    let mut is_finishing = false;
    poll_fn(|cx| {
        turn::begin();
        record.register_waker(cx.waker());
        match record.fate() {
            ConnFate::Live => {}
            ConnFate::Finish | ConnFate::End if is_finishing => {}
            ConnFate::Finish | ConnFate::End => {
                is_finishing = true;
                connection.as_mut().finish();
            }
            ConnFate::Cut => return Poll::Ready(Ok(())),
        }
        let polled = connection.as_mut().poll(cx);
        if is_taken() { Poll::Ready(Ok(())) } else { polled }
    })
    .await
}

/// `None` if the connection is to end before the future does.
pub(in crate::server) async fn while_live<F: Future + ?Sized>(
    record: &ConnRecord,
    mut future: Pin<Box<F>>,
) -> Option<F::Output> {
    poll_fn(|cx| {
        record.register_waker(cx.waker());
        if record.fate() > ConnFate::Live { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }
    })
    .await
}
