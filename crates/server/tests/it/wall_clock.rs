//! The wall clock of one machine, which somebody sets while the program runs.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::campaign_support::Machine;
use crate::preload::Library;

static LIBRARY: Library = Library::of(include_str!("preload/clock.c"));

pub struct WallClock {
    ahead: File,
}

impl WallClock {
    /// Gives the machine such a clock, from its next start on; `None` where that cannot be done.
    pub fn of(machine: &mut Machine) -> Option<Self> {
        let library = LIBRARY.path()?;
        let path = machine.root().join("clock");
        let ahead = File::options().write(true).create_new(true).open(&path).expect("a file");
        let clock = Self { ahead };
        clock.set_ahead(0);
        machine.set("LD_PRELOAD", library);
        machine.set("CLOCK_UNDER_TEST", path);
        Some(clock)
    }

    /// Seconds before what it would show otherwise.
    pub fn set_ahead(&self, seconds: i64) {
        // The program has the file in its memory: it is written in place.
        self.ahead.write_all_at(&seconds.to_ne_bytes(), 0).expect("a file");
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign_support::Machine;
    use crate::upstream::Upstream;

    use super::WallClock;

    #[tokio::test]
    async fn a_clock_shows_what_it_was_set_to() {
        let mut machine = Machine::new(&Upstream::start().await);
        let Some(clock) = WallClock::of(&mut machine) else { return };
        machine.start().await;
        let mut years = Vec::new();
        for days in [0, 20 * 366, -20 * 366] {
            clock.set_ahead(days * 24 * 60 * 60);
            let chat = machine.api().get(&format!("/api/chats/{}", machine.api().conversation().await)).await;
            years.push(chat["created_at"].as_str().expect("a time")[..4].parse::<i32>().expect("a year"));
        }
        assert!((20..=21).contains(&(years[1] - years[0])) && (20..=21).contains(&(years[0] - years[2])), "{years:?}");
        machine.end().await;
    }
}
