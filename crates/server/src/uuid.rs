//! Ids in the form of a UUID of version 4: of requests, and of lines of the audit log.

/// A fresh one. Without random bytes it is all zeros: whatever it names is done all the same.
#[must_use]
pub(crate) fn uuid() -> String {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        random = [0; 16];
    }
    let digits = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let group = |bits_after: u32, length: u32| (digits >> bits_after) & ((1 << (4 * length)) - 1);
    let [a, b, c, d, e] = [group(96, 8), group(80, 4), group(64, 4), group(48, 4), group(0, 12)];
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}
