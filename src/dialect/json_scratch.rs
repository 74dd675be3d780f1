//! The memory that JSON is read in: a copy of the document that simd-json unescapes in place, its buffers and
//! its tape. Kept from document to document, so that reading allocates nothing.

use simd_json::{Buffers, INPUT_PADDING, Node, Tape};

/// Bytes of a document, and nodes of its tape, that are kept.
const MAX_KEPT_TEXT: usize = 1 << 20;
const MAX_KEPT_NODES: usize = 64 << 10;

pub struct JsonScratch {
    text: Vec<u8>,
    buffers: Buffers,
    tape: Vec<Node<'static>>,
}

impl std::fmt::Debug for JsonScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonScratch").field("text", &self.text.capacity()).finish_non_exhaustive()
    }
}

impl JsonScratch {
    /// A document nested deeper than `max_depth` is not read.
    pub fn new(max_depth: usize) -> Self {
        Self { text: Vec::new(), buffers: Buffers::with_max_depth(0, max_depth), tape: Vec::new() }
    }

    /// Calls `read` with the document that `copy` appends.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn read<T>(
        &mut self,
        copy: impl FnOnce(&mut Vec<u8>),
        read: impl FnOnce(&Tape<'_>) -> T,
    ) -> Result<T, simd_json::Error> {
        self.text.clear();
        copy(&mut self.text);
        let length = self.text.len();
        self.text.resize(length + INPUT_PADDING, b' ');
        let mut tape = Tape(std::mem::take(&mut self.tape)).reset();
        let filled = simd_json::fill_tape_padded(&mut self.text, length, &mut self.buffers, &mut tape);
        let result = filled.map(|()| read(&tape));
        self.tape = tape.reset().0;
        result
    }

    /// Whether it is small enough to be kept.
    pub fn is_small(&self) -> bool {
        self.text.capacity() <= MAX_KEPT_TEXT && self.tape.capacity() <= MAX_KEPT_NODES
    }
}
