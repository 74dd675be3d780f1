//! Writes Protocol Buffers' wire format, as far as spans need it. Knows no message: `otlp` names the fields.
//! A field that has its default value may be left out by the caller.

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct ProtoMessage(Vec<u8>);

/// The wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

impl ProtoMessage {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// An enumeration or a number without sign.
    pub(super) fn number(&mut self, field: u64, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        self.tag(field, FIXED_64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn double(&mut self, field: u64, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn tag(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    /// Seven bits per byte, the lowest first; the highest bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_byte(value));
    }
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's documentation, and the limits.
    #[test]
    fn fields_are_written_as_the_format_says() {
        let written = |write: &dyn Fn(&mut ProtoMessage)| {
            let mut message = ProtoMessage::default();
            write(&mut message);
            message.into_bytes()
        };
        assert_eq!(written(&|message| message.number(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(&|message| message.text(2, "testing")), *b"\x12\x07testing");
        assert_eq!(
            written(&|message| message.message(3, |inner| inner.number(1, 150))),
            [0x1a, 3, 0x08, 0x96, 1]
        );
        assert_eq!(written(&|message| message.fixed64(16, 1)), [0x81, 0x01, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&|message| message.double(4, 0.5)), [0x21, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f]);
        assert_eq!(written(&|message| message.number(1, u64::MAX)).len(), 11);
        assert_eq!(written(&|message| message.bytes(1, &[7; 200]))[..3], [0x0a, 0xc8, 0x01]);
    }
}
