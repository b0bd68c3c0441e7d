//! The manual of the settings in `docs/` is the one that the settings themselves give.

use std::fs;
use std::path::Path;

#[test]
fn the_manual_is_fresh() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let written = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == server::config::manual(),
        "docs/configuration.md is stale; run: cargo run -- config-docs > docs/configuration.md"
    );
}
