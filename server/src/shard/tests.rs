//! A shard over real loopback sockets, with a handler made for the tests.

mod answers;
mod carried;
mod costs;
mod http;
mod limits;
mod moving;
mod proxied;
mod rig;
mod secure;
mod stream;
mod websocket;

pub(super) use self::rig::upcall;
