//! Files of chats: whole or not there, in any part, and gone with their chat.

use domain::Timestamp;
use domain::hub::{ChannelId, ChatId, FileId, HubId as _};
use store::hub::files::{self, PIECE_BYTES};
use store::hub::{channels, chats};

use crate::{on_every_database, read, write};

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect()
}

#[test]
fn a_file_is_there_once_it_is_whole_and_goes_with_its_chat() {
    on_every_database(async |store| {
        let ids: Vec<FileId> = (1..=3).map(FileId::from_random).collect();
        let (channel, chat, other) = (ChannelId::from_random(1), ChatId::from_random(1), ChatId::from_random(2));
        let (first, second, third) = (ids[0], ids[1], ids[2]);
        let whole = bytes(PIECE_BYTES * 2 + 5);
        write(&store, move |tx| {
            files::expect(tx, first, (channel, chat), Some("a.png"))?;
            files::expect(tx, second, (channel, chat), None)?;
            files::expect(tx, third, (channel, other), None)
        })
        .await;
        let half = whole[..PIECE_BYTES].to_vec();
        let begun = write(&store, move |tx| Ok(files::begin(tx, first)? && files::append(tx, first, 0, &half)?)).await;
        assert!(begun);
        assert_eq!(read(&store, move |tx| files::get(tx, first)).await, None, "half a file is none");

        // An attempt that was broken off leaves nothing behind.
        for id in [first, third] {
            let all = whole.clone();
            let is_kept = write(&store, move |tx| {
                let is_begun = files::begin(tx, id)?;
                Ok(is_begun && files::append(tx, id, 0, &all)? && files::finish(tx, id, "image/png")?)
            });
            assert!(is_kept.await);
        }
        let found = read(&store, move |tx| files::get(tx, first)).await.unwrap();
        assert_eq!((found.chat, found.size, found.name.as_deref()), (chat, whole.len() as i64, Some("a.png")));
        let of = async |from: i64, count: i64| read(&store, move |tx| files::read(tx, first, from, count)).await;
        assert!(of(0, 16).await == whole, "the same bytes come back");
        assert!(of(1, 1).await == whole[PIECE_BYTES..PIECE_BYTES * 2]);
        assert_eq!(of(2, 16).await.len(), 5);
        assert_eq!(of(3, 16).await.len(), 0);
        let again = write(&store, move |tx| Ok(files::begin(tx, first)? || files::append(tx, first, 9, b"x")?)).await;
        assert!(!again, "a whole file does not change");

        write(&store, move |tx| chats::delete(tx, chat, Timestamp(1))).await;
        assert_eq!(read(&store, move |tx| files::get(tx, first)).await, None);
        assert_eq!(of(0, 16).await.len(), 0);
        let late = write(&store, move |tx| Ok(files::begin(tx, second)? || files::append(tx, second, 0, b"x")?)).await;
        assert!(!late, "what comes too late is not kept");
        assert!(read(&store, move |tx| files::get(tx, third)).await.is_some(), "another chat's stays");
        write(&store, move |tx| channels::purge(tx, channel)).await;
        let left = read(&store, |tx| {
            let count = |tx: &mut store::Tx, table: &str| {
                let rows = tx.query_one(&format!("SELECT count(*) FROM {table}"), &[])?;
                rows.unwrap().get::<i64>(0)
            };
            Ok((count(tx, "chat_file")?, count(tx, "chat_file_piece")?))
        });
        assert_eq!(left.await, (0, 0));
    });
}
