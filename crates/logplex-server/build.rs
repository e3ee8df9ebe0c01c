//! Has the linker lay the functions that a request takes side by side in release builds (`request-path.ld`).

use std::env;

const SCRIPT: &str = "request-path.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SCRIPT}");
    let is = |name, value| env::var(name).is_ok_and(|set| set == value);
    let knows_script = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    // lld and GNU's ld take the script; another linker, which somebody has chosen, may not.
    let chosen = env::var_os("RUSTC_LINKER").is_some()
        || env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("link"));
    if is("PROFILE", "release") && knows_script && !chosen {
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}/{SCRIPT}", env!("CARGO_MANIFEST_DIR"));
    }
}
