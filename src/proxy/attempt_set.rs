//! The attempts of one request that run at once, on the worker of the request. The first has a place of its own, so that
//! asking one provider at a time allocates nothing. An attempt that is dropped closes its connection or resets its
//! stream.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

/// Attempts `F`, each with what is known of it.
#[derive(Debug)]
pub(super) struct AttemptSet<'p, T, F> {
    first: Option<T>,
    place: Pin<&'p mut Option<F>>,
    more: Vec<(T, Pin<Box<F>>)>,
}

impl<'p, T, F: Future> AttemptSet<'p, T, F> {
    /// `place` is where the first is kept.
    pub(super) const fn new(place: Pin<&'p mut Option<F>>) -> Self {
        Self { first: None, place, more: Vec::new() }
    }

    /// Adds one; it begins when the pack is waited for.
    pub(super) fn add(&mut self, turn: T, attempt: F) {
        if self.first.is_none() {
            self.place.set(Some(attempt));
            self.first = Some(turn);
        } else {
            self.more.push((turn, Box::pin(attempt)));
        }
    }

    /// The next one that ends. Waits for ever when none runs.
    pub(super) async fn next(&mut self) -> (T, F::Output) {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// All are polled whenever one may have moved: they are few, and asking one that has not moved makes no system call.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(T, F::Output)> {
        if let Some(attempt) = self.place.as_mut().as_pin_mut()
            && let Poll::Ready(output) = attempt.poll(cx)
        {
            self.place.set(None);
            if let Some(turn) = self.first.take() {
                return Poll::Ready((turn, output));
            }
        }
        for index in 0..self.more.len() {
            let Some((_, attempt)) = self.more.get_mut(index) else { break };
            if let Poll::Ready(output) = attempt.as_mut().poll(cx) {
                let (turn, _) = self.more.swap_remove(index);
                return Poll::Ready((turn, output));
            }
        }
        Poll::Pending
    }

    /// Gives up all that run; what is known of each.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = T> + use<T, F> {
        self.place.set(None);
        let more: Vec<T> = std::mem::take(&mut self.more).into_iter().map(|(turn, _)| turn).collect();
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
        let place = pin!(None);
        let mut pack = AttemptSet::new(place);
        for (turn, millis) in [(1, 30), (2, 10), (3, 20)] {
            pack.add(turn, after(millis, Rc::clone(&held)));
        }
        assert_eq!(pack.next().await, (2, 10));
        pack.add(4, after(1, Rc::clone(&held)));
        assert_eq!(pack.next().await, (4, 1));
        let mut left: Vec<_> = pack.give_up().collect();
        left.sort_unstable();
        assert_eq!((left, Rc::strong_count(&held)), (vec![1, 3], 1));
        pack.add(5, after(1, held));
        assert_eq!(pack.next().await, (5, 1));
    }
}
