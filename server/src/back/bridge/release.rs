//! Numbers that one side remembers of a session of the other side's that is gone.
//!
//! A server that has taken a message of QoS 2 remembers its number until PUBREL, in its session. The other server, whose
//! session is new, counts from the beginning; a message under such a number would be taken for one that has come, and be lost.
//! So before anything else the server is told PUBREL for every number (MQTT 5.0 [4.3.3-11]: it always answers), and the
//! answers stay here. Owns which of them are open, 8 KiB while there are any. Must not know when this is due
//! ([`Pairing`](super::pairing::Pairing)). Start at [`Release::ask`].

use wire::mqtt::{Ack, Encoder, PacketId, ReasonCode, Unsent};

/// The answers that are still to come.
#[derive(Debug)]
pub(super) struct Release {
    open: Box<[u64; 1024]>,
    count: usize,
}

impl Release {
    /// Asks for all of them, in 256 KiB.
    ///
    /// # Errors
    /// The server takes no packet of four bytes.
    pub(super) fn ask(encoder: &Encoder, out: &mut Vec<u8>) -> Result<Self, Unsent> {
        let mut release = Self { open: Box::new([0; 1024]), count: 0 };
        for number in 1..=u16::MAX {
            let packet_id = PacketId::new(number).unwrap_or(PacketId::FIRST);
            encoder.pubrel(&Ack::new(packet_id, ReasonCode::Success), out)?;
            if let Some((word, bit)) = release.place(number) {
                *word |= bit;
                release.count += 1;
            }
        }
        Ok(release)
    }

    /// A PUBCOMP; whether it is the answer to what was asked here. A server answers in order, so the first one is.
    pub(super) fn takes(&mut self, packet_id: PacketId) -> bool {
        let Some((word, bit)) = self.place(packet_id.value()) else { return false };
        let was_open = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(was_open);
        was_open
    }

    /// All answers have come.
    pub(super) fn is_over(&self) -> bool {
        self.count == 0
    }

    fn place(&mut self, number: u16) -> Option<(&mut u64, u64)> {
        Some((self.open.get_mut(usize::from(number / 64))?, 1 << (number % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::mqtt::Version;

    #[test]
    fn each_number_is_asked_for_and_answered_once() {
        let mut out = Vec::new();
        let mut release = Release::ask(&Encoder::new(Version::V5), &mut out).unwrap();
        assert_eq!(out.len(), 4 * 65_535);
        let number = |n| PacketId::new(n).unwrap();
        assert!(release.takes(number(7)) && !release.takes(number(7)), "the second is somebody else's");
        let rest = (1..=u16::MAX).filter(|n| release.takes(number(*n))).count();
        assert_eq!(rest, 65_534);
        assert!(release.is_over());
    }
}
