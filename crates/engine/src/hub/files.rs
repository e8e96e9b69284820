//! What contacts attach: fetched by a job once the platform has its answer, kept in the database, and given to those who may
//! see the chat.

use async_trait::async_trait;
use bytes::Bytes;
use domain::hub::{Attachment, AttachmentState, Channel, ChannelId, ChatId, ChatMessageId, FileId};
use domain::sockets::channel::{ChannelAccess, Media, MediaError, MediaLink, MediaRef};
use domain::{Principal, Timestamp};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::hub::files::{self, PIECE_BYTES, StoredFile};
use store::hub::{Table, channels, messages};

use super::changes::Changes;
use crate::access::hub::Act;
use crate::accounts::fresh;
use crate::jobs::{Attempt, BackOff, Completed, JobError, Policy, Queue, Work};
use crate::{Engine, Error, Refused, Result, access};

/// How long after each failure the platform is asked again. After the last the file is given up.
const WAITS_MS: [i64; 5] = [5_000, 30_000, 120_000, 600_000, 3_600_000];
/// An attempt after this many breakdowns would only be one more.
const MAX_BREAKDOWNS: u32 = 5;
/// Pieces that are written or read in one transaction: about 800 KB, so that nobody else waits long for the database.
const PIECES_AT_ONCE: i64 = 16;
/// Files on their way at once on one node, each of which is held in memory.
const AT_ONCE: u32 = 4;
/// Characters of a file's name that are kept, and of the type that is claimed for it.
const MAX_NAME: usize = 200;
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Files that a message names, and a job for each that fetches it.
///
/// # Errors
/// The database's.
pub(super) fn expect(
    tx: &mut Tx,
    changes: &Changes,
    channel: ChannelId,
    (chat, message): (ChatId, ChatMessageId),
    media: Vec<MediaRef>,
) -> Result<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for media in media {
        let id: FileId = fresh(tx, Table::File)?;
        let name = media.file_name.as_deref().and_then(name_of);
        files::expect(tx, id, (channel, chat), name.as_deref())?;
        attachments.push(Attachment {
            id,
            mime_type: type_of(media.mime_type.as_deref().unwrap_or(UNKNOWN_TYPE)),
            size: 0,
            url: format!("/channels/{channel}/chats/{chat}/attachments/{id}"),
            name,
            state: AttachmentState::Fetching,
            error: None,
        });
        let work = FetchFile { file: id, channel, message, media, failures: 0 };
        changes.queue.enqueue(tx, &work, changes.at, None)?;
    }
    Ok(attachments)
}

/// Files of ours, which the platform fetches by itself.
///
/// # Errors
/// The database's.
pub(super) fn linked(tx: &mut Tx, media: &[MediaLink]) -> Result<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for link in media {
        attachments.push(Attachment {
            id: fresh(tx, Table::File)?,
            mime_type: type_of(&link.mime_type),
            size: 0,
            url: link.url.clone(),
            name: link.name.as_deref().and_then(name_of),
            state: AttachmentState::Linked,
            error: None,
        });
    }
    Ok(attachments)
}

/// A name that is no path and fits on a line.
fn name_of(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    Some(plain.trim().to_owned()).filter(|name| !name.is_empty())
}

fn type_of(claimed: &str) -> String {
    claimed.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

/// Fetches one file of a contact's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FetchFile {
    file: FileId,
    channel: ChannelId,
    message: ChatMessageId,
    media: MediaRef,
    /// Answers that did not come.
    failures: usize,
}

#[async_trait]
impl Work for FetchFile {
    const KIND: &'static str = "fetch_file";
    /// The waits for a platform are this job's own; here only faults of ours are repeated.
    const POLICY: Policy = Policy { back_off: BackOff::SHORT, at_once: AT_ONCE, time_limit_ms: 180_000, lease_ms: 15_000 };

    async fn run(self, attempt: &Attempt) -> Result<Completed, JobError> {
        if attempt.number() > MAX_BREAKDOWNS {
            return self.end(attempt, Err("The file could not be stored".to_owned())).await;
        }
        let Some((channel, access)) = self.begin(attempt).await? else { return attempt.complete(|_| Ok(())).await };
        let Some(connector) = attempt.engine().outside().channel(channel.platform) else {
            return self.end(attempt, Err(format!("Platform {} is not available", channel.platform))).await;
        };
        let stopping = attempt.engine().inner.workers.stopping();
        // Nobody who stops the server waits for somebody else's; it is fetched after the next start.
        let Some(fetched) = stopping.run_until_cancelled(connector.fetch(&access, &self.media)).await else {
            return self.again(attempt, 0).await;
        };
        match (fetched, WAITS_MS.get(self.failures)) {
            (Ok(media), _) if media.bytes.len() > connector.limits().media_bytes => {
                self.end(attempt, Err(MediaError::TooLarge.to_string())).await
            }
            (Ok(media), _) => self.keep(attempt, media).await,
            (Err(MediaError::TryAgain), Some(wait_ms)) => {
                Self { failures: self.failures + 1, ..self }.again(attempt, *wait_ms).await
            }
            (Err(error), _) => self.end(attempt, Err(error.to_string())).await,
        }
    }
}

impl FetchFile {
    /// What it takes to fetch the file; `None`: its chat or its channel has been removed.
    async fn begin(&self, attempt: &Attempt) -> Result<Option<(Channel, ChannelAccess)>, JobError> {
        let (engine, file, channel) = (attempt.engine().clone(), self.file, self.channel);
        let load = move |tx: &mut Tx| {
            if !files::begin(tx, file)? {
                return Ok(None);
            }
            let Some(channel) = channels::get(tx, channel)? else { return Ok(None) };
            let access = engine.channel_access(tx, &channel)?;
            Ok(Some((channel, access)))
        };
        attempt.store(load).await
    }

    async fn again(self, attempt: &Attempt, wait_ms: i64) -> Result<Completed, JobError> {
        let queue: Queue = attempt.queue();
        let effects = move |tx: &mut Tx| {
            queue.enqueue(tx, &self, Timestamp(queue.now().0 + wait_ms), None)?;
            Ok(())
        };
        attempt.complete(effects).await
    }

    async fn keep(self, attempt: &Attempt, media: Media) -> Result<Completed, JobError> {
        let (bytes, file) = (Bytes::from(media.bytes), self.file);
        let step = PIECE_BYTES * usize::try_from(PIECES_AT_ONCE).unwrap_or(1);
        for (batch, start) in (0_i64..).zip((0..bytes.len()).step_by(step)) {
            let part = bytes.slice(start..bytes.len().min(start + step));
            let is_expected = attempt.store(move |tx| Ok(files::append(tx, file, batch * PIECES_AT_ONCE, &part)?)).await?;
            if !is_expected {
                return attempt.complete(|_| Ok(())).await;
            }
        }
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.end(attempt, Ok((media.mime_type, size))).await
    }

    /// Type and size, or why there is no file: shown in the message.
    async fn end(self, attempt: &Attempt, ended: Result<(String, i64), String>) -> Result<Completed, JobError> {
        let mut changes = Changes::of(attempt.engine());
        let effects = move |tx: &mut Tx| {
            let Some(chat) = messages::get(tx, self.message)?.map(|message| message.chat) else { return Ok(()) };
            changes.hold(tx, chat)?;
            let Some(mut message) = messages::get(tx, self.message)? else { return Ok(()) };
            let Some(shown) = message.attachments.iter_mut().find(|one| one.id == self.file) else { return Ok(()) };
            match ended {
                Ok((mime_type, size)) => {
                    files::finish(tx, self.file, &mime_type)?;
                    (shown.mime_type, shown.size, shown.state) = (mime_type, size, AttachmentState::Stored);
                }
                Err(reason) => {
                    tracing::warn!(file = %self.file, reason, "a contact's file could not be fetched");
                    files::delete(tx, self.file)?;
                    (shown.error, shown.state) = (Some(reason), AttachmentState::Failed);
                }
            }
            messages::update(tx, &message)?;
            changes.message_updated(message);
            changes.end(tx)
        };
        attempt.complete(effects).await
    }
}

/// Files of chats.
impl Engine {
    /// A file of a chat, once it is here.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn attachment(&self, who: Principal, place: (ChannelId, ChatId), id: FileId) -> Result<StoredFile> {
        let read = move |tx: &mut Tx| {
            let (_, chat) = access::hub::chat(tx, who, place, Act::Read)?;
            files::get(tx, id)?.filter(|file| file.chat == chat.id).ok_or(Refused::NO_ATTACHMENT.into())
        };
        self.inner.store.read(read).await
    }

    /// Reads the bytes from `start` up to, but without, `end`.
    #[must_use]
    pub fn read_attachment(&self, file: &StoredFile, start: u64, end: u64) -> FileReader {
        FileReader { engine: self.clone(), file: file.id, at: start, end }
    }
}

/// A file on its way to somebody, never more of it in memory than a batch of pieces.
#[derive(Debug)]
pub struct FileReader {
    engine: Engine,
    file: FileId,
    at: u64,
    end: u64,
}

impl FileReader {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the file has been removed meanwhile; or the database's.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (file, piece) = (self.file, PIECE_BYTES as u64);
        let first = self.at / piece;
        let read = move |tx: &mut Tx| Ok::<_, Error>(files::read(tx, file, first.cast_signed(), PIECES_AT_ONCE)?);
        let bytes = Bytes::from(self.engine.inner.store.read(read).await?);
        let upto = (self.end - first * piece).min(bytes.len() as u64);
        let skipped = self.at - first * piece;
        if upto <= skipped {
            return Err(Error::NotFound);
        }
        self.at = first * piece + upto;
        let index = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        Ok(Some(bytes.slice(index(skipped)..index(upto))))
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_name_is_no_path_and_fits_on_a_line() {
        for (given, kept) in [
            ("bill.pdf", Some("bill.pdf")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\Users\\ana\\bill.pdf", Some("bill.pdf")),
            ("a\r\nb\u{7}.pdf", Some("ab.pdf")),
            ("dir/", None),
            (" ", None),
        ] {
            assert_eq!(name_of(given).as_deref(), kept, "{given:?}");
        }
        assert_eq!(name_of(&"x".repeat(1000)).map(|name| name.len()), Some(200));
    }
}
