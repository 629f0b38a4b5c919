#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| boma_qemu_fuzz::authority(bytes));
