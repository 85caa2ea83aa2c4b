//! Columns as Go's `text/tabwriter` lays them out: a column is a run of lines that all have a cell there, a cell ends
//! with a tab, and what follows the last tab of a line belongs to no column.

/// Aligns the tab-separated cells of `text`, with columns of at least `least` and `padding` blanks after each.
pub(crate) fn align(text: &str, least: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    for start in 0..lines.len() {
        for column in 0..widths[start].len() {
            if widths[start][column] != 0 {
                continue;
            }
            let end = (start..lines.len()).find(|l| widths[*l].len() <= column).unwrap_or(lines.len());
            let widest = lines[start..end].iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
            // A column without text takes no room at all.
            let width = (widest + padding).max(least);
            for line in &mut widths[start..end] {
                line[column] = width;
            }
        }
    }
    let mut out = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (i, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(i) {
                out.push_str(&" ".repeat(width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        assert_eq!(align("ID\tNAME\nlonger than that\tx\n", 10, 3), "ID                 NAME\nlonger than that   x\n");
        assert_eq!(align("a\tb\tc\n", 4, 1), "a   b   c\n");
        assert_eq!(align("äöü\tx\nabcd\ty\n", 0, 1), "äöü  x\nabcd y\n");
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(align("aaaa\tx\nplain\nb\ty\n", 0, 1), "aaaa x\nplain\nb y\n");
    }
}
