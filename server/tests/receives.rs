//! Receives that are given up: whatever point they had come to, what they were given goes back at once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use trunkline::{Config, Server};

/// Shorter than a message that is given stays invisible (30 s), longer than anything else takes.
const WAIT: Duration = Duration::from_secs(20);

/// A future that is given up when it has waited so many times; says whether it was done before.
struct UpTo<F> {
    future: Option<Pin<Box<F>>>,
    waits: u32,
}

impl<F: Future> UpTo<F> {
    fn new(waits: u32, future: F) -> Self {
        Self { future: Some(Box::pin(future)), waits }
    }
}

impl<F: Future> Future for UpTo<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(None) };
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if self.waits == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.waits -= 1;
        Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_is_given_up_at_any_point_gives_its_message_back() {
    let dir = std::env::temp_dir().join(format!("trunkline-receives-{}", std::process::id()));
    let config =
        Config::embedded_with(&[&format!("store.dir={}", dir.display()), "server.shards=2"]).unwrap();
    let server = Server::start(config).await.unwrap();
    let queue = server.handle().queue("orders").unwrap();
    queue.create().await.unwrap();
    // It waits for the home of the queue, and then for the store if that is not quicker.
    for waits in (0..3).cycle().take(60) {
        queue.send("tea").await.unwrap();
        let got = match UpTo::new(waits, queue.receive(1, WAIT)).await {
            Some(got) => got,
            None => tokio::time::timeout(2 * WAIT, queue.receive(1, WAIT)).await.unwrap(),
        };
        let got = got.unwrap();
        assert_eq!(got.len(), 1, "given up at wait {waits}, it is still invisible");
        queue.delete(got[0].receipt).await.unwrap();
    }
    server.drain().await;
    std::fs::remove_dir_all(&dir).unwrap();
}
