//! The scenarios hold, runs repeat, and every checker finds the bug that is planted for it.

mod planted_bugs;
mod repeatable;
mod scenarios;
