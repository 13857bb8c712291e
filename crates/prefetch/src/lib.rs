//! A hint to the processor that memory is about to be written.
//!
//! Who fills large buffers with small pieces writes to memory that is in no cache: each line is
//! fetched first, which takes the time of some hundred instructions, and the few dozen stores that
//! a core can have waiting do not hide it. Asked for a little earlier, the lines come while
//! something else is done. Of an object of 100 bytes in a tar file (1 KiB) that was a tenth of all
//! CPU time; docs/BENCHMARKS.md has the figures.
//!
//! The standard library has no way to say this without `unsafe` on any processor, so that it is
//! here, in a crate of its own: the others do without.

#![no_std]

use core::mem::MaybeUninit;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Has the memory fetched for writing. A hint: nothing is read, written or waited for, and on
/// processors that have no such hint nothing is done.
#[inline]
pub fn for_writing(memory: &[MaybeUninit<u8>]) {
    let mut at = 0;
    while let Some(byte) = memory.get(at) {
        fetch(byte);
        at += LINE;
    }
}

#[inline(always)]
#[allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "it points somewhere, and nothing is read there"
)]
fn fetch(byte: &MaybeUninit<u8>) {
    let address: *const u8 = byte.as_ptr();
    // Intel SDM volume 2, "PREFETCHW"; AMD APM volume 3, "PREFETCH". Intel's processors before
    // Broadwell, which have it not, take its opcode (0F 0D) for a NOP.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: it changes no register, flag or memory and raises no exception, whatever the address.
    unsafe {
        core::arch::asm!(
            "prefetchw byte ptr [{}]",
            in(reg) address,
            options(nomem, nostack, preserves_flags)
        );
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: PRFM is a hint as well: it raises no exception (Arm ARM, "PRFM").
    unsafe {
        core::arch::asm!(
            "prfm pstl1keep, [{}]",
            in(reg) address,
            options(nomem, nostack, preserves_flags)
        );
    }
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_as_it_was() {
        let mut memory = [const { MaybeUninit::<u8>::uninit() }; 1000];
        for (nth, byte) in memory.iter_mut().enumerate() {
            byte.write(nth as u8);
        }
        for begin in [0, 1, 63, 64, 999, 1000] {
            for_writing(&memory[begin..]);
            for_writing(&memory[..begin]);
        }
        for (nth, byte) in memory.iter().enumerate() {
            // SAFETY: written above.
            assert_eq!(unsafe { byte.assume_init() }, nth as u8);
        }
    }
}
