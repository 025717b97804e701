//! Counts what a thread has on the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    LIVE.set(LIVE.get() + bytes);
    PEAK.set(PEAK.get().max(LIVE.get()));
    if bytes > 0 {
        CALLS.set(CALLS.get() + 1);
    }
}

#[expect(unsafe_code, reason = "only an allocator sees what is allocated")]
// SAFETY: every call is handed on to the system's allocator as it came; the counters are plain cells without a destructor, which
// a thread may touch at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both may be there at a time.
        count(new_size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(place, layout, new_size) }
    }
}

/// What happened on this thread's heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heap {
    /// Bytes that are still there.
    pub(crate) kept: isize,
    /// Bytes at the highest moment.
    pub(crate) peak: isize,
    /// How often memory was asked for.
    pub(crate) allocations: usize,
}

/// Runs something and says what it did to the heap.
pub(crate) fn watch<T>(run: impl FnOnce() -> T) -> (T, Heap) {
    let (live, calls) = (LIVE.get(), CALLS.get());
    PEAK.set(live);
    let result = run();
    (result, Heap { kept: LIVE.get() - live, peak: PEAK.get() - live, allocations: CALLS.get() - calls })
}
