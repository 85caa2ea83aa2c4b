//! Rows through `--format`: a table, JSON lines, or a template of the user's.

use super::table;
use crate::failure::Result;
use crate::output;
use crate::template::Template;
use crate::value::Val;

/// One kind of list: its fields with their headings, and its usual table.
pub(crate) struct Listing {
    /// Field and heading.
    pub(crate) headings: &'static [(&'static str, &'static str)],
    /// The template behind `table`.
    pub(crate) table: &'static str,
    /// The template behind `--quiet`.
    pub(crate) quiet: &'static str,
}

impl Listing {
    /// The rows as text.
    pub(crate) fn render(&self, format: &str, quiet: bool, rows: &[Val]) -> Result<String> {
        // An explicit template wins over --quiet, as docker has it.
        let format = match format {
            "" | "table" if quiet => self.quiet.to_owned(),
            "" | "table" => format!("table {}", self.table),
            "json" => "{{json .}}".to_owned(),
            text => text.to_owned(),
        };
        let format = format.replace("\\t", "\t").replace("\\n", "\n");
        let (is_table, template) = match format.strip_prefix("table") {
            Some(rest) => (true, rest.trim_start()),
            None => (false, format.as_str()),
        };
        let reword = |mut failure: crate::failure::Failure, what: &str| {
            failure.message = failure.message.replacen("template parsing error: ", "", 1);
            failure.prefixed(what)
        };
        let template = Template::parse(template).map_err(|f| reword(f, "failed to parse template"))?;
        let mut text = String::new();
        if is_table {
            let heading = self.headings.iter().map(|(field, heading)| ((*field).to_owned(), Val::from(*heading)));
            let mut heading: Vec<_> = heading.collect();
            heading.push(("Label".into(), Val::Lookup(Vec::new())));
            text.push_str(&template.render(&Val::Map(heading))?);
            text.push('\n');
        }
        if format == "{{json .}}" {
            // Go's encoder writes these so where it isn't told otherwise.
            let escaped = |row: &Val| {
                row.to_json().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
            };
            return Ok(rows.iter().map(escaped).collect());
        }
        for row in rows {
            text.push_str(&template.render(row).map_err(|f| reword(f, "failed to execute template"))?);
            text.push('\n');
        }
        Ok(if is_table { table::align(&text, 10, 3) } else { text })
    }

    /// Prints the rows.
    pub(crate) fn print(&self, format: &str, quiet: bool, rows: &[Val]) -> Result<()> {
        self.render(format, quiet, rows).map(|text| output::print(&text))
    }
}

/// A row of named fields, sorted as Go's encoder sorts them.
pub(crate) fn row<const N: usize>(fields: [(&str, String); N]) -> Val {
    let mut entries: Vec<_> = fields.into_iter().map(|(name, text)| (name.to_owned(), Val::Str(text))).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Val::Map(entries)
}

/// Adds the method `.Label "key"`.
pub(crate) fn with_labels(row: Val, labels: &wire::docker::Map<String>) -> Val {
    match row {
        Val::Map(mut entries) => {
            let labels = labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            entries.push(("Label".into(), Val::Lookup(labels)));
            Val::Map(entries)
        }
        other => other,
    }
}

/// Labels as one text: `a=b,c=d`.
pub(crate) fn label_text(labels: &wire::docker::Map<String>) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// At most `width` characters; what is cut off leaves `…`.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> String {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

/// Either the whole id or its first digits.
pub(crate) fn id_text(id: &str, whole: bool) -> String {
    if whole { id.to_owned() } else { short_id(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: Listing =
        Listing { headings: &[("ID", "THING ID"), ("Size", "SIZE")], table: "{{.ID}}\t{{.Size}}", quiet: "{{.ID}}" };

    #[test]
    fn formats() {
        let rows = [row([("ID", "a".into()), ("Size", "1B".into())])];
        assert_eq!(THINGS.render("", false, &rows).unwrap(), "THING ID   SIZE\na          1B\n");
        assert_eq!(THINGS.render("", true, &rows).unwrap(), "a\n");
        assert_eq!(THINGS.render("json", false, &rows).unwrap(), "{\"ID\":\"a\",\"Size\":\"1B\"}\n");
        assert_eq!(THINGS.render("{{.Size}}\\t{{.ID}}", false, &rows).unwrap(), "1B\ta\n");
        assert_eq!(THINGS.render("table {{.Size}}", false, &rows).unwrap(), "SIZE\n1B\n");
        assert_eq!(THINGS.render("{{.ID}}", true, &[]).unwrap(), "");
        assert!(THINGS.render("{{.Nope}}", false, &rows).is_err());
    }

    #[test]
    fn cutting() {
        assert_eq!(ellipsis("sh -c 'sleep 100000'", 10), "sh -c 'sl…");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
