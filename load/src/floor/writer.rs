//! The bare writer: the same bytes to every socket, and nothing else.
//!
//! Owns sockets and one thread for each share of them. Told what to write by lines on its input, so that nothing but
//! writing happens between two orders. Start at [`serve_writer`].

use std::io::{BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::error::Error;
use crate::message::{self, Batch};

/// Arguments of the writer's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterSettings {
    /// Sockets to wait for.
    pub connections: u32,
    /// Threads.
    pub writers: u32,
}

/// Speaks with [`super::Floor`]: says `port <n>`, then `ready` when everybody is there; reads orders
/// `<first number> <end> <due, ns> <payload bytes>` and answers each one with `done`. Ends with the input.
///
/// # Errors
/// [`Error`] if it cannot listen or write.
pub fn serve_writer(
    settings: WriterSettings,
    orders: impl BufRead,
    mut out: impl Write,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("the floor's writer", &error);
    let listener = listen().map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    writeln!(out, "port {port}").and_then(|()| out.flush()).map_err(failed)?;
    let mut shares: Vec<Vec<TcpStream>> = (0..settings.writers.max(1)).map(|_| Vec::new()).collect();
    rlimit::increase_nofile_limit(u64::MAX).map_err(failed)?;
    for number in 0..settings.connections {
        let (socket, _) = listener.accept().map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let turn = number as usize % shares.len();
        shares.get_mut(turn).expect("the remainder is below the length").push(socket);
    }
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(failed)?;
    obey(shares, orders, &mut out).map_err(failed)
}

/// A deep queue of connections, as the receivers come faster than one thread accepts.
fn listen() -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn obey(shares: Vec<Vec<TcpStream>>, orders: impl BufRead, out: &mut impl Write) -> std::io::Result<()> {
    let (done, finished) = mpsc::channel();
    let start = |share: Vec<TcpStream>| {
        let (sender, receiver) = mpsc::channel();
        let done = done.clone();
        let thread = std::thread::Builder::new().name("floor".into());
        thread.spawn(move || write_all(share, &receiver, &done)).map(|_| sender)
    };
    let writers: Vec<Sender<Arc<[u8]>>> = shares.into_iter().map(start).collect::<Result<_, _>>()?;
    for order in orders.lines() {
        let bytes: Arc<[u8]> = frames(&order?)?.into();
        for writer in &writers {
            writer.send(Arc::clone(&bytes)).map_err(std::io::Error::other)?;
        }
        for _ in &writers {
            finished.recv().map_err(std::io::Error::other)??;
        }
        writeln!(out, "done")?;
        out.flush()?;
    }
    Ok(())
}

/// What an order wants written.
fn frames(order: &str) -> std::io::Result<Vec<u8>> {
    let batch = parse(order).ok_or_else(|| std::io::Error::other(format!("not an order: {order:?}")))?;
    let mut bytes = Vec::new();
    batch.data().for_each(|data| message::frame(&data, &mut bytes));
    Ok(bytes)
}

fn parse(order: &str) -> Option<Batch> {
    let mut fields = order.split_whitespace();
    let numbers = fields.next()?.parse().ok()?..fields.next()?.parse().ok()?;
    let (due_ns, payload_bytes) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Batch { numbers, due_ns, payload_bytes })
}

/// The floor itself.
fn write_all(mut share: Vec<TcpStream>, orders: &Receiver<Arc<[u8]>>, done: &Sender<std::io::Result<()>>) {
    for bytes in orders {
        let written = share.iter_mut().try_for_each(|socket| socket.write_all(&bytes));
        if done.send(written).is_err() {
            return;
        }
    }
}
