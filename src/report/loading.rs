//! What became of the images on their way to the trunk.

use crate::data::Broken;
use crate::data::loader::Waiting;

/// The images that were passed over, the first of them by name; nothing if all are sound.
pub fn broken(broken: &Broken) -> Vec<String> {
    if broken.count == 0 {
        return vec![];
    }
    let mut lines = vec![format!("{} images do not decode and were skipped:", broken.count)];
    lines.extend(broken.first.iter().map(|name| format!("  {name}")));
    if broken.count > broken.first.len() {
        lines.push(format!("  and {} more", broken.count - broken.first.len()));
    }
    lines
}

/// How long the trunk waited, in words.
pub fn waiting(waiting: &Waiting) -> String {
    let percent = 100.0 * waiting.fraction();
    let told =
        format!("the trunk waited {:.2} s of {:.2} s for images, {percent:.1} %", waiting.waited_s, waiting.elapsed_s);
    match waiting.note() {
        Some(_) => format!("{told}: decoding is the bottleneck"),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_images_are_counted_and_the_first_are_named() {
        let mut found = Broken::default();
        assert!(broken(&found).is_empty());
        (0..25).for_each(|i| found.add(format!("{i}.png: is none")));
        let lines = broken(&found);
        assert_eq!((lines.len(), lines[0].contains("25 images"), lines[1].as_str()), (22, true, "  0.png: is none"));
        assert_eq!(lines[21], "  and 5 more");
    }

    #[test]
    fn waiting_is_told_with_what_it_means() {
        let told = |waited_s| waiting(&Waiting { waited_s, elapsed_s: 10.0 });
        assert_eq!(told(0.4), "the trunk waited 0.40 s of 10.00 s for images, 4.0 %");
        assert!(told(2.0).ends_with("20.0 %: decoding is the bottleneck"), "{}", told(2.0));
    }
}
