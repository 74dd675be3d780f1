//! The chunked coding, decoded from the start each time: slow, small, and no code shared with the gateway.

/// The chunks of `wire` so far (the last may be a part) and, once the last chunk and the empty trailer are
/// there, the number of their bytes. `Err` has the place where it is not chunked coding.
pub fn decode(wire: &[u8]) -> Result<(Vec<Vec<u8>>, Option<usize>), usize> {
    let mut chunks = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = memchr::memmem::find(&wire[at..], b"\r\n") else { return Ok((chunks, None)) };
        let size = std::str::from_utf8(&wire[at..at + line]).map_err(|_| at)?;
        let size = usize::from_str_radix(size, 16).map_err(|_| at)?;
        at += line + 2;
        if size == 0 {
            return match wire.get(at..at + 2) {
                Some(b"\r\n") => Ok((chunks, Some(at + 2))),
                Some(_) => Err(at),
                None => Ok((chunks, None)),
            };
        }
        chunks.push(wire[at..wire.len().min(at + size)].to_vec());
        match wire.get(at + size..at + size + 2) {
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Err(at + size),
            None => return Ok((chunks, None)),
        }
    }
}

#[test]
fn decodes_every_prefix() {
    let wire = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    for cut in 0..wire.len() {
        let (chunks, end) = decode(&wire[..cut]).unwrap();
        assert!(b"abc0123456789".starts_with(&chunks.concat()));
        assert_eq!(end, None);
    }
    assert_eq!(decode(wire), Ok((vec![b"abc".to_vec(), b"0123456789".to_vec()], Some(wire.len()))));
    assert_eq!(decode(b"3\r\nabcd\r\n"), Err(6));
    assert_eq!(decode(b"x\r\n"), Err(0));
}
