//! Tokens into nodes.

use super::functions;
use super::lex::{Token, lex};
use crate::value::Val;

/// Nothing nests deeper than this.
const DEPTH_LIMIT: usize = 100;

/// A node of the template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If { test: Pipe, then: Vec<Node>, other: Vec<Node> },
    With { test: Pipe, then: Vec<Node>, other: Vec<Node> },
    Range { over: Pipe, body: Vec<Node>, other: Vec<Node> },
    Break,
    Continue,
}

/// Commands, each of which gets the result of the one before as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    /// `:=` rather than `=`.
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Term>>,
}

/// A word of a command.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Dot,
    Constant(Val),
    Function(String),
    Variable(String),
    Sub(Box<Pipe>),
    /// Fields of what comes before them.
    Chain(Box<Term>, Vec<String>),
}

/// The nodes of `text`.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, variables: vec!["$".into()], ranges: 0, depth: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        End::Eof => Ok(nodes),
        End::Close => Err(":1: unexpected {{end}}".into()),
        End::Else(_) => Err(":1: unexpected {{else}}".into()),
    }
}

/// What ended a list of nodes.
enum End {
    Eof,
    Close,
    /// With the keyword that follows (`else if`, `else with`).
    Else(Option<String>),
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT { Err(":1: nested too deeply".into()) } else { Ok(()) }
    }

    fn list(&mut self) -> Result<(Vec<Node>, End), String> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => return Ok((nodes, End::Eof)),
                Some(Token::Text(text)) => nodes.push(Node::Text(text)),
                Some(Token::Open) => {
                    self.skip_space();
                    let keyword = match self.peek() {
                        Some(Token::Word(word)) => Some(word.clone()),
                        _ => None,
                    };
                    match keyword.as_deref() {
                        Some("end") => {
                            self.at += 1;
                            self.close("end")?;
                            return Ok((nodes, End::Close));
                        }
                        Some("else") => {
                            self.at += 1;
                            self.skip_space();
                            if let Some(Token::Word(word)) = self.peek()
                                && (word == "if" || word == "with")
                            {
                                return Ok((nodes, End::Else(Some(word.clone()))));
                            }
                            self.close("else")?;
                            return Ok((nodes, End::Else(None)));
                        }
                        Some(word @ ("if" | "with" | "range")) => {
                            self.at += 1;
                            nodes.push(self.block(word)?);
                        }
                        Some(word @ ("break" | "continue")) => {
                            self.at += 1;
                            self.close(word)?;
                            if self.ranges == 0 {
                                return Err(format!(":1: {{{{{word}}}}} outside {{{{range}}}}"));
                            }
                            nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                        }
                        Some(word @ ("define" | "template" | "block")) => {
                            return Err(format!(":1: {{{{{word}}}}} is not supported"));
                        }
                        _ => {
                            let pipe = self.pipe(&Token::Close)?;
                            nodes.push(Node::Action(pipe));
                        }
                    }
                }
                Some(token) => return Err(format!(":1: unexpected {token:?}")),
            }
        }
    }

    fn close(&mut self, what: &str) -> Result<(), String> {
        self.skip_space();
        match self.next() {
            Some(Token::Close) => Ok(()),
            token => Err(format!(":1: unexpected {token:?} in {what}")),
        }
    }

    /// `if`, `with` and `range`, after their keyword and up to their end.
    fn block(&mut self, word: &str) -> Result<Node, String> {
        self.deeper()?;
        let scope = self.variables.len();
        let test = self.pipe(&Token::Close)?;
        if word == "range" {
            self.ranges += 1;
        }
        let (then, end) = self.list()?;
        if word == "range" {
            self.ranges -= 1;
        }
        let other = match end {
            End::Eof => return Err(":1: unexpected EOF".into()),
            End::Close => Vec::new(),
            End::Else(Some(next)) => {
                if next != word {
                    return Err(format!(":1: unexpected {{{{else {next}}}}} in {word}"));
                }
                self.at += 1;
                vec![self.block(&next)?]
            }
            End::Else(None) => match self.list()? {
                (nodes, End::Close) => nodes,
                (_, End::Eof) => return Err(":1: unexpected EOF".into()),
                (_, End::Else(_)) => return Err(":1: expected end; found {{else}}".into()),
            },
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { test, then, other },
            "with" => Node::With { test, then, other },
            _ => Node::Range { over: test, body: then, other },
        })
    }

    fn pipe(&mut self, end: &Token) -> Result<Pipe, String> {
        self.deeper()?;
        let (variables, declares) = self.declaration()?;
        let mut commands = Vec::new();
        loop {
            let (command, last) = self.command(end)?;
            if command.is_empty() {
                return Err(if commands.is_empty() {
                    ":1: missing value for command"
                } else {
                    ":1: missing value after |"
                }
                .into());
            }
            commands.push(command);
            if last {
                break;
            }
        }
        // A variable is known only after the pipeline that declares it.
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipe { variables, declares, commands })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`, if the pipeline begins so.
    fn declaration(&mut self) -> Result<(Vec<String>, bool), String> {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let Some(Token::Variable(name)) = self.next() else { break };
            names.push(name);
            self.skip_space();
            match self.next() {
                Some(Token::Declare) => return Ok((names, true)),
                Some(Token::Assign) => {
                    if let Some(name) = names.iter().find(|name| !self.variables.contains(name)) {
                        return Err(format!(":1: undefined variable {name:?}"));
                    }
                    return Ok((names, false));
                }
                Some(Token::Comma) if names.len() < 2 => {}
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    /// One command, and whether the pipeline ends with it.
    fn command(&mut self, end: &Token) -> Result<(Vec<Term>, bool), String> {
        let mut terms = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None => return Err(":1: unclosed action".into()),
                Some(Token::Pipe) => {
                    self.at += 1;
                    return Ok((terms, false));
                }
                Some(token) if token == end => {
                    self.at += 1;
                    return Ok((terms, true));
                }
                Some(_) => terms.push(self.term()?),
            }
        }
    }

    fn term(&mut self) -> Result<Term, String> {
        let first = match self.next() {
            Some(Token::Dot) => Term::Dot,
            Some(Token::Field(name)) => Term::Chain(Box::new(Term::Dot), vec![name]),
            Some(Token::Str(text)) => Term::Constant(Val::Str(text)),
            Some(Token::Int(number)) => Term::Constant(Val::Int(number)),
            Some(Token::Float(number)) => Term::Constant(Val::Float(number)),
            Some(Token::Variable(name)) => {
                if !self.variables.contains(&name) {
                    return Err(format!(":1: undefined variable {name:?}"));
                }
                Term::Variable(name)
            }
            Some(Token::LeftParen) => Term::Sub(Box::new(self.pipe(&Token::RightParen)?)),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Term::Constant(Val::Bool(true)),
                "false" => Term::Constant(Val::Bool(false)),
                "nil" => Term::Constant(Val::Null),
                _ if functions::exists(&word) => Term::Function(word),
                _ => return Err(format!(":1: function {word:?} not defined")),
            },
            token => return Err(format!(":1: unexpected {token:?} in operand")),
        };
        let mut fields = Vec::new();
        while let Some(Token::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.at += 1;
        }
        Ok(match (first, fields.is_empty()) {
            (term, true) => term,
            (Term::Chain(base, mut names), false) => {
                names.extend(fields);
                Term::Chain(base, names)
            }
            (term, false) => Term::Chain(Box::new(term), fields),
        })
    }
}
