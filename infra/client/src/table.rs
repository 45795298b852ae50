//! Formats text tables.

/// Formats a header and rows as lines. Each column is as wide as its widest cell, and two spaces separate the columns.
/// `right` marks the columns to align on the right, which are those with numbers.
pub fn table<const N: usize>(head: [&str; N], right: [bool; N], rows: &[[String; N]]) -> String {
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str).to_vec());
    let lines: Vec<Vec<&str>> = [head.to_vec()].into_iter().chain(rows).collect();
    aligned(&lines, &right)
}

/// Formats lines, of which the first is the header. Columns beyond `right` are left-aligned.
pub fn aligned(lines: &[Vec<&str>], right: &[bool]) -> String {
    let width = |cell: &str| cell.chars().count();
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widest =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| width(cell)).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |cells: &Vec<&str>| {
        let mut text = String::new();
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            text += &if right.get(at) == Some(&true) { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            text += "  ";
        }
        format!("{}\n", text.trim_end())
    };
    lines.iter().map(line).collect()
}

/// Formats a number with thousands separators: 1234567 → 1,234,567.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}
