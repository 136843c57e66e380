//! (in work)
use crate::session::{Next, Script, Sink, Took};
use crate::target::Target;
use std::sync::Arc;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack { NeverReads }
#[derive(Debug)]
pub(crate) struct Attacker;
impl Attacker {
    pub(crate) fn new(_a: Attack, _s: &Arc<Script>, _i: u32) -> Self { Self }
    pub(crate) fn connected(&mut self, _t: &Target, _out: &mut Vec<u8>) {}
    pub(crate) fn received(&mut self, _s: &Script, buf: &mut [u8], _o: &mut Vec<u8>, _k: &mut impl Sink) -> Result<Took, String> { Ok(Took { consumed: buf.len(), next: Next::Continue }) }
    pub(crate) fn tick(&mut self, _out: &mut Vec<u8>) -> Next { Next::Continue }
}
#[derive(Clone, Debug)]
pub struct Hostile;
