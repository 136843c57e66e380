//! How many messages a second go through a queue inside one process: sent, received and deleted, in groups, on the disk.
//!
//!     cargo run --release --example queue_lifecycle [DIRECTORY]
//!
//! Without a directory all is in memory.

use std::error::Error;
use std::time::{Duration, Instant};

use trunkline::{Config, Queue, QueueMessage, Server};

/// Messages of one call.
const GROUP: u32 = 256;

/// Programs that use queues beside each other, each one of its own.
const WORKERS: usize = 8;

const SECONDS: u64 = 5;

/// Bytes of a body.
const BODY_BYTES: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1);
    let mut settings = vec!["server.drain_window_ms=0".to_owned(), "mqtt.sys_interval_seconds=0".to_owned()];
    settings.extend(directory.iter().map(|directory| format!("store.dir={directory}")));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = Server::start(Config::embedded_with(&settings)?).await?;
    let (began, end) = (Instant::now(), Instant::now() + Duration::from_secs(SECONDS));
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let queue = server.handle().queue(&format!("lifecycle-{number}"))?;
        queue.create().await?;
        workers.spawn(work(queue, end));
    }
    let mut messages = 0;
    while let Some(done) = workers.join_next().await {
        messages += done??;
    }
    let rate = messages as f64 / began.elapsed().as_secs_f64();
    println!("{messages} messages sent, received and deleted in groups of {GROUP}: {rate:.0} a second");
    server.drain().await;
    Ok(())
}

/// How many messages went through until then.
async fn work(queue: Queue, end: Instant) -> Result<u64, trunkline::QueueError> {
    let body = "x".repeat(BODY_BYTES);
    let mut messages = 0;
    while Instant::now() < end {
        let sent = queue.send_batch((0..GROUP).map(|_| QueueMessage::new(body.as_str()))).await?;
        sent.into_iter().collect::<Result<Vec<_>, _>>()?;
        let received = queue.receive(GROUP, Duration::from_secs(1)).await?;
        let deleted = queue.delete_batch(received.iter().map(|message| message.receipt)).await?;
        deleted.into_iter().collect::<Result<Vec<_>, _>>()?;
        messages += received.len() as u64;
    }
    queue.delete_queue().await?;
    Ok(messages)
}
