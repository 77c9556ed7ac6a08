//! Columns that line up.

use super::{Ink, Style};

/// What stands between two columns.
const GAP: &str = "  ";

/// A piece of text in a colour; it may have several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    ink: Ink,
}

/// A cell.
#[must_use]
pub fn cell(ink: Ink, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), ink }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        cell(Ink::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        cell(Ink::Plain, text)
    }
}

/// Rows of cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    /// The column that gives way where a terminal is too narrow.
    flexible: Option<usize>,
}

/// Narrower than this, a column says nothing any more.
const FLEXIBLE_WIDTH_MIN: usize = 24;

impl Table {
    /// A table with these headings, which stand in capitals.
    #[must_use]
    pub fn with_heads(heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| cell(Ink::Dim, *head)).collect();
        Self { rows: vec![heads], flexible: None }
    }

    /// Has this column wrapped where a terminal is too narrow for all.
    #[must_use]
    pub fn flexible(mut self, column: usize) -> Self {
        self.flexible = Some(column);
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text. A column is as wide as its widest cell; no line ends with a space. Columns
    /// that are empty throughout are left out.
    #[must_use]
    pub fn render(&self, style: &Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let lines = cells.flat_map(|cell| cell.text.lines());
            lines.map(console::measure_text_width).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        self.fit(&mut widths, style);
        let mut text = String::new();
        for row in &self.rows {
            let row = &self.wrapped(row, &widths);
            let height = row.iter().map(|cell| cell.text.lines().count()).max().unwrap_or(0);
            for line in 0..height.max(1) {
                text.push_str(&render_line(row, line, &widths, style));
                text.push('\n');
            }
        }
        text
    }
}

impl Table {
    /// Takes from the flexible column what is too much for the terminal.
    fn fit(&self, widths: &mut [usize], style: &Style) {
        let shown = widths.iter().filter(|width| **width > 0).count();
        let all = widths.iter().sum::<usize>() + GAP.len() * shown.saturating_sub(1);
        let (Some(column), Some(room)) = (self.flexible, style.width) else { return };
        if let Some(width) = widths.get_mut(column) {
            let less = width.saturating_sub(all.saturating_sub(room));
            *width = less.max(FLEXIBLE_WIDTH_MIN).min(*width);
        }
    }
}

impl Table {
    /// The row with its flexible cell in as many lines as it needs.
    fn wrapped(&self, row: &[Cell], widths: &[usize]) -> Vec<Cell> {
        let mut row = row.to_vec();
        if let Some(column) = self.flexible
            && let (Some(cell), Some(width)) = (row.get_mut(column), widths.get(column))
        {
            let lines = cell.text.lines().flat_map(|line| wrap(line, *width));
            cell.text = lines.collect::<Vec<_>>().join("\n");
        }
        row
    }
}

/// Breaks a line between words; a word that is too long is broken inside.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let mut word = word;
        loop {
            let last = lines.last().map_or(0, |last| console::measure_text_width(last));
            let gap = usize::from(last > 0);
            if last + gap + console::measure_text_width(word) <= width {
                if let Some(last) = lines.last_mut() {
                    last.push_str(if gap > 0 { " " } else { "" });
                    last.push_str(word);
                }
                break;
            }
            if last > 0 {
                lines.push(String::new());
                continue;
            }
            let head = console::truncate_str(word, width, "").into_owned();
            word = word.get(head.len()..).unwrap_or_default();
            if head.is_empty() || word.is_empty() {
                break;
            }
            lines.pop();
            lines.extend([head, String::new()]);
        }
    }
    lines
}

/// One line of one row.
fn render_line(row: &[Cell], line: usize, widths: &[usize], style: &Style) -> String {
    let mut text = String::new();
    // Spaces are written once something follows.
    let mut owed = 0;
    let mut first = true;
    for (cell, width) in row.iter().zip(widths) {
        if *width == 0 {
            continue;
        }
        if !std::mem::take(&mut first) {
            owed += GAP.len();
        }
        let piece = cell.text.lines().nth(line).unwrap_or_default();
        if !piece.is_empty() {
            text.extend(std::iter::repeat_n(' ', std::mem::take(&mut owed)));
            text.push_str(&style.paint(cell.ink, piece));
        }
        owed += width.saturating_sub(console::measure_text_width(piece));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::time::Timestamp;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let mut table = Table::with_heads(&["NAME", "NOTHING", "WHAT"]);
        table.rows[0][1] = "".into();
        table.row(vec!["a".into(), "".into(), "one\ntwo".into()]);
        table.row(vec!["long".into(), "".into(), "".into()]);
        let text = table.render(&Style::plain(Timestamp(0)));
        assert_eq!(text, "NAME  WHAT\na     one\n      two\nlong\n");
        let color = Style { color: true, ..Style::plain(Timestamp(0)) };
        assert_eq!(console::strip_ansi_codes(&table.render(&color)), text);
    }

    #[test]
    fn a_narrow_terminal_wraps_the_flexible_column() {
        let mut table = Table::default().flexible(1);
        let words = format!("one two {}", "x".repeat(60));
        table.row(vec!["a".into(), words.into(), "end".into()]);
        let narrow = Style { width: Some(40), ..Style::plain(Timestamp(0)) };
        let text = table.render(&narrow);
        let gap = " ".repeat(25);
        let (full, rest) = ("x".repeat(32), "x".repeat(28));
        assert_eq!(text, format!("a  one two{gap}  end\n   {full}\n   {rest}\n"));
        assert!(table.render(&Style::plain(Timestamp(0))).contains(&"x".repeat(60)));
    }
}
