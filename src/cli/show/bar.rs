//! A share as a small bar.

use super::Style;

/// Cells of a bar.
const CELLS: u32 = 6;

/// Parts of a cell, from none to all.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar of so many hundredths, where somebody looks: nothing on a pipe, letters where there are no
/// colours.
#[must_use]
pub fn bar(percent: f64, style: &Style) -> String {
    if style.width.is_none() {
        return String::new();
    }
    let eighths = eighths(percent);
    let cell = |at: u32| {
        let filled = eighths.saturating_sub(at * 8).min(8);
        if !style.color {
            return if filled >= 4 { '#' } else { ' ' };
        }
        usize::try_from(filled).ok().and_then(|filled| EIGHTHS.get(filled)).copied().unwrap_or(' ')
    };
    let cells: String = (0..CELLS).map(cell).collect();
    if style.color { format!("▕{cells}▏") } else { format!("[{cells}]") }
}

/// How many eighths of a cell are filled; what is more than all is all, and what is more than nothing
/// is seen.
fn eighths(percent: f64) -> u32 {
    let all = CELLS * 8;
    let filled = (percent / 100.0 * f64::from(all)).round().clamp(0.0, f64::from(all));
    let filled = (0..=all).find(|eighths| f64::from(*eighths) >= filled).unwrap_or(all);
    if percent > 0.0 { filled.max(1) } else { filled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::time::Timestamp;

    #[test]
    fn bars_are_as_fine_as_who_looks_can_see() {
        let pipe = Style::plain(Timestamp(0));
        let letters = Style { width: Some(80), ..pipe };
        let colors = Style { color: true, ..letters };
        assert_eq!(bar(50.0, &pipe), "");
        assert_eq!([bar(0.0, &letters), bar(50.0, &letters)], ["[      ]", "[###   ]"]);
        assert_eq!([bar(0.1, &colors), bar(42.0, &colors)], ["▕▏     ▏", "▕██▌   ▏"]);
        assert_eq!([bar(250.0, &colors), bar(f64::NAN, &letters)], ["▕██████▏", "[######]"]);
    }
}
