//! The manual of the settings, made of the documentation of their fields.

use std::fmt::Write;

use super::otlp::standard_variable;
use super::source::variable_name;
use super::{Config, Setting};

const OPENING: &str = "\
# Configuration

Grandstand runs without any. Each setting comes from the first of these that has it:

1. a flag of `grandstand serve`, for the few settings that have one (`grandstand serve --help`);
2. an environment variable;
3. a TOML file, given with `--config FILE`;
4. its default.

A key of the file that is none of those below is an error. All settings are read once, at the start: a change takes
effect with the next one. Lists are separated by commas in an environment variable, and TOML arrays in the file.

In the file, `edge.shards` is the key `shards` of the table `[edge]`:

```toml
data_dir = \"/var/lib/grandstand\"

[edge]
shards = 4
```

This page is made by `grandstand config-docs`.
";

/// The whole page `docs/configuration.md`.
#[must_use]
pub fn manual() -> String {
    let mut page = OPENING.to_owned();
    for Setting { key, documentation, default, allowed } in Config::settings() {
        let variable = variable_name(key);
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        let standard = standard_variable(key).map(|name| format!(", else `{name}`")).unwrap_or_default();
        let text: Vec<&str> = documentation.iter().map(|line| line.trim()).collect();
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "\n## `{key}`\n\n{}\n\n- environment: `{variable}`{standard}\n- value: {allowed}\n- default: {default}\n",
            text.join("\n"),
        );
    }
    page
}
