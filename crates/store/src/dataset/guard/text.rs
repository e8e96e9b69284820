//! The text before it is a tree: how long, how deep, how many statements, of which kind.

use sqlparser::ast::{Query, Statement};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::Refusal;
use crate::dataset::schema::Engine;

/// By the contract; also what SQLite is told to accept at most.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// A long chain of operators is a deep tree although nothing is nested in it. No query that a person could check has as many.
const MAX_TOKENS: usize = 8_192;
/// Parentheses within parentheses. The parser tries several readings at each, which costs twice as much for every level.
const MAX_PARENTHESES: usize = 32;
/// By the contract.
const RECURSION_LIMIT: usize = 200;

/// The one query that the text is. Strings and names keep their quotes as they were written, so that nothing has to be
/// guessed when they are written again.
pub(super) fn parse(text: &str, engine: Engine) -> Result<Query, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::syntax("there is no query"));
    }
    if text.len() > MAX_BYTES {
        return Err(Refusal::mistake("syntax", "the query is too long".to_owned()));
    }
    if text.contains('\0') {
        return Err(Refusal::forbidden("syntax", "the query contains a NUL character".to_owned()));
    }
    let dialect: &dyn Dialect = match engine {
        Engine::Sqlite => &SQLiteDialect {},
        Engine::Postgres => &PostgreSqlDialect {},
    };
    let tokens = Tokenizer::new(dialect, text).with_unescape(false).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| Refusal::syntax(&at(&error.to_string())))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    if tokens.last().is_some_and(|token| token.token == Token::SemiColon) {
        tokens.pop();
    }
    look_at_tokens(&tokens)?;
    let forbidden = begins_another_statement(&tokens);
    let parser = Parser::new(dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens);
    let parsed = { parser }.parse_statements();
    let mut statements = match parsed {
        Ok(statements) => statements,
        Err(_) if forbidden => return Err(Refusal::only_a_query()),
        Err(error) => return Err(Refusal::syntax(&at(&error.to_string()))),
    };
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(*query),
        (Some(_), true) | (None, _) => Err(Refusal::only_a_query()),
        (Some(_), false) => Err(Refusal::one_statement()),
    }
}

fn look_at_tokens(tokens: &[TokenWithSpan]) -> Result<(), Refusal> {
    if tokens.len() > MAX_TOKENS {
        return Err(Refusal::mistake("syntax", "the query is too long".to_owned()));
    }
    let mut depth = 0_usize;
    for token in tokens {
        match token.token {
            Token::SemiColon => return Err(Refusal::one_statement()),
            Token::Placeholder(_) => return Err(Refusal::forbidden("statement", "parameters are not allowed".to_owned())),
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_PARENTHESES {
            return Err(Refusal::too_deep());
        }
    }
    Ok(())
}

/// Whether the text, or something in parentheses, begins like a statement that is no query.
fn begins_another_statement(tokens: &[TokenWithSpan]) -> bool {
    let begins = |token: &Token| match token {
        Token::Word(Word { value, quote_style: None, .. }) => Some(value.to_ascii_lowercase()),
        _ => None,
    };
    let first = tokens.first().and_then(|token| begins(&token.token));
    let query = ["select", "with", "values"];
    if first.is_some_and(|word| !query.contains(&word.as_str())) {
        return true;
    }
    let writes = ["insert", "update", "delete", "merge", "truncate", "replace"];
    tokens.windows(3).any(|three| {
        let follows = |at: usize| begins(&three[at].token);
        // `replace(` is a function.
        three[0].token == Token::LParen
            && follows(1).is_some_and(|word| writes.contains(&word.as_str()))
            && three[2].token != Token::LParen
    })
}

/// The parser's words, without those that name the library.
fn at(error: &str) -> String {
    let error = error.trim_start_matches("sql parser error: ");
    error.chars().filter(|char| !char.is_control()).take(200).collect()
}
