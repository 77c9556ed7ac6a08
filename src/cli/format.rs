//! In which form answers are written.

use clap::ValueEnum;

// Their variants speak for themselves: with a text each, help would take a page.

/// How answers can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    // Text with all columns.
    Wide,
    Json,
    Yaml,
    // Only names, one a line.
    Name,
    // These are forms of reports.
    Html,
    Csv,
    Markdown,
    Sarif,
    Junit,
    Policyreport,
    Github,
}

impl Output {
    /// The format, unless it is one of reports.
    pub(super) fn format(self) -> Option<Format> {
        match self {
            Self::Text => Some(Format::Text),
            Self::Wide => Some(Format::Wide),
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
            Self::Name => Some(Format::Name),
            Self::Html
            | Self::Csv
            | Self::Markdown
            | Self::Sarif
            | Self::Junit
            | Self::Policyreport
            | Self::Github => None,
        }
    }

    /// The word that it is asked for with.
    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    #[default]
    Text,
    Wide,
    Json,
    Yaml,
    Name,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    // On a terminal.
    Auto,
    Always,
    Never,
}
