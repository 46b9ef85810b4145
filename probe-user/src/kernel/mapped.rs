//! A BPF array in the memory of this process: read and written without a system call.
use std::{
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{Pod, maps::MapData};
use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};

/// An array map that was made with `BPF_F_MMAPABLE`, whose values are whole words of eight bytes.
pub(super) struct MappedArray<T> {
    words: NonNull<AtomicU64>,
    bytes: usize,
    entries: u32,
    value: PhantomData<T>,
}

// SAFETY: nothing but a piece of memory that belongs to this value, accessed by atomic loads and stores.
unsafe impl<T: Send> Send for MappedArray<T> {}

/// How many words a value has.
const fn words_of<T>() -> usize {
    const { assert!(size_of::<T>().is_multiple_of(size_of::<u64>())) };
    size_of::<T>() / size_of::<u64>()
}

impl<T: Pod> MappedArray<T> {
    /// Maps the whole array.
    pub(super) fn new(map: &MapData, entries: u32) -> Result<Self, Errno> {
        let length = (entries as usize).saturating_mul(size_of::<T>());
        let bytes = length.next_multiple_of(page_size());
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice. The kernel refuses it when the
        // array is shorter (array_map_mmap() of kernel/bpf/arraymap.c).
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, access, flags, map.fd().as_fd(), 0)? };
        let words = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { words, bytes, entries, value: PhantomData })
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> u32 {
        self.entries
    }

    /// The words of one value; none past the end.
    fn words(&self, index: u32) -> &[AtomicU64] {
        if index >= self.entries {
            return &[];
        }
        let length = words_of::<T>();
        // SAFETY: within the mapping, which lives as long as `self`, and aligned to pages and words.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().add(index as usize * length), length) }
    }

    /// One value. Programs may write it meanwhile: each word is one that it had.
    pub(super) fn get(&self, index: u32) -> Option<T> {
        let words = self.words(index);
        if words.is_empty() {
            return None;
        }
        let mut value = MaybeUninit::<T>::uninit();
        for (place, word) in words.iter().enumerate() {
            // SAFETY: there are as many words as the value has.
            unsafe {
                value.as_mut_ptr().cast::<u64>().add(place).write_unaligned(word.load(Ordering::Relaxed))
            };
        }
        // SAFETY: every byte was written, and every bit pattern is a value (Pod).
        Some(unsafe { value.assume_init() })
    }

    /// Sets one word of a value, `offset` bytes behind its beginning.
    pub(super) fn store(&self, index: u32, offset: usize, value: u64) {
        if let Some(word) = self.words(index).get(offset / size_of::<u64>()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// One word of a value; 0 past the end.
    pub(super) fn word(&self, index: u32, place: usize) -> u64 {
        self.words(index).get(place).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// All words of a value added up.
    pub(super) fn sum_of_words(&self, index: u32) -> u64 {
        self.words(index).iter().fold(0, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)))
    }

    /// Sets every byte of a value to 0. No program may write it meanwhile.
    pub(super) fn clear(&self, index: u32) {
        self.words(index).iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, and no reference into it is left.
        if let Err(error) = unsafe { munmap(self.words.as_ptr().cast(), self.bytes) } {
            tracing::debug!(%error, "a BPF array stays mapped");
        }
    }
}
