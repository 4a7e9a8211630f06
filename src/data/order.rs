//! The order in which an epoch sees the images: a function of seed and epoch alone.

use crate::seed;
use rand::Rng;

/// The images of epoch `epoch` (from 0), every one once.
pub fn of_epoch(seed: u64, epoch: u64, images: usize) -> Vec<usize> {
    let mut rng = seed::stream(seed, &format!("order of epoch {epoch}"));
    let mut order: Vec<usize> = (0..images).collect();
    // Fisher and Yates; written out, so that no library's version can change an order.
    for i in (1..images).rev() {
        let below = i as u128 + 1;
        // The upper half of a 64-bit draw times the number of choices: biased by less than 2^-32 of a
        // chance for any set that fits in memory.
        let j = (u128::from(rng.next_u64()) * below) >> 64;
        order.swap(i, j as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_once_in_an_order_of_its_own() {
        let orders = [of_epoch(1, 0, 50), of_epoch(1, 1, 50), of_epoch(2, 0, 50)];
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
        assert_eq!(of_epoch(1, 0, 50), orders[0]);
        assert_eq!(of_epoch(1, 0, 1), [0]);
        assert!(of_epoch(1, 0, 0).is_empty());
    }

    /// Held fixed: a checkpoint of an older program resumes in the order in which it began.
    #[test]
    fn the_order_is_the_one_it_always_was() {
        assert_eq!(of_epoch(7, 3, 8), [6, 1, 3, 0, 2, 5, 4, 7]);
    }

    #[test]
    fn every_place_is_as_likely() {
        let mut first = [0; 4];
        (0..4000).for_each(|epoch| first[of_epoch(0, epoch, 4)[0]] += 1);
        assert!(first.iter().all(|&n| (900..1100).contains(&n)), "{first:?}");
    }
}
