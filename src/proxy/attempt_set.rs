//! The attempts of one request that run at once, on the worker of the request. The first one runs in a place
//! that the caller gives, so that a request with one attempt allocates nothing. An attempt that is dropped
//! closes its connection or resets its stream.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

/// Running attempts `F`, each with its description `T`.
#[derive(Debug)]
pub(super) struct AttemptSet<'p, T, F> {
    /// `None`: nothing runs in `place`.
    first: Option<T>,
    place: Pin<&'p mut Option<F>>,
    more: Vec<(T, Pin<Box<F>>)>,
}

impl<'p, T, F: Future> AttemptSet<'p, T, F> {
    /// The attempt in `place`, if there is one, with its description. It is built there, because its future
    /// is large and would be copied.
    pub(super) const fn new(first: Option<T>, place: Pin<&'p mut Option<F>>) -> Self {
        Self { first, place, more: Vec::new() }
    }

    /// Adds an attempt, which begins with the next call of [`AttemptSet::next`].
    pub(super) fn add(&mut self, description: T, attempt: Pin<Box<F>>) {
        self.more.push((description, attempt));
    }

    /// None runs.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    /// The next attempt that ends. Waits for ever when none runs.
    pub(super) async fn next(&mut self) -> (T, F::Output) {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// All are polled whenever one may have moved: they are few, and polling one that has not moved makes no
    /// system call.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(T, F::Output)> {
        if let Some(attempt) = self.place.as_mut().as_pin_mut()
            && let Poll::Ready(output) = attempt.poll(cx)
        {
            self.place.set(None);
            if let Some(description) = self.first.take() {
                return Poll::Ready((description, output));
            }
        }
        for index in 0..self.more.len() {
            let Some((_, attempt)) = self.more.get_mut(index) else { break };
            if let Poll::Ready(output) = attempt.as_mut().poll(cx) {
                let (description, _) = self.more.swap_remove(index);
                return Poll::Ready((description, output));
            }
        }
        Poll::Pending
    }

    /// Cancels all that run; gives the description of each.
    pub(super) fn cancel(&mut self) -> impl Iterator<Item = T> + use<T, F> {
        self.place.set(None);
        let more: Vec<T> =
            std::mem::take(&mut self.more).into_iter().map(|(description, _)| description).collect();
        self.first.take().into_iter().chain(more)
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, rc::Rc};

    use tokio::time::{Duration, sleep};

    use super::*;

    async fn after(millis: u64, held: Rc<()>) -> u64 {
        sleep(Duration::from_millis(millis)).await;
        drop(held);
        millis
    }

    #[tokio::test(start_paused = true)]
    async fn the_quickest_is_first_and_the_rest_are_dropped() {
        let held = Rc::new(());
        let place = pin!(Some(after(30, Rc::clone(&held))));
        let mut running = AttemptSet::new(Some(1), place);
        for (description, millis) in [(2, 10), (3, 20)] {
            running.add(description, Box::pin(after(millis, Rc::clone(&held))));
        }
        assert_eq!(running.next().await, (2, 10));
        running.add(4, Box::pin(after(1, Rc::clone(&held))));
        assert_eq!(running.next().await, (4, 1));
        let mut left: Vec<_> = running.cancel().collect();
        left.sort_unstable();
        assert_eq!((left, Rc::strong_count(&held), running.is_empty()), (vec![1, 3], 1, true));
        running.add(5, Box::pin(after(1, held)));
        assert!(!running.is_empty());
        assert_eq!(running.next().await, (5, 1));
        assert!(running.is_empty());
    }
}
