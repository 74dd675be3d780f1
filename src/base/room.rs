//! The room of lists that busy times have made large. Lists keep their room from one use to the next, because
//! memory that is given back and taken again costs more than it is worth; after a burst it is too much.

/// Gives back room far beyond that of `needed` elements.
pub fn give_back_room<T>(list: &mut Vec<T>, needed: usize) {
    if list.capacity() > needed.saturating_mul(4) {
        list.shrink_to(needed.saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_unless_it_is_far_too_much() {
        for (needed, kept) in [(300, 1000), (250, 1000), (100, 200), (0, 0)] {
            let mut list = Vec::<u8>::with_capacity(1000);
            give_back_room(&mut list, needed);
            assert_eq!(list.capacity(), kept, "{needed}");
        }
    }
}
