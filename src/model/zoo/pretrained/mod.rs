//! Trunks that this program has in itself: networks of the zoo that `trunkline pretrain` trained on
//! procedural images, as trunk files. `README.md` in this folder says how each was made.

/// A trunk file in the program.
pub struct Pretrained {
    /// What `--trunk` calls it.
    pub name: &'static str,
    pub about: &'static str,
    /// Height and width of its input, which is fixed.
    pub input: usize,
    pub bytes: &'static [u8],
    /// Of the bytes, in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Every one of them.
pub const PRETRAINED: &[Pretrained] = &[];

/// The pre-trained trunk of that name.
pub fn pretrained(name: &str) -> Option<&'static Pretrained> {
    PRETRAINED.iter().find(|p| p.name == name)
}
