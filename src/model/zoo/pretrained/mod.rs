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
pub const PRETRAINED: &[Pretrained] = &[Pretrained {
    name: "resnet26-pretrained",
    about: "resnet26:width=0.25, trained on six families of procedural images, frozen to int8",
    input: 32,
    bytes: include_bytes!("resnet26-w025-32.safetensors"),
    sha256: "0c865d5481870111cf22c9f01f9488accbecb99792b905684087c0b67b09054f",
}];

/// The pre-trained trunk of that name.
pub fn pretrained(name: &str) -> Option<&'static Pretrained> {
    PRETRAINED.iter().find(|p| p.name == name)
}
