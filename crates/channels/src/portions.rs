//! How texts and files are dealt out to the calls that carry them.

use domain::sockets::channel::{MediaLink, Portion};

use crate::split::{split, units};

/// What one call carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carries {
    /// UTF-16 units of a text by itself.
    pub text_units: usize,
    /// At least one.
    pub files: usize,
    /// UTF-16 units of a text beside files.
    pub caption_units: usize,
    /// Whether a text can stand beside such a file.
    pub has_caption: fn(&MediaLink) -> bool,
}

/// The text stands beside the first files if it fits there; otherwise it goes before them.
pub(crate) fn portions(text: &str, media: &[MediaLink], carries: &Carries) -> Vec<Portion> {
    let of_text =
        |text: &str| split(text, carries.text_units).into_iter().map(|text| Portion { text, media: Vec::new() }).collect();
    let mut groups = media.chunks(carries.files.max(1)).map(|group| Portion { text: String::new(), media: group.to_vec() });
    let Some(mut first) = groups.next() else { return of_text(text) };
    let text = text.trim_end();
    let fits = units(text) <= carries.caption_units && first.media.iter().all(carries.has_caption);
    let mut all: Vec<Portion> = if fits || text.is_empty() { Vec::new() } else { of_text(text) };
    if all.is_empty() {
        text.clone_into(&mut first.text);
    }
    all.push(first);
    all.extend(groups);
    all
}

/// The text with addresses below it, for files that a platform does not take and shows as links.
pub(crate) fn with_links<'a>(text: &str, media: impl IntoIterator<Item = &'a MediaLink>) -> String {
    let links = media.into_iter().map(|link| link.url.as_str());
    std::iter::once(text).filter(|text| !text.is_empty()).chain(links).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use domain::sockets::channel::MediaLink;

    use super::{Carries, portions};

    const CARRIES: Carries =
        Carries { text_units: 10, files: 2, caption_units: 5, has_caption: |link| !link.mime_type.starts_with("audio/") };

    fn link(name: &str, mime_type: &str) -> MediaLink {
        MediaLink { url: name.to_owned(), mime_type: mime_type.to_owned(), name: None }
    }

    /// `text+file+file`, for each portion.
    fn dealt(text: &str, media: &[MediaLink]) -> Vec<String> {
        let shown = |portion: super::Portion| {
            let files = portion.media.into_iter().map(|link| link.url);
            std::iter::once(portion.text).chain(files).collect::<Vec<_>>().join("+")
        };
        portions(text, media, &CARRIES).into_iter().map(shown).collect()
    }

    #[test]
    fn a_text_goes_beside_the_first_files_or_before_them() {
        let images = ["a", "b", "c"].map(|name| link(name, "image/png"));
        assert_eq!(dealt("one two three", &[]), ["one two", "three"]);
        assert_eq!(dealt("", &[]), [""]);
        assert_eq!(dealt("hi", &images), ["hi+a+b", "+c"]);
        assert_eq!(dealt("", &images[..1]), ["+a"]);
        assert_eq!(dealt("too long", &images[..1]), ["too long", "+a"]);
        assert_eq!(dealt("one two three", &images), ["one two", "three", "+a+b", "+c"]);
        assert_eq!(dealt("hi", &[link("v", "audio/ogg")]), ["hi", "+v"], "a voice has no words beside it");
        assert_eq!(dealt("", &[link("v", "audio/ogg")]), ["+v"]);
    }
}
