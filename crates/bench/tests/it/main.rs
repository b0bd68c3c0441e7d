//! The benchmarks' own tests of whole programs.

mod peers;
