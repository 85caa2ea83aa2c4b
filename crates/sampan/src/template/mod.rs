//! The part of Go's `text/template` that people use in `--format`: fields and methods, variables, pipelines,
//! `if`/`else`/`else if`, `range`, `with`, `break`, `continue`, comments, trim markers, comparison, `and`/`or`/`not`,
//! `index`, `slice`, `len`, `print*`, and docker's `json`, `split`, `join`, `title`, `lower`, `upper`, `pad`,
//! `truncate`. `define`, `template` and `block` are refused.
//!
//! ```text
//! text ──lex──▶ tokens ──parse──▶ nodes ──execute(value)──▶ text
//! ```

mod execute;
mod functions;
mod lex;
mod parse;

use crate::failure::{Failure, Result};
use crate::value::Val;

/// A parsed template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses; the error says where and why, in docker's words.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        parse::parse(text)
            .map(|nodes| Self { nodes })
            .map_err(|why| Failure::new(format!("template parsing error: template: {why}")))
    }

    /// The text for `value`.
    pub(crate) fn render(&self, value: &Val) -> Result<String> {
        execute::execute(&self.nodes, value).map_err(|why| Failure::new(format!("template: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Val {
        serde_json::from_str(
            r#"{"ID":"abc","N":3,"Yes":true,"No":false,"Names":["a","b"],"Empty":[],"Nil":null,
               "State":{"Health":{"Status":"ok"},"Code":0},"Labels":{"com.x":"1","b":"2"},"Float":1.5,
               "Ports":{"80/tcp":[{"HostPort":"8080"}],"81/tcp":null}}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_people_write() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{.ID}}", "abc"),
            ("{{ .State.Health.Status }}!", "ok!"),
            ("{{json .State}}", r#"{"Health":{"Status":"ok"},"Code":0}"#),
            ("{{.Names | json}}", r#"["a","b"]"#),
            ("{{.Names}}", "[a b]"),
            ("{{.Nil}}", "<no value>"),
            ("{{.Labels}}", "map[b:2 com.x:1]"),
            ("{{index .Labels \"com.x\"}}", "1"),
            ("{{index .Names 1}}", "b"),
            ("{{index .Labels \"none\"}}", ""),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{if .Yes}}y{{else}}n{{end}}", "y"),
            ("{{if .No}}y{{else if eq .N 3}}three{{else}}n{{end}}", "three"),
            ("{{if and .Yes (not .No) (gt .N 2)}}ok{{end}}", "ok"),
            ("{{range .Names}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $n := .Names}}{{$i}}={{$n}} {{end}}", "0=a 1=b "),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "b=2;com.x=1;"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            (
                "{{range $p, $c := .Ports}}{{$p}}->{{if $c}}{{(index $c 0).HostPort}}{{end}},{{end}}",
                "80/tcp->8080,81/tcp->,",
            ),
            ("{{range .Names}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{$.ID}}{{end}}", "aabc"),
            ("{{with .State}}{{.Code}}{{end}}", "0"),
            ("{{with $x := .N}}{{$x}}{{end}}", "3"),
            ("{{$a := 1}}{{$a = 2}}{{$a}}", "2"),
            ("a  {{- .ID -}}  b", "aabcb"),
            ("{{/* no */}}x", "x"),
            ("{{upper .ID}}{{lower \"X\"}}{{title \"hello\"}}", "ABCxHello"),
            ("{{join .Names \",\"}}", "a,b"),
            ("{{range split \"a:b\" \":\"}}{{println .}}{{end}}", "a\nb\n"),
            ("{{len .Names}}{{len .ID}}", "23"),
            (
                "{{printf \"%s-%d-%5s|%-5s|%v|%q|%05d|%.2f|%%\" .ID .N \"x\" \"y\" .Names \"q\" 7 .Float}}",
                "abc-3-    x|y    |[a b]|\"q\"|00007|1.50|%",
            ),
            ("{{print 1 2 \"x\"}}", "1 2x"),
            ("{{slice .ID 1 2}}", "b"),
            ("{{truncate .ID 2}}", "ab"),
            ("{{pad .ID 1 2}}", " abc  "),
            ("{{`raw`}}{{'a'}}", "raw97"),
            ("{{ne .ID \"x\"}}{{eq .N 1 3}}{{lt 1 2}}", "truetruetrue"),
            ("{{or .Nil \"else\"}}", "else"),
        ] {
            let out = Template::parse(template).and_then(|t| t.render(&data()));
            assert_eq!(out.as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn mistakes_have_names() {
        for (template, expected) in [
            ("{{foo .ID}}", "function \"foo\" not defined"),
            ("{{.ID", "unclosed action"),
            ("{{if .ID}}", "unexpected EOF"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{define \"x\"}}{{end}}", "define"),
            ("{{.Nope}}", "map has no entry for key \"Nope\""),
            ("{{.ID.X}}", "can't evaluate field X in type string"),
            ("{{index .Names 9}}", "out of range"),
            ("{{range .ID}}{{end}}", "range can't iterate over abc"),
            ("{{break}}", "{{break}} outside {{range}}"),
            ("{{\"x}}", "unterminated quoted string"),
        ] {
            let error = Template::parse(template).and_then(|t| t.render(&data())).unwrap_err();
            assert!(error.message.contains(expected), "{template}: {error}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{{{{}1{}}}}}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(Template::parse(&deep).unwrap_err().message.contains("nested too deeply"));
        let nest = "{{if 1}}".repeat(10_000);
        assert!(Template::parse(&nest).is_err());
    }
}
