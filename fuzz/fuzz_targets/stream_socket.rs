//! The target `stream_socket` under libFuzzer; without it, a replay of the files named on the command line.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| trunkline_fuzz::stream_socket(data));

#[cfg(not(fuzzing))]
fn main() {
    trunkline_fuzz::replay(trunkline_fuzz::stream_socket);
}
