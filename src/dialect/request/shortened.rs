//! Finds where a body has its turns and its tools, without reading it, and leaves known ones out.
//!
//! A wrong place does no harm: bytes are left out only where they equal known ones, and the reader of the
//! rest checks that the empty value which stands for them is the list of tools, or an element of the list of
//! turns. So the body is JSON, and says the same, if and only if the rest is and does.

use std::iter;

use memchr::memmem;

use crate::dialect::{ApiDialect, string_inside::string_length};

/// Places of a name that are looked at; strings of arguments may have it, too.
const MAX_PLACES: usize = 4;
/// Elements that are looked at.
const MAX_STARTS: usize = 8;

/// Where the turns may begin: the first elements of their list, because the system's words may stand before
/// them.
pub(super) fn turn_starts(client: ApiDialect, body: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let name: &[u8] = if client == ApiDialect::Responses { b"\"input\"" } else { b"\"messages\"" };
    let list = values_of(name, body).find(|at| body.get(*at) == Some(&b'['));
    let element_at = |at: usize| Some(at + spaces(body.get(at..)?));
    let starts = iter::successors(list.and_then(|at| element_at(at + 1)), move |at| {
        let end = element_at(at + value_length(body.get(*at..)?)?)?;
        element_at(end + usize::from(body.get(end) == Some(&b',')))
    });
    starts.take(MAX_STARTS)
}

/// Where values of members of this name begin. `name`: with its quotes.
pub(super) fn values_of<'b>(name: &'b [u8], bytes: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    memmem::find_iter(bytes, name).take(MAX_PLACES).filter_map(move |at| {
        let mut at = at + name.len();
        at += spaces(bytes.get(at..)?);
        at += usize::from(bytes.get(at) == Some(&b':'));
        Some(at + spaces(bytes.get(at..)?))
    })
}

fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// The length of the object or array at the start of `bytes`, if it is well-formed.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => at += string_length(bytes.get(at + 1..)?)?.0 + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The length of the part that both begin with.
pub(super) fn common_length(known: &[u8], bytes: &[u8]) -> usize {
    let length = known.len().min(bytes.len());
    let mut common = 0;
    for step in [4096, 256, 16, 1] {
        while common + step <= length && known.get(common..common + step) == bytes.get(common..common + step)
        {
            common += step;
        }
    }
    common
}

/// A body with empty values in the place of known parts.
#[derive(Debug, Default)]
pub(super) struct ShortenedBody {
    pub(super) bytes: Vec<u8>,
}

impl ShortenedBody {
    /// Leaves the ranges out, and says where the values stand that are in their place. The ranges do not
    /// overlap.
    pub(super) fn fill<const N: usize>(
        &mut self,
        body: &[u8],
        left_out: [(Option<std::ops::Range<usize>>, &[u8; 2]); N],
    ) -> [usize; N] {
        self.bytes.clear();
        let mut order: [usize; N] = std::array::from_fn(|index| index);
        let start_of = |index: usize| {
            left_out.get(index).and_then(|(range, _)| Some(range.as_ref()?.start)).unwrap_or(usize::MAX)
        };
        order.sort_by_key(|index| start_of(*index));
        let (mut from, mut places) = (0, [0; N]);
        for index in order {
            let Some((Some(range), mark)) = left_out.get(index) else { continue };
            self.bytes.extend_from_slice(body.get(from..range.start).unwrap_or_default());
            if let Some(place) = places.get_mut(index) {
                *place = self.bytes.len();
            }
            self.bytes.extend_from_slice(*mark);
            from = range.end;
        }
        self.bytes.extend_from_slice(body.get(from..).unwrap_or_default());
        places
    }
}
