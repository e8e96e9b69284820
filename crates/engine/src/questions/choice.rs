//! Answers to a choice: what the person is taken to have said, and what the model gets as the result of its calls.

use domain::{Answer, ChoiceCall, Question, QuestionKind, ToolOutcome, ToolResult};

use super::ask_user::NAME;

/// An answer on its way in: labels or own words for each question, by its index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    pub values: std::collections::BTreeMap<usize, Vec<String>>,
}

impl Reply {
    /// What the person is shown to have said: values in the order of the questions, those of one question joined by `, `,
    /// questions by `; `.
    #[must_use]
    pub fn text(&self) -> String {
        joined(self.values.values())
    }
}

/// The answer as it is stored. A reply that answers none of the questions is taken as plain words.
pub(crate) fn read_answer(question: &Question, reply: Option<Reply>, text: &str) -> Answer {
    let count = calls(question).iter().map(|call| call.choices.len()).sum();
    let mut given = reply.unwrap_or_default().values;
    let values: Vec<Vec<String>> = (0..count).map(|index| given.remove(&index).unwrap_or_default()).collect();
    if values.iter().all(Vec::is_empty) { Answer::Said { text: text.to_owned() } } else { Answer::Chosen { values } }
}

/// The results of the calls that asked, in their order. `text` is what the person is shown to have said.
pub(crate) fn answer_results(question: &Question, answer: &Answer, text: &str) -> Vec<ToolResult> {
    let mut first = 0;
    let results = calls(question).iter().map(|call| {
        let of_call = first..first + call.choices.len();
        first = of_call.end;
        let output = match answer {
            Answer::Chosen { values } => joined(values.get(of_call).unwrap_or_default()),
            Answer::Said { .. }
            | Answer::Approved
            | Answer::Denied { .. }
            | Answer::Rerun
            | Answer::MarkDone
            | Answer::Skip
            | Answer::Expired
            | Answer::Cancelled => text.to_owned(),
        };
        let (call_id, name) = (call.call_id.clone(), NAME.to_owned());
        ToolResult { call_id, name, output, outcome: ToolOutcome::Completed, truncated: false, duration_ms: 0 }
    });
    results.collect()
}

fn joined<'a>(values: impl IntoIterator<Item = &'a Vec<String>>) -> String {
    let answered = values.into_iter().filter(|values| !values.is_empty());
    answered.map(|values| values.join(", ")).collect::<Vec<_>>().join("; ")
}

fn calls(question: &Question) -> &[ChoiceCall] {
    match &question.kind {
        QuestionKind::Choice { calls } => calls,
        QuestionKind::Approval { .. } | QuestionKind::Unknown { .. } => &[],
    }
}
