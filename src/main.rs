//! The `trunkline` program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    quiet_vulkan_layer();
    trunkline::cli::main()
}

/// Mesa's device-select layer prints errors whenever a Vulkan instance is made without a desktop
/// session. Where there is none, it has nothing to select by, and is switched off.
fn quiet_vulkan_layer() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first thing the program does; no other thread exists that could read the
        // environment meanwhile.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
