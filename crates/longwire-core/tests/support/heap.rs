//! Counts what a thread has on the heap, as the system's allocator rounds it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Blocks have a head, and lengths in steps of 16.
fn block(bytes: usize) -> isize {
    ((bytes + 8).next_multiple_of(16)).max(32) as isize
}

#[expect(unsafe_code, reason = "only an allocator sees what is allocated")]
// SAFETY: every call is handed on to the system's allocator as it came; the counter is a plain cell without a destructor, which a
// thread may touch at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + block(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - block(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        LIVE.set(LIVE.get() + block(new_size) - block(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(place, layout, new_size) }
    }
}

/// Runs something, and says how many bytes of what it has allocated are still there.
pub(crate) fn kept<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    let result = run();
    (result, usize::try_from(LIVE.get() - before).unwrap_or(0))
}
