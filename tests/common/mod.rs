//! What several test files need.

use std::path::PathBuf;

/// A path below the shared material that lies beside the checkout; `None`, said aloud, where it is
/// absent. With `TRUNKLINE_REQUIRE_SHARED=1` its absence is a failure.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let full = root.join(path);
    if full.exists() {
        return Some(full);
    }
    let required = std::env::var("TRUNKLINE_REQUIRE_SHARED").is_ok_and(|v| v == "1");
    assert!(!required, "{} is absent and TRUNKLINE_REQUIRE_SHARED=1", full.display());
    println!("SKIPPED: {} is absent", full.display());
    None
}
