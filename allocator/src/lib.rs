//! mimalloc as the allocator of the process. A crate of its own, because an allocator needs `unsafe`.
//!
//! The `mimalloc` crate (0.1.52) asks for an aligned block each time. mimalloc 3 finds one of a size that is
//! no power of two only among blocks that a plain allocation has left; else it goes a way of some 150
//! instructions to a block of the next size. The plain call gives the alignment that C's types need without
//! that.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mimalloc;

/// Each block of at least so many bytes has this alignment (`MI_MAX_ALIGN_SIZE`), and a smaller block that of
/// the largest power of two in it, as C's `malloc` has it.
const PLAIN_ALIGN: usize = 16;

#[derive(Clone, Copy, Debug)]
pub struct Mimalloc;

const fn is_plain(size: usize, align: usize) -> bool {
    align <= PLAIN_ALIGN && align <= size
}

// SAFETY: mimalloc's functions give blocks of at least the size and the alignment that they are asked for, or
// null, may be called by any thread, and do not unwind. Each block is freed and resized by mimalloc alone.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size will do, and the alignment of a layout is a power of two.
        let block = unsafe {
            if is_plain(size, align) {
                mimalloc::mi_malloc(size)
            } else {
                mimalloc::mi_malloc_aligned(size, align)
            }
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        let block = unsafe {
            if is_plain(size, align) {
                mimalloc::mi_zalloc(size)
            } else {
                mimalloc::mi_zalloc_aligned(size, align)
            }
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller vouches that this allocator gave the block.
        unsafe { mimalloc::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches that this allocator gave the block; the rest is as in `alloc`.
        let block = unsafe {
            if is_plain(size, layout.align()) {
                mimalloc::mi_realloc(block.cast(), size)
            } else {
                mimalloc::mi_realloc_aligned(block.cast(), size, layout.align())
            }
        };
        block.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers from 0 to 255, repeated: what a block is filled with.
    fn pattern(size: usize) -> Vec<u8> {
        (0..size).map(|at| at as u8).collect()
    }

    /// Blocks of all small sizes and many large ones have their size and alignment, are zeroed where that is
    /// asked for, and keep their bytes when they grow and shrink.
    #[test]
    fn blocks_are_as_they_were_asked_for() {
        let sizes = (1..200).chain((200..20_000).step_by(97)).chain([70_000, 1 << 20]);
        let mut held = Vec::new();
        for (size, shift) in sizes.flat_map(|size| (0..13).map(move |shift| (size, shift))) {
            let layout = Layout::from_size_align(size, 1 << shift).unwrap();
            let is_aligned =
                |block: *mut u8| !block.is_null() && (block as usize).is_multiple_of(layout.align());
            // SAFETY: the layout is not empty; each block is used within its size and freed once.
            unsafe {
                let zeroed = Mimalloc.alloc_zeroed(layout);
                assert!(is_aligned(zeroed), "{layout:?}");
                assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|byte| *byte == 0));
                // Frees a used block, so that one of the next is not new.
                zeroed.write_bytes(0xFF, size);
                Mimalloc.dealloc(zeroed, layout);

                let mut block = Mimalloc.alloc(layout);
                assert!(is_aligned(block), "{layout:?}");
                block.copy_from_nonoverlapping(pattern(size).as_ptr(), size);
                let mut layout = layout;
                for other in [size * 2 + 1, size.div_ceil(3)] {
                    block = Mimalloc.realloc(block, layout, other);
                    assert!(is_aligned(block), "{layout:?} for {other}");
                    let kept = size.min(other).min(layout.size());
                    assert_eq!(std::slice::from_raw_parts(block, kept), pattern(kept));
                    layout = Layout::from_size_align(other, layout.align()).unwrap();
                }
                held.push((block, layout));
            }
        }
        for (block, layout) in held {
            // SAFETY: as above.
            unsafe { Mimalloc.dealloc(block, layout) };
        }
    }
}
