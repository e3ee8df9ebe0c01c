//! Memory for bytes that rest: in a ring, in a history, in a request under way.
//!
//! Large blocks are mapped, so that the system takes them back as soon as they are free. A heap keeps them: blocks
//! of hundreds of kilobytes, freed in another order than they were taken, leave holes that no other block fits, once
//! for each thread that has a heap of its own.

use bytes::Bytes;
use memmap2::MmapMut;

/// Blocks from this size on are mapped.
const MAPPED: usize = 128 * 1024;

/// Bytes that come in pieces, and then rest in a buffer that is no larger than it must be.
#[derive(Debug)]
pub struct Buffer(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped { memory: MmapMut, filled: usize },
}

impl Buffer {
    /// A buffer with room for `size` bytes; more can be added.
    pub fn with_capacity(size: usize) -> Buffer {
        let mapped = if size < MAPPED { None } else { MmapMut::map_anon(size).ok() };
        Buffer(match mapped {
            Some(memory) => Memory::Mapped { memory, filled: 0 },
            // Small, or the system has no mapping left.
            None => Memory::Heap(Vec::with_capacity(size)),
        })
    }

    /// How many bytes were added.
    pub fn len(&self) -> usize {
        match &self.0 {
            Memory::Heap(bytes) => bytes.len(),
            Memory::Mapped { filled, .. } => *filled,
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Memory::Heap(heap) => heap.extend_from_slice(bytes),
            Memory::Mapped { memory, filled } => match memory.get_mut(*filled..*filled + bytes.len()) {
                Some(room) => {
                    room.copy_from_slice(bytes);
                    *filled += bytes.len();
                }
                None => {
                    let heap = [&memory[..*filled], bytes].concat();
                    self.0 = Memory::Heap(heap);
                }
            },
        }
    }

    /// The bytes, in memory of no more than they need.
    pub fn build(self) -> Bytes {
        match self.0 {
            Memory::Heap(bytes) => settle(bytes),
            // What was never written takes no memory.
            Memory::Mapped { memory, filled } => Bytes::from_owner(memory).slice(..filled),
        }
    }
}

/// Bytes that rest from here on, in memory of no more than they need.
pub(crate) fn settle(mut bytes: Vec<u8>) -> Bytes {
    if bytes.len() >= MAPPED {
        return copy(&bytes);
    }
    bytes.shrink_to_fit();
    bytes.into()
}

/// A copy that keeps nothing else alive.
pub fn copy(bytes: &[u8]) -> Bytes {
    if bytes.len() < MAPPED {
        return Bytes::copy_from_slice(bytes);
    }
    let mut buffer = Buffer::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    match buffer.0 {
        Memory::Heap(bytes) => bytes.into(),
        Memory::Mapped { memory, .. } => Bytes::from_owner(memory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_what_rests() {
        for size in [0, 1, MAPPED - 1, MAPPED, MAPPED + 1, 3 * MAPPED] {
            for capacity in [0, size / 2, size, size * 2] {
                let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
                let mut buffer = Buffer::with_capacity(capacity);
                assert!(buffer.is_empty());
                for piece in bytes.chunks(1000) {
                    buffer.extend_from_slice(piece);
                }
                assert_eq!(buffer.len(), size);
                assert_eq!(buffer.build(), bytes, "{size} bytes in room for {capacity}");
            }
            assert_eq!(copy(&vec![7; size]), vec![7; size]);
        }
    }
}
