//! Images at their input's size, kept from epoch to epoch as long as there is room: what is decoded
//! and resized once need not be again. Which ones are kept changes speed, never an image.

use super::image::Image;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a loader may keep.
const ROOM_BYTES: usize = 256 << 20;

pub struct Kept {
    room_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    images: HashMap<usize, Arc<Image>>,
    bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { room_bytes: ROOM_BYTES, held: Mutex::default() }
    }
}

impl Kept {
    /// Image `index`, if it is here.
    pub fn get(&self, index: usize) -> Option<Arc<Image>> {
        self.held().images.get(&index).cloned()
    }

    /// Keeps an image if there is room. First come, first kept: whatever comes later would be needed
    /// just as often.
    pub fn offer(&self, index: usize, image: &Arc<Image>) {
        let mut held = self.held();
        let bytes = held.bytes + image.pixels.len();
        if bytes <= self.room_bytes && held.images.insert(index, image.clone()).is_none() {
            held.bytes = bytes;
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let kept = Kept { room_bytes: 10, held: Mutex::default() };
        let image = |n: usize| Arc::new(Image { width: n, height: 1, channels: 1, pixels: vec![n as u8; n] });
        for (index, size) in [(0, 4), (1, 4), (1, 4), (2, 3), (3, 2)] {
            kept.offer(index, &image(size));
        }
        assert_eq!([0, 1, 2, 3].map(|i| kept.get(i).is_some()), [true, true, false, true]);
        assert_eq!(kept.get(3), Some(image(2)));
    }
}
