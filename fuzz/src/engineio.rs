//! Engine.IO packets and poll bodies: what is accepted is written back to what is accepted as the same.

use wire::engineio::{BinaryAs, FrameKind, Packet, Packets, PayloadForm, PayloadWriter, Version};

/// The target `engineio_packet`. One byte chooses the revision, the rest is a frame, read as text and as binary.
pub fn engineio_packet(data: &[u8]) {
    let Some((&choice, frame)) = data.split_first() else { return };
    let version = version(choice);
    if let Ok(Ok(packet)) = std::str::from_utf8(frame).map(|text| Packet::from_text(version, text)) {
        reread(version, &packet);
    }
    if let Some(packet) = Packet::from_binary_frame(version, frame) {
        reread(version, &packet);
    }
}

const fn version(choice: u8) -> Version {
    if choice.is_multiple_of(2) { Version::V4 } else { Version::V3 }
}

/// Writes the packet in both forms and reads it again.
fn reread(version: Version, packet: &Packet<'_>) {
    let mut text = Vec::new();
    packet.write_text(version, &mut text);
    let text = std::str::from_utf8(&text).expect("the text form is UTF-8");
    assert_eq!(Packet::from_text(version, text).as_ref(), Ok(packet));

    let mut frame = Vec::new();
    let again = match packet.write_frame(version, &mut frame) {
        FrameKind::Text => {
            std::str::from_utf8(&frame).ok().and_then(|text| Packet::from_text(version, text).ok())
        }
        FrameKind::Binary => Packet::from_binary_frame(version, &frame),
    };
    assert_eq!(again.as_ref(), Some(packet));
}

/// The target `engineio_payload`. One byte chooses the form, one the limit, the rest is a body.
pub fn engineio_payload(data: &[u8]) {
    let [choice, packets_max, body @ ..] = data else { return };
    let (form, version, binary) = match choice % 4 {
        0 | 1 => (PayloadForm::V4, Version::V4, BinaryAs::Base64),
        2 => (PayloadForm::V3Text, Version::V3, BinaryAs::Base64),
        _ => (PayloadForm::V3Binary, Version::V3, BinaryAs::Raw),
    };
    let packets_max = usize::from(*packets_max).max(1);
    let Ok(packets) = Packets::new(form, body, packets_max) else { return };
    let read: Vec<_> = packets.collect();
    assert!(read.iter().filter(|packet| packet.is_ok()).count() <= packets_max);
    let errors = read.iter().filter(|packet| packet.is_err()).count();
    assert!(
        errors == 0 || errors == 1 && read.last().is_some_and(Result::is_err),
        "nothing follows an error"
    );

    let accepted: Vec<Packet<'_>> = read.into_iter().filter_map(Result::ok).collect();
    let mut writer = PayloadWriter::new(version, binary);
    for packet in &accepted {
        let before = writer.len();
        writer.push(packet);
        assert!(writer.len() > before);
    }
    let payload = writer.finish();
    // Revision 4 has no body for no packets.
    if !payload.body.is_empty() {
        let again: Result<Vec<_>, _> =
            Packets::new(payload.form, &payload.body, packets_max).and_then(Iterator::collect);
        assert_eq!(again, Ok(accepted));
    }
}
