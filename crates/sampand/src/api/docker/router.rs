//! Which handler answers a request: a table of method and pattern, looked through in order.
//!
//! ```text
//! /containers/{id}/json     one segment
//! /images/{name*}/json      one or more segments: image names have slashes
//! ```

use super::call::Call;
use super::query;
use super::reply::Reply;
use http::Method;
use oci::Result;
use std::pin::Pin;

/// A handler's answer in the making.
pub type Answer = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;
/// What answers a request.
pub type Handler = fn(Call) -> Answer;

/// One endpoint.
pub struct Route {
    /// The request's method.
    pub method: Method,
    /// The path's pattern.
    pub pattern: &'static str,
    /// What answers.
    pub handler: Handler,
}

/// Values of a pattern's placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// The value of `name`; empty if the pattern has no such placeholder.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

/// The route for a request, with its placeholders' values. `HEAD` finds what `GET` does.
///
/// # Errors
/// `InvalidArgument` for a broken escape in the path.
pub fn find<'t>(table: &'t [Route], method: &Method, path: &str) -> Result<Option<(&'t Route, Params)>> {
    let segments = path.split('/').skip(1).map(|segment| query::decode(segment, false)).collect::<Result<Vec<_>>>()?;
    for wanted in [method, &Method::GET] {
        for route in table.iter().filter(|route| route.method == wanted) {
            if let Some(params) = matches(route.pattern, &segments) {
                return Ok(Some((route, params)));
            }
        }
        if method != Method::HEAD {
            break;
        }
    }
    Ok(None)
}

fn matches(pattern: &'static str, segments: &[String]) -> Option<Params> {
    let wanted: Vec<&'static str> = pattern.split('/').skip(1).collect();
    let mut params = Params::default();
    let mut rest = segments;
    for (at, part) in wanted.iter().enumerate() {
        let after = wanted.len() - at - 1;
        if let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix("*}")) {
            let taken = rest.len().checked_sub(after).filter(|taken| *taken > 0)?;
            let value = rest[..taken].join("/");
            if value.is_empty() {
                return None;
            }
            params.0.push((name, value));
            rest = &rest[taken..];
            continue;
        }
        let (segment, others) = rest.split_first()?;
        match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => params.0.push((name, segment.clone())),
            Some(_) => return None,
            None if *part == segment => {}
            None => return None,
        }
        rest = others;
    }
    rest.is_empty().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').skip(1).map(Into::into).collect()
    }

    #[test]
    fn placeholders_take_one_segment_or_many() {
        let params = matches("/containers/{id}/json", &segments("/containers/abc/json")).unwrap();
        assert_eq!(params.get("id"), "abc");
        assert_eq!(matches("/containers/{id}/json", &segments("/containers/a/b/json")), None);
        assert_eq!(matches("/containers/{id}/json", &segments("/containers//json")), None);
        let name = matches("/images/{name*}/json", &segments("/images/host:5000/a/b/json")).unwrap();
        assert_eq!(name.get("name"), "host:5000/a/b");
        assert_eq!(matches("/images/{name*}/json", &segments("/images/json")), None);
        assert_eq!(matches("/images/{name*}", &segments("/images/a/b")).unwrap().get("name"), "a/b");
        assert!(matches("/info", &segments("/info")).is_some());
        assert_eq!(matches("/info", &segments("/info/")), None);
    }

    #[test]
    fn every_route_of_the_table_is_found_by_its_own_pattern() {
        let table = super::super::routes::table();
        for route in &table {
            let path = route.pattern.replace("{name*}", "a").replace(['{', '}'], "");
            let (found, _) = find(&table, &route.method, &path).unwrap().unwrap();
            assert_eq!(found.pattern, route.pattern, "{path} is hidden by {}", found.pattern);
        }
    }

    #[test]
    fn head_finds_get_and_escapes_are_decoded() {
        let table = super::super::routes::table();
        assert_eq!(find(&table, &Method::HEAD, "/_ping").unwrap().unwrap().0.pattern, "/_ping");
        let (_, params) = find(&table, &Method::GET, "/images/a%2Fb:c/json").unwrap().unwrap();
        assert_eq!(params.get("name"), "a/b:c");
        assert!(find(&table, &Method::GET, "/images/%zz/json").is_err());
        assert!(find(&table, &Method::DELETE, "/info").unwrap().is_none());
    }
}
