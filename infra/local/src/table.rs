//! A table for people to read.

/// Lines of the cells, each column as wide as its widest cell, two spaces apart. `right`: the columns of numbers.
pub fn table<const N: usize>(head: [&str; N], right: [bool; N], rows: &[[String; N]]) -> String {
    let width = |cell: &str| cell.chars().count();
    let widths: [usize; N] = std::array::from_fn(|at| {
        rows.iter().map(|row| width(&row[at])).chain([width(head[at])]).max().unwrap_or_default()
    });
    let line = |cells: [&str; N]| {
        let mut text = String::new();
        for (at, cell) in cells.into_iter().enumerate() {
            let width = widths[at];
            text += &if right[at] { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            text += "  ";
        }
        format!("{}\n", text.trim_end())
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    [line(head)].into_iter().chain(rows).collect()
}

/// 1234567 → 1,234,567
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}
