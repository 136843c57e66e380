//! The bare writer: the same bytes to every socket, and nothing else.
//!
//! Owns sockets and one thread for each share of them. Told what to write by lines, so that nothing but writing happens
//! between two orders. Start at [`serve_writer`].

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::helper::{Orders, say};
use crate::message::{self, Batch};

/// How long the writer waits for the next connection before it looks whether anybody still wants it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the writer's process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriterSettings {
    /// Sockets to wait for.
    pub(crate) connections: u32,
    /// Threads.
    pub(crate) writers: u32,
}

/// Speaks with [`super::Floor`]: says `port <n>`, then `ready` when everybody is there; obeys orders
/// `<first number> <end> <due, ns> <payload bytes>` and answers each one with `done`. Ends with the orders.
pub(crate) fn serve_writer(
    settings: WriterSettings,
    orders: &Orders,
    out: &mut impl Write,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("the floor's writer", &error);
    let listener = listen().map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    say(out, &format!("port {port}\n"))?;
    let mut shares: Vec<Vec<TcpStream>> = (0..settings.writers.max(1)).map(|_| Vec::new()).collect();
    for number in 0..settings.connections {
        let Some(socket) = accept(&listener, orders).map_err(failed)? else { return Ok(()) };
        let turn = number as usize % shares.len();
        shares.get_mut(turn).expect("the remainder is below the length").push(socket);
    }
    say(out, "ready\n")?;
    obey(shares, orders, out).map_err(failed)
}

/// The next connection; none if nobody wants the writer any more.
fn accept(listener: &TcpListener, orders: &Orders) -> std::io::Result<Option<TcpStream>> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(false)?;
                socket.set_nodelay(true)?;
                return Ok(Some(socket));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match orders.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Ok(order) => return Err(std::io::Error::other(format!("too early: {order:?}"))),
        }
    }
}

/// A deep queue of connections, as the receivers come faster than one thread accepts.
fn listen() -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn obey(shares: Vec<Vec<TcpStream>>, orders: &Orders, out: &mut impl Write) -> std::io::Result<()> {
    let (done, finished) = mpsc::channel();
    let start = |share: Vec<TcpStream>| {
        let (sender, receiver) = mpsc::channel();
        let done = done.clone();
        let thread = std::thread::Builder::new().name("floor".into());
        thread.spawn(move || write_all(share, &receiver, &done)).map(|_| sender)
    };
    let writers: Vec<Sender<Arc<[u8]>>> = shares.into_iter().map(start).collect::<Result<_, _>>()?;
    for order in orders {
        let bytes: Arc<[u8]> = frames(&order)?.into();
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::helper::{Task, line, serve_helper};

    /// What a writer for so many connections says, given these orders and then no more.
    fn said(connections: u32, orders: &str) -> Vec<String> {
        let task = line(&Task::WriteFloor(WriterSettings { connections, writers: 1 }));
        let mut out = Vec::new();
        serve_helper(Cursor::new(task + orders), &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn a_writer_ends_with_its_orders_whatever_it_waits_for() {
        assert_eq!(said(1, ""), [""; 0]);
        assert_eq!(said(0, ""), ["ready"]);
        assert_eq!(said(0, "0 2 5 60\n"), ["ready", "done"]);
    }

    #[test]
    fn an_order_that_is_none_is_told() {
        let expected = "{\"failed\":\"the floor's writer: not an order: \\\"0 x 5 60\\\"\"}";
        assert_eq!(said(0, "0 x 5 60\n"), ["ready", expected]);
        let early = said(1, "0 1 5 60\n").join("");
        assert!(early.contains("too early"), "{early}");
    }
}
