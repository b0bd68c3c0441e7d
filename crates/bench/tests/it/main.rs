//! Whole benchmarks, small: that they run, not what they measure.

#![allow(clippy::expect_used, reason = "tests")]

mod peers;
