use domain::{AccountId, Answer, Answered, ChoiceCall, Home, Question, QuestionId, QuestionKind, Timestamp, TurnId};
use store::conversations::Page;
use store::{conversations, questions};

use crate::{conversation, new_conversation, on_every_database, read, write};

fn question(conversation: domain::ConversationId, at: i64) -> Question {
    Question {
        id: QuestionId::new(),
        conversation,
        turn: TurnId::new(),
        kind: QuestionKind::Choice { calls: vec![ChoiceCall { call_id: "q1".to_owned(), choices: Vec::new() }] },
        asked_at: Timestamp(at),
        expires_at: Some(Timestamp(at + 1)),
        answered: None,
    }
}

#[test]
fn the_first_answer_is_kept() {
    on_every_database(async |store| {
        let id = new_conversation(&store, "t").await;
        let (first, second) = (question(id, 1), question(id, 2));
        let both = [first.clone(), second.clone()];
        write(&store, move |tx| both.iter().try_for_each(|question| questions::insert(tx, question))).await;
        assert_eq!(read(&store, move |tx| questions::open(tx, id)).await, [first.clone(), second.clone()]);

        let said = |text: &str, by| Answered { at: Timestamp(5), by, answer: Answer::Said { text: text.to_owned() } };
        let (one, two) = (said("one", Some(AccountId::OWNER)), said("two", None));
        let (asked, answered) = (first.id, one.clone());
        assert!(write(&store, move |tx| questions::answer(tx, asked, &answered)).await);
        assert!(!write(&store, move |tx| questions::answer(tx, asked, &two)).await);
        let kept = read(&store, move |tx| questions::get(tx, asked)).await.unwrap();
        assert_eq!(kept, Question { answered: Some(one), ..first });
        assert_eq!(read(&store, move |tx| questions::open(tx, id)).await, std::slice::from_ref(&second));

        write(&store, move |tx| conversations::delete(tx, id)).await;
        let gone = second.id;
        assert_eq!(read(&store, move |tx| questions::get(tx, gone)).await, None);
    });
}

#[test]
fn each_home_lists_its_own() {
    on_every_database(async |store| {
        for home in Home::ALL {
            let new = domain::Conversation { home, ..conversation(home.as_str(), 1) };
            write(&store, move |tx| conversations::insert(tx, &new)).await;
        }
        for home in Home::ALL {
            for words in [None, Some(home.as_str().to_owned())] {
                let page = Page { home, words, ..Page::default() };
                let listed = read(&store, move |tx| conversations::list(tx, AccountId::OWNER, &page)).await;
                assert_eq!(
                    listed.iter().map(|listed| (listed.title.as_str(), listed.home)).collect::<Vec<_>>(),
                    [(home.as_str(), home)]
                );
            }
        }
    });
}
